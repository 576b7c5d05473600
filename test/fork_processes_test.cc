// fork_processes: what the children are, and when they are started again.

#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <system_error>

#include <sched.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <doctest/doctest.h>

#include "waterspout/ioloop.h"
#include "waterspout/process.h"

#include "support/child_process.h"
#include "support/process_family.h"

using waterspout::cpu_count;
using waterspout::fork_processes;
using waterspout::IOLoop;
using waterspout::Logger;
using waterspout::LogRecord;
using waterspout::task_id;
using waterspout::test::exited_with;
using waterspout::test::Family;
using waterspout::test::Lines;
using waterspout::test::pid_text;
using waterspout::test::Voice;
using waterspout::test::wait_to_be_ended;

using namespace std::chrono_literals;

TEST_SUITE_BEGIN("fork_processes");

TEST_CASE(
    "fork_processes returns an id in every child, and nothing in the "
    "parent when all have exited with 0 (P2)") {
  Family family([](const Voice& voice) {
    const std::optional<int> id = fork_processes(3);
    if (!id) {
      return task_id() ? 1 : 33;
    }
    voice.say("child " + std::to_string(*id));
    return task_id() == id ? 0 : 1;
  });
  CHECK(family.lines(3) == Lines{"child 0", "child 1", "child 2"});
  CHECK(exited_with(family.wait(), 33));
}

TEST_CASE(
    "fork_processes starts children again that end badly, with the same "
    "id, and not those that exit with 0 (test_multi_process)") {
  // Child 0 exits with 3, then is killed, then aborts, then is done.
  Family family([](const Voice& voice) {
    int generation = 0;
    const std::string first = pid_text();
    const std::optional<int> id = fork_processes(
        3, {.max_restarts = 3,
            .logger = Logger(
                [&](const LogRecord&) {
                  ++generation;  // in the parent, so in those started later too
                },
                waterspout::LogLevel::warning)});
    if (!id) {
      return generation == 3 ? 0 : 1;
    }
    if (*id != 0) {
      return 0;
    }
    voice.say("0 in generation " + std::to_string(generation));
    if (generation == 1) {
      kill(getpid(), SIGKILL);
    } else if (generation == 2) {
      const rlimit none{0, 0};
      setrlimit(RLIMIT_CORE, &none);
      abort();
    }
    return generation == 0 ? 3 : 0;
  });
  CHECK(family.lines(4) == Lines{"0 in generation 0", "0 in generation 1",
                                 "0 in generation 2", "0 in generation 3"});
  CHECK(exited_with(family.wait(), 0));
}

TEST_CASE(
    "fork_processes logs how a child has ended, and gives up after too "
    "many restarts, all children together (P-6, P1)") {
  Family family([](const Voice& voice) {
    const std::optional<int> id =
        fork_processes(2, {.max_restarts = 2, .logger = voice.logger()});
    if (id == 1) {
      voice.say("started");
      wait_to_be_ended();
    }
    return 5;
  });
  Lines said;
  for (std::string line = family.line(); !line.empty(); line = family.line()) {
    said.push_back(line.starts_with("log: child 0")
                       ? line.substr(line.find(')') + 2)
                       : line);
  }
  const auto count = [&](const char* line) {
    return std::count(said.begin(), said.end(), line);
  };
  CHECK(count("exited with status 5, restarting") == 3);
  CHECK(count("started") == 1);
  CHECK(count("threw fork_processes: too many child restarts (2), giving up") ==
        1);
  CHECK(exited_with(family.wait(), 91));
}

TEST_CASE("A child that a signal has killed is replaced (P14)") {
  Family family([](const Voice& voice) {
    if (fork_processes(1)) {
      voice.say("child " + pid_text());
      wait_to_be_ended();
    }
    return 0;
  });
  const pid_t first = family.number("child");
  kill(first, SIGKILL);
  const pid_t second = family.number("child");
  CHECK(second != first);
  family.signal(SIGTERM);
  CHECK(exited_with(family.wait(), 0));
  CHECK(family.all_ended());
}

TEST_CASE(
    "A child that ends again and again is started again after longer and "
    "longer pauses") {
  const auto began = std::chrono::steady_clock::now();
  Family family([](const Voice& voice) {
    if (fork_processes(1, {.max_restarts = 5})) {
      voice.say("child");
    }
    return 1;
  });
  CHECK(family.lines(6) == Lines(6, "child"));
  // 10 + 20 + 40 + 80 + 160 milliseconds.
  CHECK(std::chrono::steady_clock::now() - began >= 310ms);
  CHECK(exited_with(family.wait(), 91));
}

TEST_CASE("Children have the signals as they were before the fork") {
  Family family([](const Voice& voice) {
    std::signal(SIGCHLD, SIG_IGN);  // children could not be waited for
    sigset_t before;
    sigemptyset(&before);
    sigaddset(&before, SIGUSR1);
    sigprocmask(SIG_SETMASK, &before, nullptr);
    const std::optional<int> id = fork_processes(1);
    sigset_t after;
    sigprocmask(SIG_SETMASK, nullptr, &after);
    struct sigaction child {};
    sigaction(SIGCHLD, nullptr, &child);
    bool same = child.sa_handler == SIG_IGN;
    for (int signum = 1; signum < SIGRTMIN; ++signum) {
      same =
          same && sigismember(&after, signum) == sigismember(&before, signum);
    }
    voice.say(std::string(id ? "child " : "parent ") + (same ? "same" : "not"));
    return 0;
  });
  CHECK(family.lines(2) == Lines{"child same", "parent same"});
  CHECK(exited_with(family.wait(), 0));
}

TEST_CASE("Children do not share their random numbers (P13)") {
  Family family([](const Voice& voice) {
    srandom(1);
    if (fork_processes(3)) {
      voice.say(std::to_string(random()) + " " + std::to_string(rand()));
    }
    return 0;
  });
  const Lines said = family.lines(3);
  CHECK(std::set<std::string>(said.begin(), said.end()).size() == 3);
  CHECK(exited_with(family.wait(), 0));
}

TEST_CASE("Other children of the parent are left alone") {
  Family family([](const Voice&) {
    const pid_t other = fork();
    if (other == 0) {
      _exit(7);
    }
    if (fork_processes(1)) {
      return 0;
    }
    int status = 0;
    return waitpid(other, &status, 0) == other && WEXITSTATUS(status) == 7 ? 0
                                                                           : 1;
  });
  CHECK(exited_with(family.wait(), 0));
}

TEST_CASE("Output that was buffered before the fork is written once") {
  std::array<int, 2> out{};
  REQUIRE(pipe(out.data()) == 0);
  Family family([&](const Voice&) {
    dup2(out[1], STDOUT_FILENO);
    close(out[1]);
    std::printf("once\n");
    if (fork_processes(2)) {
      std::fflush(stdout);
    }
    std::fflush(stdout);
    return 0;
  });
  close(out[1]);
  CHECK(exited_with(family.wait(), 0));
  std::array<char, 100> text{};
  const auto size = read(out[0], text.data(), text.size());
  close(out[0]);
  CHECK(std::string(text.data(), static_cast<std::size_t>(size)) == "once\n");
}

TEST_CASE("Each child has a loop of its own that works") {
  Family family([](const Voice& voice) {
    if (fork_processes(2)) {
      IOLoop& loop = IOLoop::current();
      loop.call_later(1ms, [&] { loop.stop(); });
      loop.start();
      voice.say("turned");
    }
    return 0;
  });
  CHECK(family.lines(2) == Lines(2, "turned"));
  CHECK(exited_with(family.wait(), 0));
}

TEST_CASE(
    "fork_processes refuses a process with an open loop, and not one "
    "whose loop has closed (P-3)") {
  {
    const IOLoop loop;
    CHECK_THROWS_WITH_AS(
        static_cast<void>(fork_processes(1)),
        "fork_processes: a loop is open in this process, which a child could "
        "not use; make it after the fork (IOLoop::current() makes one, too)",
        std::logic_error);
  }
  Family family([](const Voice&) {
    { const IOLoop loop; }
    return fork_processes(1) ? 0 : 3;
  });
  CHECK(exited_with(family.wait(), 3));
}

TEST_CASE("fork_processes refuses a child of its own, and misuse") {
  Family family([](const Voice& voice) {
    if (fork_processes(1)) {
      try {
        static_cast<void>(fork_processes(1));
      } catch (const std::logic_error& error) {
        voice.say(error.what());
      }
    }
    return 0;
  });
  CHECK(family.line() ==
        "fork_processes: this process is one of its children itself");
  CHECK_THROWS_AS(static_cast<void>(fork_processes(1, {.max_restarts = -1})),
                  std::invalid_argument);
}

TEST_CASE(
    "A fork that fails is thrown in the parent, after the other children "
    "have ended (P7)") {
  Family family([](const Voice& voice) {
    const rlimit few{0, 0};
    if (geteuid() == 0 && setuid(65534) != 0) {
      return 1;
    }
    setrlimit(RLIMIT_NPROC, &few);
    try {
      static_cast<void>(fork_processes(2));
    } catch (const std::system_error& error) {
      voice.say(error.what());
    }
    return 0;
  });
  CHECK(family.line() ==
        "fork_processes: fork: Resource temporarily unavailable");
  CHECK(exited_with(family.wait(), 0));
}

TEST_CASE("One process for every processor that this one may use") {
  cpu_set_t all;
  REQUIRE(sched_getaffinity(0, sizeof all, &all) == 0);
  CHECK(cpu_count() == CPU_COUNT(&all));
  Family family([](const Voice& voice) {
    if (fork_processes(0)) {
      voice.say("child");
    }
    return 0;
  });
  CHECK(exited_with(family.wait(), 0));
  const auto count = static_cast<std::size_t>(cpu_count());
  CHECK(family.lines(count) == Lines(count, "child"));
  CHECK(family.line().empty());
}

TEST_CASE("A process that nobody has forked so has no task id") {
  CHECK(!task_id());
}

TEST_SUITE_END();
