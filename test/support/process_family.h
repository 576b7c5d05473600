// A process that forks more of them, and what they say: for tests of
// fork_processes, each of which needs a parent of its own.

#pragma once

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <exception>
#include <functional>
#include <iostream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <sys/wait.h>
#include <unistd.h>

#include <doctest/doctest.h>

#include "waterspout/log.h"

#include "support/proc.h"
#include "support/sockets.h"

namespace waterspout::test {

using Lines = std::vector<std::string>;

/// What a process of the family tells the test by: a line at a time.
class Voice {
 public:
  explicit Voice(UniquePeerFd socket) : socket_(std::move(socket)) {}

  void say(const std::string& line) const { socket_.send(line + "\n"); }

  /// Waits until the test says something.
  void hear() const { (void)socket_.recv(); }

  [[nodiscard]] Logger logger() const {
    return Logger([this](const LogRecord& record) {
      say("log: " + std::string(record.message));
    });
  }

 private:
  UniquePeerFd socket_;
};

/// A process that runs `body`, which calls fork_processes, and so do the
/// children that this makes. Its result is the exit status of each.
class Family {
 public:
  using Body = std::function<int(const Voice&)>;

  explicit Family(const Body& body) {
    SocketPair line = make_unix_sockets();
    std::cout.flush();  // or others would write it once more
    pid_ = fork();
    if (pid_ == 0) {
      line.client.close();
      live(body, Voice(std::move(line.server)));
    }
    line_ = std::move(line.client);
  }

  ~Family() {
    if (pid_ > 0) {
      kill(pid_, SIGKILL);
      waitpid(pid_, nullptr, 0);
    }
  }
  Family(const Family&) = delete;
  Family& operator=(const Family&) = delete;

  /// The next line that any of them says; "" when all have ended.
  std::string line() {
    while (text_.find('\n') == std::string::npos) {
      const std::string more = line_.recv();
      if (more.empty()) {
        return std::exchange(text_, "");
      }
      text_ += more;
    }
    std::string first = text_.substr(0, text_.find('\n'));
    text_.erase(0, first.size() + 1);
    return first;
  }

  /// So many lines, sorted: processes speak in any order.
  Lines lines(std::size_t count) {
    Lines all;
    for (std::size_t i = 0; i < count; ++i) {
      all.push_back(line());
    }
    std::sort(all.begin(), all.end());
    return all;
  }

  /// The number behind "name ".
  pid_t number(const std::string& name) {
    const std::string said = line();
    CHECK(said.starts_with(name + " "));
    return said.size() > name.size() ? std::stoi(said.substr(name.size())) : -1;
  }

  void signal(int signum) const { kill(pid_, signum); }

  /// To the one of them that hears it.
  void say(const std::string& text) const { line_.send(text); }

  /// True once the parent sleeps, until something happens or it is time for
  /// something.
  [[nodiscard]] bool parent_sleeps() const {
    const auto limit = std::chrono::steady_clock::now() + kLimit;
    while (!status_of(pid_, "State").starts_with("S")) {
      if (has_ended(pid_) || std::chrono::steady_clock::now() > limit) {
        return false;
      }
      std::this_thread::yield();
    }
    return true;
  }

  /// The parent's status.
  int wait() {
    int status = -1;
    waitpid(std::exchange(pid_, -1), &status, 0);
    return status;
  }

  /// Nobody of the family is left: only they hold the other end of the line.
  bool all_ended() {
    while (!line().empty()) {
    }
    return true;
  }

 private:
  static constexpr std::chrono::seconds kLimit{5};

  [[noreturn]] static void live(const Body& body, const Voice& voice) {
    alarm(20);
    for (const int signum : {SIGTERM, SIGINT, SIGABRT, SIGALRM, SIGSEGV}) {
      std::signal(signum, SIG_DFL);  // doctest's would tell of a crash
    }
    int result = 90;
    try {
      result = body(voice);
    } catch (const std::exception& error) {
      voice.say(std::string("threw ") + error.what());
      result = 91;
    }
    _exit(result);
  }

  UniquePeerFd line_;
  std::string text_;
  pid_t pid_ = -1;
};

[[noreturn]] inline void wait_to_be_ended() {
  alarm(20);
  while (true) {
    pause();
  }
}

inline std::string pid_text() { return std::to_string(getpid()); }

}  // namespace waterspout::test
