// PipeIOStream: a stream on a descriptor that is no socket, such as one end of
// a pipe, a FIFO or a terminal.
//
//   auto keyboard = waterspout::PipeIOStream::create(loop, dup(STDIN_FILENO));
//   keyboard->read_until("\n", [&](std::string_view line) { ... });
//
// Floor 4, stream. A stream belongs to its loop's thread.

#pragma once

#include <memory>

#include "waterspout/export.h"
#include "waterspout/ioloop.h"
#include "waterspout/iostream.h"

namespace waterspout {

/// Reads, writes and closes as any stream, as far as its descriptor allows:
///
/// - When all writers have closed a pipe, and when a terminal is hung up or the
///   last of a pseudo-terminal's other side has closed, the stream closes in
///   order, after what had arrived.
/// - When the last reader has closed a pipe, a stream on its other end closes:
///   in order if it only noticed, with EPIPE if it had something to write. It
///   notices while nothing is written if it has a close callback or a pending
///   read. No SIGPIPE is raised, and the signal's disposition is not touched.
/// - A write on an end for reading closes the stream with EBADF; a read on one
///   for writing waits for its end.
///
/// O_NONBLOCK belongs to the open file, not to the descriptor: whoever shares
/// it, by dup(2), by inheritance, or as standard input, output and error do on
/// a terminal, finds it non-blocking too while a stream is open on it. When the
/// last of this process's streams on it has closed, the former mode comes back;
/// only where a signal ends the process it does not.
///
/// Life: open -> closed. Tornado: PipeIOStream(fd), which never restores.
class WATERSPOUT_API PipeIOStream : public BaseIOStream {
 public:
  /// A stream on `fd`, which it owns from now on, also if this throws; it makes
  /// it non-blocking and, but for 0, 1 and 2, which programs expect to pass on,
  /// close-on-exec. Give it dup(2)'s copy to keep the descriptor.
  ///
  /// Errors: throws std::system_error if `fd` is none, and with EPERM if
  ///   nothing can wait for it: a regular file, a directory or a device such as
  ///   /dev/null; std::invalid_argument for options outside their bounds and
  ///   for half_close, since close() is how a pipe ends; std::logic_error on a
  ///   closed loop.
  static std::shared_ptr<PipeIOStream> create(IOLoop& loop, int fd,
                                              Options options = {});

 protected:
  explicit PipeIOStream(detail::StreamCore& core) noexcept
      : BaseIOStream(core) {}
};

}  // namespace waterspout
