// Daemon: a program that goes on in the background, with a pid file.
//
//   class MyDaemon : public waterspout::Daemon {
//     using Daemon::Daemon;
//     void run() override {
//       IOLoop loop;
//       MyServer server(loop);
//       server.listen(9090);
//       loop.add_signal_handler(SIGTERM, [&](int) { loop.stop(); });
//       ready();
//       loop.start();
//     }
//   };
//
//   int main(int argc, char** argv) {
//     MyDaemon daemon({.pid_file = "/run/my.pid"});
//     return daemon.command(argc > 1 ? argv[1] : "");
//   }
//
// Floor 5, service.

#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "waterspout/export.h"
#include "waterspout/ioloop.h"

namespace waterspout {

namespace detail {
class PidFile;
class ReadyPipe;
}  // namespace detail

/// A daemon with the commands start, stop, restart and run. Subclass it and
/// override run().
///
/// The pid file holds the daemon's process id in decimal and a newline, and is
/// locked (flock(2)) as long as the daemon and children of it live, so one that
/// was left behind, as by a kill or a crash of the machine, is recognised and
/// replaced, whatever process has its number now. It is removed when run() has
/// ended. A file that holds anything else, or is no regular one, is refused and
/// left as it is.
///
/// run() may fork: what comes back from it in a child ends that child, and no
/// more.
///
/// Requires: one thread when a command is given.
class WATERSPOUT_API Daemon {
 public:
  struct Options {
    /// Paths are meant from the directory in which the command is given.
    std::string pid_file;
    /// What becomes the standard streams in the background; output is appended.
    std::string stdin_file = "/dev/null";
    std::string stdout_file = "/dev/null";
    std::string stderr_file = "/dev/null";
    /// Where it runs in the background, so that it keeps no file system busy.
    std::string working_directory = "/";
    /// umask(2) in the background.
    unsigned umask = 022;
    /// How long start() waits for ready().
    Duration start_timeout = std::chrono::seconds(10);
    /// How long stop() waits after SIGTERM; and start(), where it failed.
    Duration stop_timeout = std::chrono::seconds(10);
  };

  /// Errors: throws std::invalid_argument if a path is empty.
  explicit Daemon(Options options);
  virtual ~Daemon();

  Daemon(const Daemon&) = delete;
  Daemon& operator=(const Daemon&) = delete;

  /// For main: does what `verb` says ("start", "stop", "restart" or "run"), and
  /// returns the exit status: 0, or 1 after a line on standard error if that
  /// failed, or 2, likewise, if there is no such verb. To stop what does not
  /// run is no failure; a line says so.
  int command(std::string_view verb) noexcept;

  /// Runs in the background: forked twice, in a session of its own.
  ///
  /// Returns when the daemon is ready(). In the daemon's process this does not
  /// return: it exits (std::exit) when run() has ended, with 0, or with 1 after
  /// a line on its standard error if an exception left run(). Descriptors that
  /// are open stay open there.
  /// Errors: throws std::logic_error if a loop is open in the process, which
  ///   the daemon could not use; std::system_error or std::runtime_error that
  ///   names the pid file: one runs already; the daemon failed, or ended,
  ///   before it was ready, with its reason; it was not ready within the
  ///   start_timeout and has been ended, by SIGTERM, then by SIGKILL. Nothing
  ///   is left running then.
  void start();

  /// Ends the daemon with SIGTERM and returns when it has ended. Returns false
  /// if none runs; a pid file that was left behind is removed then.
  /// Errors: throws std::runtime_error if it, or a child of it, still runs
  /// after
  ///   the stop_timeout, or the file is none of a daemon; std::system_error if
  ///   it cannot be signalled.
  bool stop();

  /// stop(), then start().
  void restart();

  /// Runs in this process, with the pid file and without anything else of a
  /// daemon: as supervisors and containers want it.
  /// Errors: throws what run() throws, and as start() if one runs already.
  void run_in_foreground();

  /// The process that runs now; nothing if none does.
  /// Errors: throws std::system_error if the pid file cannot be read, or
  ///   std::runtime_error if it is none.
  [[nodiscard]] std::optional<int> pid() const;

 protected:
  /// The program itself. SIGTERM is how it is told to end.
  virtual void run() = 0;

  /// To be called by run() once it serves, or by the first child of it that
  /// does: the starter returns with success. A second call, and one in the
  /// foreground, do nothing.
  void ready() noexcept;

 private:
  [[noreturn]] void serve(const Options& options,
                          detail::PidFile& pid_file) noexcept;

  Options options_;
  std::unique_ptr<detail::ReadyPipe> starter_;
};

}  // namespace waterspout
