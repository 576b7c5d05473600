// Runs other programs, as a user would, within limits.

#pragma once

#include <chrono>
#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <sys/types.h>

namespace waterspout::test {

/// How a program ended, and what it said until then.
struct ProgramResult {
  int exit_code = -1;  ///< -1 where a signal ended it
  int signal = 0;      ///< 0 where it exited
  std::string out;
  std::string err;
  long peak_rss_kib = 0;  ///< resident memory at its largest
  std::chrono::microseconds cpu_time{};
};

/// A program that runs. Every failure, also a limit that is passed, throws
/// std::runtime_error with what the program has said.
class Program {
 public:
  struct Options {
    /// More of the environment, "NAME=value".
    std::vector<std::string> environment = {};
    /// Where standard output goes instead of into the result; "-" closes it.
    std::string out_file = {};
    /// Makes standard error a terminal.
    bool err_is_terminal = false;
    /// A descriptor that becomes number 3 of the program; -1 is none.
    int pass_fd = -1;
    std::chrono::milliseconds time_limit = std::chrono::seconds(20);
  };

  /// Bytes of standard output and of standard error that are kept.
  static constexpr std::size_t kMaxOutput = std::size_t{16} << 20;

  /// `command` is the program's path and its arguments. Its standard input is
  /// empty.
  explicit Program(std::vector<std::string> command)
      : Program(std::move(command), Options()) {}
  Program(std::vector<std::string> command, const Options& options);

  /// Kills the program if it still runs, with what it started in its group of
  /// processes.
  ~Program();

  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  /// Waits until `text` is in standard output, or in standard error, and
  /// returns all that was said there so far.
  const std::string& wait_for_out(std::string_view text);
  const std::string& wait_for_err(std::string_view text);

  [[nodiscard]] pid_t pid() const noexcept { return pid_; }

  void send_signal(int signum) const;

  /// Waits for the end.
  ProgramResult wait();

  /// Whatever signal reaches it: SIGTERM, and wait().
  ProgramResult terminate();

 private:
  struct Channel {
    int fd = -1;
    std::string text;
  };

  void spawn(const Options& options);
  void pump();
  void drain(Channel& channel);
  void wait_for(const Channel& channel, std::string_view text);
  void reap();
  [[noreturn]] void give_up(std::string_view reason);

  const std::vector<std::string> command_;
  const std::chrono::steady_clock::time_point deadline_;
  pid_t pid_ = -1;  // -1 once reaped
  int pid_fd_ = -1;
  Channel out_;
  Channel err_;
  ProgramResult result_;
};

/// Runs a program to its end.
ProgramResult run_program(std::vector<std::string> command,
                          const Program::Options& options = {});

}  // namespace waterspout::test
