// Subprocess: another program, with its standard descriptors as streams and its
// end as a callback.
//
//   waterspout::Subprocess sort(
//       loop, {"sort", "-u"},
//       {.input = waterspout::Subprocess::STREAM,
//        .output = waterspout::Subprocess::STREAM});
//   sort.input()->write("b\na\nb\n");
//   sort.input()->close_after_writing();
//   sort.output()->read_until_close([](std::string_view sorted) { ... });
//   sort.set_exit_callback([](waterspout::ExitStatus status) { ... });
//
// Floor 5, service. A Subprocess belongs to its loop's thread.

#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <vector>

#include "waterspout/callback.h"
#include "waterspout/export.h"
#include "waterspout/ioloop.h"
#include "waterspout/pipe_iostream.h"

namespace waterspout {

namespace detail {
class SubprocessWatch;
}  // namespace detail

/// How a child ended. A plain value.
struct ExitStatus {
  /// What it exited with; 0 where a signal ended it.
  int code = 0;
  /// The signal that ended it; 0 where it exited.
  int signal = 0;
  /// Why neither is known: std::errc::no_child_process where SIGCHLD is
  /// ignored, or somebody else has waited for the child.
  std::error_code error = {};

  /// True for exit(0).
  [[nodiscard]] bool success() const noexcept {
    return code == 0 && signal == 0 && !error;
  }

  /// `code`, or minus `signal`; nothing if they are not known.
  /// Tornado: what its exit callback is called with.
  [[nodiscard]] std::optional<int> returncode() const noexcept {
    return error ? std::nullopt
                 : std::optional<int>(signal != 0 ? -signal : code);
  }

  /// "exited with status 1", "was ended by signal 9", "ended, but ...".
  [[nodiscard]] WATERSPOUT_API std::string to_string() const;
};

/// What one of a child's standard descriptors is. A plain value; see the
/// constants of Subprocess.
class ChildFd {
 public:
  enum class Kind {
    inherited,  ///< this process's own
    null,       ///< /dev/null
    stream,     ///< a pipe, whose other end is a PipeIOStream
    given,      ///< a copy of a descriptor of this process
    output,     ///< for errors only: where the child's output goes
  };

  constexpr explicit ChildFd(Kind kind) noexcept : kind_(kind) {}

  [[nodiscard]] constexpr Kind kind() const noexcept { return kind_; }
  [[nodiscard]] constexpr int fd() const noexcept { return fd_; }

 private:
  friend class Subprocess;
  constexpr explicit ChildFd(int fd) noexcept : kind_(Kind::given), fd_(fd) {}

  Kind kind_;
  int fd_ = -1;
};

struct SubprocessOptions {
  // Standard input, output and error. (The C library's names for them may be
  // macros.)
  ChildFd input = ChildFd(ChildFd::Kind::inherited);
  ChildFd output = ChildFd(ChildFd::Kind::inherited);
  ChildFd errors = ChildFd(ChildFd::Kind::inherited);

  /// Variables that are set in the child, or, without a value, are not.
  std::map<std::string, std::optional<std::string>> environment = {};
  /// False: the child gets nothing but `environment`.
  bool inherit_environment = true;

  /// Where the child starts; empty: where this process is.
  std::string directory = {};

  /// Whether a command without a slash is looked for in this process's PATH.
  bool search_path = true;

  /// Of the streams.
  BaseIOStream::Options stream = {};
};

/// A child process that runs a program.
///
/// The child gets nothing of this process but what the options say: no
/// descriptor besides 0, 1 and 2, also none that was opened without
/// close-on-exec; every signal has its default disposition and none is blocked.
/// What the loop waits for is the child's pidfd (pidfd_open(2), so Linux 5.4 or
/// later): there is no handler of SIGCHLD, other children are left alone, and
/// loops in any number of threads have children of their own.
///
/// Life: constructed, the child runs -> ended. Destroying it neither ends the
/// child nor waits for it: the exit callback is dropped, and the loop still
/// waits for the end, so that no zombie is left. When the loop closes first, a
/// child that has ended by then is waited for as well. One that runs on is a
/// zombie from its end until the next Subprocess of this process, on whatever
/// loop, starts, ends or loses its loop.
///
/// Lifetime: the loop may go first; nobody is called then. A child whose
///   Subprocess lives keeps a borrowed base's loop from ending.
/// Tornado: Subprocess(*args, **kwargs), whose initialize() is not needed.
class WATERSPOUT_API Subprocess {
 public:
  using Options = SubprocessOptions;
  using ExitCallback = Callback<void(ExitStatus status)>;

  static constexpr ChildFd INHERIT{ChildFd::Kind::inherited};
  static constexpr ChildFd DEVNULL{ChildFd::Kind::null};
  static constexpr ChildFd STREAM{ChildFd::Kind::stream};
  static constexpr ChildFd OUTPUT{ChildFd::Kind::output};

  /// A copy of `fd`, made by the constructor; the descriptor stays the
  /// caller's.
  [[nodiscard]] static constexpr ChildFd fd(int fd) noexcept {
    return ChildFd(fd);
  }

  /// Starts `command`, the program and its arguments, and returns when the
  /// child has become it (posix_spawn(3): this thread waits until then, and a
  /// process of any size starts one equally fast, since no memory is copied).
  ///
  /// Errors: throws std::system_error where the program cannot be started, for
  ///   example "Subprocess: sort: No such file or directory", and where a
  ///   descriptor, a process or the directory cannot be had;
  ///   std::invalid_argument for an empty command, a string with a zero byte,
  ///   a variable's name that is empty or has a "=", a negative descriptor,
  ///   OUTPUT for something else than errors, and options that a PipeIOStream
  ///   cannot have; std::logic_error on a closed loop. Nothing is left over
  ///   then.
  Subprocess(IOLoop& loop, const std::vector<std::string>& command,
             const Options& options = {});
  ~Subprocess();

  Subprocess(const Subprocess&) = delete;
  Subprocess& operator=(const Subprocess&) = delete;

  // Our ends of what is a STREAM, else null. They live as long as somebody
  // holds them: a child whose input is not closed may wait for more for ever.

  /// For writing. Tornado: stdin.
  [[nodiscard]] const std::shared_ptr<PipeIOStream>& input() const noexcept {
    return input_;
  }
  /// For reading. Tornado: stdout.
  [[nodiscard]] const std::shared_ptr<PipeIOStream>& output() const noexcept {
    return output_;
  }
  /// For reading. Tornado: stderr.
  [[nodiscard]] const std::shared_ptr<PipeIOStream>& errors() const noexcept {
    return errors_;
  }

  /// The child's process id; another process may have it once it has ended.
  [[nodiscard]] int pid() const noexcept;

  /// Called once when the child has ended, also if it has already; output that
  /// it left in a pipe may be read before or after that. One callback at a
  /// time: a second one replaces the first, a null one takes it back.
  ///
  /// A child that is stopped has not ended. Tornado:
  /// set_exit_callback(callback),
  ///   whose callback gets the return code.
  void set_exit_callback(ExitCallback callback);

  /// True until the loop has noticed the end.
  [[nodiscard]] bool running() const noexcept;

  /// The exit status, or minus the number of the signal that ended the child;
  /// nothing while it runs, and where that is not known. It is there before the
  /// exit callback runs. Tornado: returncode.
  [[nodiscard]] std::optional<int> returncode() const noexcept;

  /// Sends the child a signal; does nothing if it has ended. Never reaches
  /// another process that has got its id.
  /// Errors: throws std::system_error where the system refuses, as for a number
  ///   that is no signal.
  void send_signal(int signum);

  /// SIGTERM, which a program may catch, and SIGKILL, which ends it.
  void terminate();
  void kill();

 private:
  std::shared_ptr<detail::SubprocessWatch> watch_;
  std::shared_ptr<PipeIOStream> input_;
  std::shared_ptr<PipeIOStream> output_;
  std::shared_ptr<PipeIOStream> errors_;
};

}  // namespace waterspout
