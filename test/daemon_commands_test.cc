// How a daemon is stopped, restarted and recognised; how it runs in the
// foreground.

#include <chrono>
#include <csignal>
#include <ctime>
#include <filesystem>
#include <stdexcept>
#include <string>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <doctest/doctest.h>

#include "waterspout/daemon.h"

#include "support/child_process.h"
#include "support/proc.h"
#include "support/test_daemon.h"

using waterspout::Daemon;
using waterspout::test::block_sigterm;
using waterspout::test::Bystander;
using waterspout::test::contains;
using waterspout::test::DaemonDir;
using waterspout::test::exited_with;
using waterspout::test::has_ended;
using waterspout::test::idle;
using waterspout::test::run_in_child;
using waterspout::test::serve;
using waterspout::test::TestDaemon;

using namespace std::chrono_literals;

TEST_SUITE_BEGIN("daemon_commands");

TEST_CASE("Daemon recognises a pid file that was left behind") {
  const DaemonDir dir;
  TestDaemon daemon(dir.options(), serve);
  const Bystander bystander;
  SUBCASE("with a number that is nobody's") {
    (void)dir.write("pid", "4194303\n");
  }
  SUBCASE("with a number that is somebody else's now") {
    (void)dir.write("pid", std::to_string(bystander.pid()) + "\n");
  }
  SUBCASE("with nothing in it") { (void)dir.write("pid", ""); }
  SUBCASE("as a crash of the machine leaves it") {
    (void)dir.write("pid", std::string(6, '\0'));
  }

  CHECK_FALSE(daemon.pid().has_value());
  const std::string left = dir.read("pid");
  CHECK_FALSE(daemon.stop());
  CHECK_FALSE(dir.has("pid"));
  (void)dir.write("pid", left);
  CHECK(dir.start(daemon) == "");
  CHECK(daemon.pid().has_value());
  CHECK(bystander.alive());
}

TEST_CASE("Daemon refuses what is no pid file and leaves it as it is") {
  const DaemonDir dir;
  TestDaemon daemon(dir.options(), serve);
  SUBCASE("but a text") { (void)dir.write("pid", "12 apples"); }
  SUBCASE("but much larger") { (void)dir.write("pid", std::string(1000, '1')); }
  SUBCASE("but a link") {
    std::filesystem::create_symlink(dir.write("target", "text"),
                                    dir.path("pid"));
  }
  SUBCASE("but a directory") {
    std::filesystem::create_directory(dir.path("pid"));
  }
  SUBCASE("but a FIFO") { REQUIRE(mkfifo(dir.path("pid").c_str(), 0600) == 0); }

  CHECK(contains(dir.start(daemon), "open: " + dir.path("pid") + ": "));
  CHECK_THROWS_AS((void)daemon.stop(), std::runtime_error);
  CHECK_THROWS_AS((void)daemon.pid(), std::runtime_error);
  CHECK(dir.has("pid"));
  std::filesystem::remove(dir.path("pid"));
}

TEST_CASE("Daemon::stop returns when the daemon has ended") {
  const DaemonDir dir;
  TestDaemon daemon(dir.options(), [&](TestDaemon& self) {
    serve(self);
    (void)dir.write("last words", "");
  });
  REQUIRE(dir.start(daemon) == "");
  const int pid = daemon.pid().value_or(-1);
  CHECK(daemon.stop());
  CHECK(dir.has("last words"));
  CHECK(has_ended(pid));
  CHECK_FALSE(dir.has("pid"));
  CHECK_FALSE(daemon.stop());
}

TEST_CASE("Daemon::stop ends one that dies of SIGTERM") {
  const DaemonDir dir;
  TestDaemon daemon(dir.options(), [](TestDaemon& self) {
    self.ready();
    idle(self);
  });
  REQUIRE(dir.start(daemon) == "");
  CHECK(daemon.stop());
  CHECK_FALSE(dir.has("pid"));
}

TEST_CASE("Daemon::stop signals once: a second SIGTERM might mean more") {
  const DaemonDir dir;
  TestDaemon daemon(dir.options(), [&](TestDaemon& self) {
    serve(self);
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    const timespec while_stop_waits{0, 50'000'000};
    const int signum = sigtimedwait(&set, nullptr, &while_stop_waits);
    (void)dir.write("more", signum == SIGTERM ? "yes" : "no");
  });
  REQUIRE(dir.start(daemon) == "");
  CHECK(daemon.stop());
  CHECK(dir.read("more") == "no");
}

TEST_CASE("Daemon::stop throws if the daemon does not end in time") {
  const DaemonDir dir;
  Daemon::Options options = dir.options();
  options.stop_timeout = 50ms;
  TestDaemon daemon(options, [](TestDaemon& self) {
    block_sigterm();
    self.ready();
    idle(self);
  });
  REQUIRE(dir.start(daemon) == "");
  const std::string process = std::to_string(daemon.pid().value_or(-1));
  CHECK(dir.failure_of([&] { daemon.stop(); }) ==
        "stop: " + dir.path("pid") + ": process " + process +
            ", or a child of it, still runs after 0.05 s");
}

TEST_CASE("Daemon::stop signals nobody who does not hold the pid file") {
  const DaemonDir dir;
  Daemon::Options options = dir.options();
  options.stop_timeout = 20ms;
  TestDaemon daemon(options, serve);
  const Bystander bystander;
  SUBCASE("but another process") {
    (void)dir.write("pid", std::to_string(bystander.pid()) + "\n");
  }
  SUBCASE("but init") { (void)dir.write("pid", "1\n"); }
  SUBCASE("but a whole group") { (void)dir.write("pid", "0\n"); }
  SUBCASE("but a number out of range") {
    (void)dir.write("pid", "99999999999\n");
  }
  const int fd = open(dir.path("pid").c_str(), O_RDWR | O_CLOEXEC);
  REQUIRE(flock(fd, LOCK_EX) == 0);

  CHECK_FALSE(daemon.pid().has_value());
  CHECK(dir.failure_of([&] { daemon.stop(); }) ==
        "stop: " + dir.path("pid") +
            ": a process that is not named there still runs after 0.02 s");
  CHECK(contains(dir.start(daemon), "locked, as by another start"));
  CHECK(bystander.alive());
  close(fd);
}

TEST_CASE("Daemon::restart replaces the daemon") {
  const DaemonDir dir;
  TestDaemon daemon(dir.options(), serve);
  const auto restart = [&] { daemon.restart(); };
  REQUIRE(dir.failure_of(restart) == "");  // also where none runs
  const auto first = daemon.pid();
  REQUIRE(first.has_value());
  CHECK(dir.failure_of(restart) == "");
  CHECK(has_ended(*first));
  CHECK(daemon.pid().has_value());
  CHECK(daemon.pid() != first);
}

TEST_CASE("Daemon starts again after it was killed") {
  const DaemonDir dir;
  TestDaemon daemon(dir.options(), serve);
  REQUIRE(dir.start(daemon) == "");
  const int first = daemon.pid().value_or(-1);
  const int watch = open(dir.path("pid").c_str(), O_RDONLY | O_CLOEXEC);
  REQUIRE(kill(first, SIGKILL) == 0);
  REQUIRE(flock(watch, LOCK_SH) == 0);  // waits for its end
  close(watch);

  CHECK(dir.has("pid"));
  CHECK_FALSE(daemon.pid().has_value());
  CHECK(dir.start(daemon) == "");
  CHECK(daemon.pid().value_or(first) != first);
}

TEST_CASE("Daemon::run_in_foreground runs here, with the pid file") {
  const DaemonDir dir;
  std::string text;
  TestDaemon::Program program = [&](TestDaemon& self) {
    text = dir.read("pid");
    CHECK(self.pid() == getpid());
    self.ready();
  };
  SUBCASE("until run() returns") {
    TestDaemon daemon(dir.options(), program);
    daemon.run_in_foreground();
  }
  SUBCASE("until run() throws") {
    TestDaemon daemon(dir.options(), [&](TestDaemon& self) {
      program(self);
      throw std::runtime_error("as it is");
    });
    CHECK_THROWS_WITH(daemon.run_in_foreground(), "as it is");
  }
  CHECK(text == std::to_string(getpid()) + "\n");
  CHECK_FALSE(dir.has("pid"));
}

TEST_CASE("Daemon::command returns the exit status") {
  const DaemonDir dir;
  TestDaemon daemon(dir.options(), serve);
  TestDaemon bad(dir.options(), [](TestDaemon&) { throw 1; });
  const auto status_of_command = [](TestDaemon& of, const char* verb) {
    return run_in_child([&] { return of.command(verb); });
  };
  CHECK(exited_with(status_of_command(daemon, "stop"), 0));
  CHECK(exited_with(status_of_command(daemon, "start"), 0));
  CHECK(exited_with(status_of_command(daemon, "start"), 1));
  CHECK(exited_with(status_of_command(daemon, "run"), 1));
  CHECK(exited_with(status_of_command(daemon, "restart"), 0));
  CHECK(daemon.pid().has_value());
  CHECK(exited_with(status_of_command(daemon, "stop"), 0));
  CHECK_FALSE(daemon.pid().has_value());
  CHECK(exited_with(status_of_command(daemon, ""), 2));
  CHECK(exited_with(status_of_command(daemon, "Start"), 2));
  CHECK(exited_with(status_of_command(bad, "start"), 1));
  CHECK(exited_with(status_of_command(bad, "run"), 1));
}

TEST_SUITE_END();
