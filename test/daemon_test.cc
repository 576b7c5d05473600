// How a daemon starts, and what it is then. daemon_commands_test.cc has the
// rest.

#include "waterspout/daemon.h"

#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <vector>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

#include <doctest/doctest.h>

#include "waterspout/ioloop.h"

#include "support/child_process.h"
#include "support/fd_count.h"
#include "support/proc.h"
#include "support/test_daemon.h"

using waterspout::Daemon;
using waterspout::IOLoop;
using waterspout::test::block_sigterm;
using waterspout::test::contains;
using waterspout::test::DaemonDir;
using waterspout::test::exited_with;
using waterspout::test::fd_count;
using waterspout::test::fds_of;
using waterspout::test::has_ended;
using waterspout::test::idle;
using waterspout::test::run_in_child;
using waterspout::test::serve;
using waterspout::test::Signpost;
using waterspout::test::status_of;
using waterspout::test::TestDaemon;
using waterspout::test::wait_for_sigterm;

using namespace std::chrono_literals;

TEST_SUITE_BEGIN("daemon");

TEST_CASE("Daemon::start returns when the daemon is ready") {
  const DaemonDir dir;
  TestDaemon daemon(dir.options(), [&](TestDaemon& self) {
    (void)dir.write("up", "");
    serve(self);
  });
  CHECK_FALSE(daemon.pid().has_value());

  REQUIRE(dir.start(daemon) == "");
  CHECK(dir.has("up"));
  REQUIRE(daemon.pid().has_value());
  CHECK(dir.read("pid") == std::to_string(*daemon.pid()) + "\n");
  CHECK_FALSE(has_ended(*daemon.pid()));
}

TEST_CASE("Daemon::start gives the daemon a session and a parent of its own") {
  const DaemonDir dir;
  TestDaemon daemon(dir.options(), serve);
  const int status = run_in_child([&] {
    (void)dir.write("starter", std::to_string(getpid()));
    daemon.start();
    return 0;
  });
  REQUIRE(exited_with(status, 0));
  const int starter = std::stoi(dir.read("starter"));
  REQUIRE(daemon.pid().has_value());
  const int pid = *daemon.pid();
  const int parent = std::stoi(status_of(pid, "PPid"));
  CHECK(parent != starter);
  CHECK(parent != getpid());
  CHECK(getsid(pid) != getsid(0));
  CHECK(getsid(pid) != starter);
  CHECK(getsid(pid) != pid);  // no leader: never gets a terminal
}

TEST_CASE("Daemon::start gives the daemon its directory, umask and streams") {
  const DaemonDir dir;
  (void)dir.write("in", "what it reads");
  (void)dir.write("out", "before, ");
  Daemon::Options options = dir.options();
  options.stdin_file = dir.path("in");
  options.stdout_file = dir.path("out");
  options.stderr_file = dir.path("err");
  options.working_directory = dir.path();
  options.umask = 027;
  TestDaemon daemon(options, [](TestDaemon& self) {
    std::array<char, 5> word{};
    (void)!read(STDIN_FILENO, word.data(), word.size() - 1);
    std::printf("%s\n", word.data());
    std::fflush(stdout);
    std::fputs("complaint\n", stderr);
    serve(self);
  });

  REQUIRE(dir.start(daemon) == "");
  const int pid = daemon.pid().value_or(-1);
  CHECK(dir.read("out") == "before, what\n");
  CHECK(dir.read("err") == "complaint\n");
  CHECK(std::filesystem::read_symlink("/proc/" + std::to_string(pid) +
                                      "/cwd") == dir.path());
  CHECK(status_of(pid, "Umask") == "0027");
}

TEST_CASE("Daemon::start leaves one descriptor more open in the daemon") {
  const DaemonDir dir;
  const Signpost settled;
  TestDaemon daemon(dir.options(), [&](TestDaemon& self) {
    block_sigterm();
    self.ready();
    settled.pass();
    wait_for_sigterm();
  });
  REQUIRE(dir.failure_of([&] {
    (void)dir.write("before", std::to_string(fd_count()));
    daemon.start();
  }) == "");
  CHECK(settled.wait());
  const std::size_t before = std::stoul(dir.read("before"));
  CHECK(fds_of(daemon.pid().value_or(-1)) == before + 1);  // the lock
}

TEST_CASE(
    "Daemon::start leaves neither zombies nor descriptors in the starter") {
  const DaemonDir dir;
  TestDaemon daemon(dir.options(), serve);
  TestDaemon bad(dir.options(), [](TestDaemon&) { throw 1; });
  const int status = run_in_child([&] {
    const std::size_t before = fd_count();
    for (TestDaemon* each : {&daemon, &bad}) {
      try {
        each->start();
      } catch (const std::runtime_error&) {
      }
    }
    const bool no_child = waitpid(-1, nullptr, WNOHANG) < 0 && errno == ECHILD;
    return fd_count() == before && no_child ? 0 : 1;
  });
  CHECK(exited_with(status, 0));
}

TEST_CASE("Daemon::start takes paths from the directory it is given in") {
  const DaemonDir dir;
  Daemon::Options options;
  options.pid_file = "relative.pid";
  options.stdout_file = "relative.log";
  TestDaemon daemon(options, [](TestDaemon& self) {
    std::puts("hello");
    std::fflush(stdout);
    serve(self);
  });
  CHECK(dir.failure_of([&] {
    std::filesystem::current_path(dir.path());
    daemon.start();
    if (!daemon.stop()) {
      throw std::runtime_error("not stopped");
    }
  }) == "");
  CHECK(dir.read("relative.log") == "hello\n");
  CHECK_FALSE(dir.has("relative.pid"));
}

TEST_CASE("Daemon::start survives closed standard streams") {
  const DaemonDir dir;
  TestDaemon daemon(dir.options(), serve);
  CHECK(dir.failure_of([&] {
    for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
      close(fd);
    }
    daemon.start();
  }) == "");
  CHECK(daemon.pid().has_value());
  CHECK(contains(dir.start(daemon), "runs already"));
}

TEST_CASE("Daemon::start refuses while one runs") {
  const DaemonDir dir;
  TestDaemon daemon(dir.options(), serve);
  REQUIRE(dir.start(daemon) == "");
  const auto pid = daemon.pid();
  CHECK(dir.start(daemon) == "start: " + dir.path("pid") +
                                 ": runs already, as process " +
                                 std::to_string(pid.value_or(-1)));
  CHECK(contains(dir.failure_of([&] { daemon.run_in_foreground(); }),
                 "runs already"));
  CHECK(daemon.pid() == pid);
}

TEST_CASE("Daemon::start lets exactly one of many win") {
  constexpr int kStarters = 6;
  for (int round = 0; round < 5; ++round) {
    const DaemonDir dir;
    TestDaemon daemon(dir.options(), serve);
    const Signpost go;
    std::vector<pid_t> starters;
    for (int i = 0; i < kStarters; ++i) {
      starters.push_back(fork());
      if (starters.back() == 0) {
        alarm(20);
        (void)go.wait();
        try {
          daemon.start();
        } catch (const std::runtime_error&) {
          _exit(1);
        }
        _exit(0);
      }
    }
    for (int i = 0; i < kStarters; ++i) {
      go.pass();
    }
    int winners = 0;
    for (const pid_t starter : starters) {
      int status = -1;
      waitpid(starter, &status, 0);
      winners += exited_with(status, 0) ? 1 : 0;
    }
    CHECK(winners == 1);
    CHECK(daemon.pid().has_value());
  }
}

TEST_CASE("Daemon::start tells why a daemon failed before it was ready") {
  const DaemonDir dir;
  Daemon::Options options = dir.options();
  TestDaemon::Program program = serve;
  std::string reason;
  SUBCASE("by an exception") {
    program = [](TestDaemon&) { throw std::runtime_error("no such port"); };
    reason = "no such port";
  }
  SUBCASE("by anything that is thrown") {
    program = [](TestDaemon&) { throw 7; };
    reason = "exception of type int";
  }
  SUBCASE("for want of its directory") {
    options.working_directory = dir.path("none");
    reason = "chdir: " + dir.path("none") + ": No such file or directory";
  }
  SUBCASE("for want of a file") {
    options.stdout_file = dir.path("none/log");
    reason = "open: " + dir.path("none/log") + ": No such file or directory";
  }
  SUBCASE("at length") {
    program = [](TestDaemon&) {
      throw std::runtime_error(std::string(100'000, 'x'));
    };
    reason = std::string(4096, 'x');
  }

  TestDaemon daemon(options, program);
  CHECK(dir.start(daemon) == "start: " + dir.path("pid") + ": " + reason);
  CHECK_FALSE(dir.has("pid"));
  CHECK_FALSE(daemon.pid().has_value());
}

TEST_CASE("Daemon::start notices an end before the daemon was ready") {
  const DaemonDir dir;
  TestDaemon::Program program;
  SUBCASE("of run()") {
    program = [](TestDaemon&) {};
  }
  SUBCASE("by exit") {
    program = [](TestDaemon&) { std::exit(0); };
  }
  SUBCASE("by a crash") {
    program = [](TestDaemon&) { std::abort(); };
  }

  TestDaemon daemon(dir.options(), program);
  CHECK(dir.start(daemon) == "start: " + dir.path("pid") +
                                 ": ended before it was ready; see " +
                                 dir.path("log"));
  CHECK_FALSE(dir.has("pid"));
}

TEST_CASE("Daemon::start ends a daemon that is not ready in time") {
  const DaemonDir dir;
  Daemon::Options options = dir.options();
  options.start_timeout = 50ms;
  options.stop_timeout = 100ms;
  TestDaemon::Program program = idle;
  SUBCASE("by SIGTERM") {}
  SUBCASE("by SIGKILL, if it does not care") {
    program = [](TestDaemon& self) {
      block_sigterm();
      idle(self);
    };
  }
  SUBCASE("with its children") {
    program = [](TestDaemon& self) {
      block_sigterm();
      if (fork() == 0) {
        alarm(30);
      }
      idle(self);
    };
  }

  TestDaemon daemon(options, [&](TestDaemon& self) {
    (void)dir.write("who", std::to_string(getpid()));
    program(self);
  });
  CHECK(dir.start(daemon) ==
        "start: " + dir.path("pid") + ": not ready within 0.05 s");
  CHECK_FALSE(dir.has("pid"));
  if (dir.has("who")) {  // it may have been ended before it came so far
    const std::string who = dir.read("who");
    CHECK((who.empty() || has_ended(std::stoi(who))));
  }
}

TEST_CASE("Daemon::start refuses a process with an open loop") {
  const DaemonDir dir;
  TestDaemon daemon(dir.options(), serve);
  REQUIRE(dir.start(daemon) == "");
  const auto pid = daemon.pid();
  const IOLoop loop;
  CHECK_THROWS_AS(daemon.start(), std::logic_error);
  CHECK_THROWS_AS(daemon.restart(), std::logic_error);
  CHECK(daemon.pid() == pid);  // it was not even stopped
}

TEST_CASE("Daemon::ready is for a daemon whose starter has gone, too") {
  const DaemonDir dir;
  const Signpost up;
  const Signpost go;
  const Signpost done;
  TestDaemon daemon(dir.options(), [&](TestDaemon& self) {
    block_sigterm();
    up.pass();
    (void)go.wait();
    self.ready();
    self.ready();  // a second call does nothing
    done.pass();
    wait_for_sigterm();
  });
  const pid_t starter = fork();
  if (starter == 0) {
    alarm(20);
    daemon.start();
    _exit(0);
  }
  CHECK(up.wait());
  kill(starter, SIGKILL);
  waitpid(starter, nullptr, 0);
  go.pass();
  CHECK(done.wait());
  CHECK(daemon.stop());
}

TEST_CASE("Daemon::run may fork") {
  const DaemonDir dir;
  const Signpost worker_done;
  TestDaemon daemon(dir.options(), [&](TestDaemon& self) {
    block_sigterm();
    const pid_t worker = fork();
    if (worker == 0) {
      self.ready();  // the first that serves says so for all
      return;        // ends the worker, and nothing else
    }
    waitpid(worker, nullptr, 0);
    worker_done.pass();
    wait_for_sigterm();
  });
  REQUIRE(dir.start(daemon) == "");
  CHECK(worker_done.wait());
  CHECK(dir.has("pid"));
  CHECK(daemon.stop());
  CHECK_FALSE(dir.has("pid"));
}

TEST_CASE("What leaves run() in a child of the daemon ends the child alone") {
  const DaemonDir dir;
  TestDaemon daemon(dir.options(), [&](TestDaemon& self) {
    const pid_t worker = fork();
    if (worker == 0) {
      throw std::runtime_error("a worker's trouble");
    }
    int status = -1;
    waitpid(worker, &status, 0);
    (void)dir.write("status", std::to_string(WEXITSTATUS(status)));
    serve(self);
  });
  CHECK(dir.start(daemon) == "");
  CHECK(dir.read("status") == "1");
  CHECK(contains(dir.read("log"), ": a worker's trouble\n"));
  CHECK(daemon.pid().has_value());
}

TEST_CASE("A daemon that ends by itself removes its pid file") {
  const DaemonDir dir;
  const Signpost end;
  TestDaemon daemon(dir.options(), [&](TestDaemon& self) {
    self.ready();
    (void)end.wait();
  });
  REQUIRE(dir.start(daemon) == "");
  const int watch = open(dir.path("pid").c_str(), O_RDONLY | O_CLOEXEC);
  end.pass();
  CHECK(flock(watch, LOCK_SH) == 0);  // waits until it has ended
  close(watch);
  CHECK_FALSE(dir.has("pid"));
}

TEST_CASE("A daemon says on its standard error what has left run()") {
  const DaemonDir dir;
  TestDaemon daemon(dir.options(), [](TestDaemon& self) {
    serve(self);
    throw std::runtime_error("too late");
  });
  REQUIRE(dir.start(daemon) == "");
  CHECK(daemon.stop());
  CHECK(dir.read("log") ==
        std::string(program_invocation_short_name) + ": too late\n");
}

TEST_CASE("Daemon refuses options without a path") {
  CHECK_THROWS_AS(TestDaemon({}, serve), std::invalid_argument);
  CHECK_THROWS_AS(TestDaemon({.pid_file = "x", .stdout_file = ""}, serve),
                  std::invalid_argument);
}

TEST_SUITE_END();
