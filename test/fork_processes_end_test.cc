// fork_processes: how the parent and all of its children end.

#include <cerrno>
#include <chrono>
#include <csignal>
#include <optional>
#include <string>

#include <sys/wait.h>
#include <unistd.h>

#include <doctest/doctest.h>

#include "waterspout/process.h"

#include "support/child_process.h"
#include "support/process_family.h"

using waterspout::fork_processes;
using waterspout::test::died_of;
using waterspout::test::exited_with;
using waterspout::test::Family;
using waterspout::test::Lines;
using waterspout::test::Voice;
using waterspout::test::wait_to_be_ended;

using namespace std::chrono_literals;

TEST_SUITE_BEGIN("fork_processes_end");

TEST_CASE("A signal to the parent ends all children, and the parent returns") {
  for (const int signum : {SIGTERM, SIGINT, SIGHUP, SIGQUIT}) {
    CAPTURE(signum);
    Family family([signum](const Voice& voice) {
      std::signal(signum, SIG_DFL);  // nohup(1) has it ignored, and so do we
      const std::optional<int> id = fork_processes(2);
      if (!id) {
        // None is left behind, not even as a zombie.
        return waitpid(-1, nullptr, WNOHANG) == -1 && errno == ECHILD ? 44 : 1;
      }
      sigset_t expected;
      sigemptyset(&expected);
      sigaddset(&expected, signum);
      sigprocmask(SIG_BLOCK, &expected, nullptr);
      voice.say("ready");
      int got = 0;
      sigwait(&expected, &got);
      voice.say("got " + std::to_string(got));
      return 0;
    });
    CHECK(family.lines(2) == Lines(2, "ready"));
    family.signal(signum);
    CHECK(family.lines(2) == Lines(2, "got " + std::to_string(signum)));
    CHECK(exited_with(family.wait(), 44));
    CHECK(family.all_ended());
  }
}

TEST_CASE(
    "Children that do not end in time are killed, and at once when a "
    "second signal comes") {
  for (const bool twice : {false, true}) {
    CAPTURE(twice);
    const auto began = std::chrono::steady_clock::now();
    Family family([twice](const Voice& voice) {
      const waterspout::Duration timeout = twice ? 15s : 100ms;
      if (fork_processes(2, {.stop_timeout = timeout})) {
        std::signal(SIGTERM, SIG_IGN);
        voice.say("ready");
        wait_to_be_ended();
      }
      return 0;
    });
    CHECK(family.lines(2) == Lines(2, "ready"));
    family.signal(SIGTERM);
    if (twice) {
      family.signal(SIGINT);
    }
    CHECK(exited_with(family.wait(), 0));
    CHECK(family.all_ended());
    CHECK(std::chrono::steady_clock::now() - began < 10s);
  }
}

TEST_CASE(
    "A second signal that comes while the first ends the children does not "
    "end the parent") {
  for (int i = 0; i < 20; ++i) {
    Family family([](const Voice& voice) {
      if (fork_processes(2)) {
        voice.say("ready");
        wait_to_be_ended();
      }
      return 0;
    });
    CHECK(family.lines(2) == Lines(2, "ready"));
    for (const int signum : {SIGTERM, SIGINT, SIGHUP, SIGQUIT}) {
      family.signal(signum);
    }
    CHECK(exited_with(family.wait(), 0));
  }
}

TEST_CASE("A stop_timeout without end leaves children all the time they need") {
  Family family([](const Voice& voice) {
    if (fork_processes(1, {.stop_timeout = waterspout::Duration::max()})) {
      sigset_t expected;
      sigemptyset(&expected);
      sigaddset(&expected, SIGTERM);
      sigprocmask(SIG_BLOCK, &expected, nullptr);
      voice.say("ready");
      int got = 0;
      sigwait(&expected, &got);
      voice.say("told to end");
      voice.hear();
      voice.say("ended in order");
    }
    return 0;
  });
  CHECK(family.line() == "ready");
  family.signal(SIGTERM);
  CHECK(family.line() == "told to end");
  CHECK(family.parent_sleeps());  // if it gave no time, the child is dead now
  family.say("now");
  CHECK(family.line() == "ended in order");
  CHECK(exited_with(family.wait(), 0));
}

TEST_CASE("A signal that the parent ignores does not end the children") {
  Family family([](const Voice& voice) {
    std::signal(SIGHUP, SIG_IGN);  // as nohup(1) does
    if (fork_processes(1)) {
      voice.say("ready " + std::to_string(getppid()));
      wait_to_be_ended();
    }
    return 0;
  });
  const pid_t parent = family.number("ready");
  kill(parent, SIGHUP);
  kill(parent, SIGTERM);
  CHECK(exited_with(family.wait(), 0));
}

TEST_CASE("Children end when their parent is killed") {
  Family family([](const Voice& voice) {
    if (fork_processes(2)) {
      voice.say("ready");
      wait_to_be_ended();
    }
    return 0;
  });
  CHECK(family.lines(2) == Lines(2, "ready"));
  family.signal(SIGKILL);
  CHECK(died_of(family.wait(), SIGKILL));
  CHECK(family.all_ended());
}

TEST_SUITE_END();
