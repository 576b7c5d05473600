// Daemons for a test: what each of them runs is a function.

#pragma once

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <utility>

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "waterspout/daemon.h"

#include "support/child_process.h"
#include "support/temp_dir.h"
#include "support/text.h"

namespace waterspout::test {

/// None outlives its test: it is killed at the end, and ends by itself after
/// half a minute.
class TestDaemon final : public Daemon {
 public:
  using Program = std::function<void(TestDaemon&)>;

  TestDaemon(Options options, Program program)
      : Daemon(std::move(options)), program_(std::move(program)) {}
  ~TestDaemon() override {
    try {
      if (const auto left = pid()) {
        kill(*left, SIGKILL);
      }
    } catch (const std::exception&) {
      // The test has made the pid file into something else.
    }
  }
  TestDaemon(const TestDaemon&) = delete;
  TestDaemon& operator=(const TestDaemon&) = delete;

  using Daemon::ready;

 protected:
  void run() override {
    if (getpid() != test_) {  // which has a watchdog of its own
      alarm(30);
    }
    program_(*this);
  }

 private:
  const Program program_;
  const pid_t test_ = getpid();
};

namespace detail {

inline sigset_t sigterm_alone() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  return set;
}

}  // namespace detail

inline void block_sigterm() {
  const sigset_t set = detail::sigterm_alone();
  sigprocmask(SIG_BLOCK, &set, nullptr);
}

/// Requires: block_sigterm().
inline void wait_for_sigterm() {
  const sigset_t set = detail::sigterm_alone();
  int signum = 0;
  sigwait(&set, &signum);
}

/// The program that is ready at once and ends when it is told to.
inline void serve(TestDaemon& daemon) {
  block_sigterm();
  daemon.ready();
  wait_for_sigterm();
}

/// The program that does nothing at all.
inline void idle(TestDaemon& /*daemon*/) {
  for (;;) {
    pause();
  }
}

/// Where a process waits until another one has passed: a pipe.
class Signpost {
 public:
  Signpost() { valid_ = pipe2(ends_.data(), O_CLOEXEC) == 0; }
  ~Signpost() {
    close(ends_[0]);
    close(ends_[1]);
  }
  Signpost(const Signpost&) = delete;
  Signpost& operator=(const Signpost&) = delete;

  void pass() const { (void)!write(ends_[1], "x", 1); }
  [[nodiscard]] bool wait() const {
    char byte = 0;
    return valid_ && read(ends_[0], &byte, 1) == 1;
  }

 private:
  std::array<int, 2> ends_{-1, -1};
  bool valid_ = false;
};

/// The files of a daemon: "pid", and "log" for all that it says.
class DaemonDir : public TempDir {
 public:
  [[nodiscard]] Daemon::Options options() const {
    Daemon::Options options;
    options.pid_file = path("pid");
    options.stdout_file = path("log");
    options.stderr_file = path("log");
    return options;
  }

  [[nodiscard]] bool has(std::string_view name) const {
    return std::filesystem::exists(std::filesystem::symlink_status(path(name)));
  }

  /// Runs `function` in a process of its own, as a command has one, and returns
  /// what it threw; "" if nothing.
  [[nodiscard]] std::string failure_of(
      const std::function<void()>& function) const {
    const int status = run_in_child([&] {
      try {
        function();
      } catch (const std::exception& error) {
        (void)write("failure", error.what());
        return 1;
      }
      return 0;
    });
    if (exited_with(status, 0)) {
      return "";
    }
    return exited_with(status, 1) ? read("failure") : "crashed";
  }

  [[nodiscard]] std::string start(TestDaemon& daemon) const {
    return failure_of([&] { daemon.start(); });
  }
};

/// A process that has nothing to do with any daemon.
class Bystander {
 public:
  Bystander() : pid_(fork()) {
    if (pid_ == 0) {
      std::signal(SIGTERM, SIG_DFL);
      std::signal(SIGALRM, SIG_DFL);
      alarm(30);
      for (;;) {
        pause();
      }
    }
  }
  ~Bystander() {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  Bystander(const Bystander&) = delete;
  Bystander& operator=(const Bystander&) = delete;

  [[nodiscard]] int pid() const { return pid_; }
  [[nodiscard]] bool alive() const {
    return waitpid(pid_, nullptr, WNOHANG) == 0;
  }

 private:
  const pid_t pid_;
};

}  // namespace waterspout::test
