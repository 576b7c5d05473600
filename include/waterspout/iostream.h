// Streams: buffered, non-blocking reading and writing, one callback for each
// operation.
//
//   auto stream = waterspout::IOStream::create(loop);
//   stream->connect(address, [stream] {
//     stream->write("HELO me\r\n", [stream] {
//       stream->read_until("\r\n", [stream](std::string_view line) { ... });
//     });
//   });
//
// Floor 4, stream. A stream belongs to its loop's thread.
//
// The rules that hold for every callback of a stream:
// - None runs inside the call that registered it, and none inside another
//   callback of the same stream.
// - It runs in the stack context of its registration, at most once (a
//   streaming callback: once for every piece), and is destroyed promptly after
//   it ran or can run no more.
// - After the stream was destroyed none runs.
// - An exception that leaves it, and that no context handles, closes the stream
//   with StreamErrc::uncaught_exception and goes to
//   IOLoop::handle_callback_exception.
//
// Lifetime: streams are held by std::shared_ptr. The loop holds one too as long
// as the stream has something to report: a pending connect, read or write, or a
// close callback on an open stream. So callbacks may capture the stream they
// are registered with: each is released once it has run, and all are when the
// stream closes. A stream with nothing to report and no owner left closes.

#pragma once

#include <cstddef>
#include <exception>
#include <limits>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include "waterspout/address.h"
#include "waterspout/callback.h"
#include "waterspout/error.h"
#include "waterspout/export.h"
#include "waterspout/ioloop.h"

struct bufferevent;

namespace waterspout {

class SSLContext;
class SSLIOStream;
struct SSLStreamOptions;

namespace detail {
class StreamCore;
}  // namespace detail

/// What every kind of stream has in common: the buffers and the operations.
///
/// Operations that are asked for most have an overload, a template, for what
/// most callbacks are, a small lambda: it is made where the stream keeps it.
/// They do what the others do.
///
/// Life: constructed -> (IOStream: connecting ->) open -> closed. When its loop
/// closes, the stream closes with StreamErrc::loop_closed and drops its
/// callbacks and data; every read and write then throws StreamClosedError.
///
/// Data comes to callbacks as a std::string_view that lives until the callback
/// returns, whatever the callback does: close the stream, start the next read,
/// throw, drop the last reference.
///
/// Tornado: BaseIOStream of 4.5, with the differences named at each function.
class WATERSPOUT_API BaseIOStream
    : public std::enable_shared_from_this<BaseIOStream> {
 public:
  using ReadCallback = Callback<void(std::string_view data)>;
  using StreamingCallback = Callback<void(std::string_view piece)>;
  using WriteCallback = Callback<void()>;
  using CloseCallback = Callback<void()>;

  static constexpr std::size_t kUnlimited =
      std::numeric_limits<std::size_t>::max();

  struct Options {
    /// Bound on unread bytes. Passing it closes the stream with
    /// StreamErrc::read_buffer_full.
    std::size_t max_buffer_size = std::size_t{100} * 1024 * 1024;
    /// Bound on bytes that were written and not yet taken by the kernel.
    std::size_t max_write_buffer_size = kUnlimited;
    /// Bytes asked of the kernel at once: 1 to 131,072; cut to half of
    /// max_buffer_size. A read_bytes that misses 16 KiB or more asks for up to
    /// 1 MiB of them.
    std::size_t read_chunk_size = 131072;
    /// The end of the peer's side does not close the stream: writing goes on.
    /// See set_read_end_callback and shutdown_write.
    bool half_close = false;
  };

  BaseIOStream(const BaseIOStream&) = delete;
  BaseIOStream& operator=(const BaseIOStream&) = delete;

  /// Closes, if it is open; the close callback does not run.
  virtual ~BaseIOStream();

  // Reading: one read at a time.
  //
  // Errors of every read: std::logic_error if a read is pending (nothing
  // changes), std::invalid_argument for an empty callback, StreamClosedError if
  // the stream is closed and what it has buffered cannot satisfy the read. If
  // the stream closes before the read is satisfied, its callback does not run;
  // the close callback does. Bytes that arrived before the end stay readable: a
  // read that they satisfy completes also after a close or a reset.

  struct ReadUntilOptions {
    /// Bound on the result in bytes, delimiter included. Passing it closes the
    /// stream with StreamErrc::unsatisfiable_read.
    std::size_t max_bytes = kUnlimited;
  };

  /// Reads until `delimiter` and gives everything up to and including it. What
  /// follows stays buffered. Every byte is searched once, however the bytes
  /// arrive.
  ///
  /// Lifetime: `delimiter` is copied.
  /// Errors: also std::invalid_argument if `delimiter` is empty.
  /// Tornado: read_until(delimiter, callback, max_bytes).
  void read_until(std::string_view delimiter, ReadCallback callback);
  void read_until(std::string_view delimiter, ReadUntilOptions options,
                  ReadCallback callback);
  template <class Function>
  requires(ReadCallback::kMadeInPlace<Function>) void read_until(
      std::string_view delimiter, Function&& callback,
      Origin origin = Origin::here()) {
    if (ReadCallback* const place = begin_read_until(delimiter)) [[likely]] {
      place->make_in_place(std::forward<Function>(callback), origin);
      return;
    }
    read_until(delimiter,
               ReadCallback(std::forward<Function>(callback), origin));
  }

  /// Reads until `pattern` (PCRE2 syntax, on bytes) matches somewhere in the
  /// unread data and gives everything up to the end of the match. An open-ended
  /// pattern matches as soon as it can, so it may match less than what is still
  /// to come. An empty buffer is never matched.
  ///
  /// The work of matching is bounded, by a constant plus a constant for each
  /// byte that has arrived: a peer that makes the pattern backtrack for longer
  /// gets the stream closed with StreamErrc::regex_limit. A pattern that may
  /// begin anywhere and run on, such as "[^z]*z", costs the square of what
  /// matches nothing and is good for some tens of kilobytes; read_until is
  /// linear.
  ///
  /// Errors: also std::invalid_argument, with PCRE2's reason, for a pattern
  ///   that does not compile, and std::logic_error if the library was built
  ///   without the feature `regex`.
  /// Tornado: read_until_regex(regex, callback, max_bytes).
  void read_until_regex(std::string_view pattern, ReadCallback callback);
  void read_until_regex(std::string_view pattern, ReadUntilOptions options,
                        ReadCallback callback);

  struct ReadBytesOptions {
    /// Complete with what there is, at least one byte, as soon as there is any.
    bool partial = false;
    /// Gets every piece as it arrives; the read's own callback then gets an
    /// empty view at the end. Pieces are never empty and never pass the count.
    StreamingCallback streaming_callback = {};
  };

  /// Reads `count` bytes; 0 completes with an empty view, also on a closed
  /// stream. More than max_buffer_size without a streaming callback or
  /// `partial` can never complete and closes with StreamErrc::read_buffer_full
  /// when that much has arrived.
  ///
  /// Errors: also std::invalid_argument for both options at once.
  /// Tornado: read_bytes(num_bytes, callback, streaming_callback, partial).
  void read_bytes(std::size_t count, ReadCallback callback);
  void read_bytes(std::size_t count, ReadBytesOptions options,
                  ReadCallback callback);
  template <class Function>
  requires(ReadCallback::kMadeInPlace<Function>) void read_bytes(
      std::size_t count, Function&& callback, Origin origin = Origin::here()) {
    if (ReadCallback* const place = begin_read_bytes(count)) [[likely]] {
      place->make_in_place(std::forward<Function>(callback), origin);
      return;
    }
    read_bytes(count, ReadCallback(std::forward<Function>(callback), origin));
  }

  struct ReadUntilCloseOptions {
    /// Gets every piece as it arrives; the read's own callback then gets an
    /// empty view at the end. There is no back-pressure but the time that the
    /// callback takes; a chain of partial read_bytes has it.
    StreamingCallback streaming_callback = {};
  };

  /// Reads everything until the stream closes, for whatever reason: look at
  /// error() to tell the end from a truncation. On a closed stream it gives
  /// what is left, which may be nothing, and never throws StreamClosedError.
  /// Tornado: read_until_close(callback, streaming_callback).
  void read_until_close(ReadCallback callback);
  void read_until_close(ReadUntilCloseOptions options, ReadCallback callback);

  /// Writes `data` behind all that was written before.
  ///
  /// Callback: when this data and all before it was taken by the kernel, or
  ///   stands in the output that is gathered while the loop handles one event,
  ///   which leaves in one system call at the end of it. (The second only while
  ///   the kernel has taken everything before and no more than 64 KiB are
  ///   gathered.) Every write's callback runs, in order; none if the stream
  ///   closes first. Without a callback, nothing is reported.
  /// Lifetime: `data` is sent or copied before write returns.
  /// Errors: throws StreamClosedError on a closed stream or after
  ///   close_after_writing(); StreamBufferFullError if the unsent bytes would
  ///   pass max_write_buffer_size: nothing was queued then. A failure of the
  ///   connection never throws here: the stream closes.
  /// Before a connection is made, writes are queued.
  /// Tornado: write(data, callback), whose second callback overwrote the first.
  void write(std::string_view data);
  void write(std::string_view data, WriteCallback callback);
  template <class Function>
  requires(WriteCallback::kMadeInPlace<Function>) void write(
      std::string_view data, Function&& callback,
      Origin origin = Origin::here()) {
    if (WriteCallback* const place = begin_write(data)) [[likely]] {
      place->make_in_place(std::forward<Function>(callback), origin);
      return;
    }
    write(data, WriteCallback(std::forward<Function>(callback), origin));
  }

  /// Called once when the stream has closed, for whatever reason, after all its
  /// other callbacks; error() tells why. A null callback takes it back. On a
  /// stream that has closed already it is called too, once. (Where the loop is
  /// gone nobody can call it: it is dropped.)
  ///
  /// With a close callback, a stream notices also while no read is pending that
  /// the peer has closed, unless unread data is buffered; without one it does
  /// not look. A peer that has shut down its sending side counts as closed,
  /// unless Options::half_close says otherwise.
  /// Tornado: set_close_callback(callback).
  void set_close_callback(CloseCallback callback);

  // Half-closed streams, with Options::half_close: each side ends by itself.
  // When both have ended, the stream closes in order. One whose peer has ended
  // its side waits for ours: only a write finds out that the peer has gone.

  /// Called once when the peer has ended its side, after the callbacks of the
  /// data that came before, which stays readable; not if the stream closes
  /// without that. A pending read that the data does not satisfy has been
  /// dropped then (a read_until_close completes), and later ones throw
  /// StreamClosedError. A null callback takes it back. As with a close
  /// callback, the stream notices the end also while no read is pending.
  /// Errors: throws std::logic_error without half_close.
  void set_read_end_callback(Callback<void()> callback);

  /// Options::half_close.
  [[nodiscard]] bool half_close() const noexcept;

  /// True once the peer has ended its side.
  [[nodiscard]] bool read_ended() const noexcept;

  /// Ends our side once everything written has been taken by the kernel; at
  /// once if it has. Takes no more writes; reading goes on. The peer sees the
  /// end of the stream (shutdown(2); with TLS, close_notify). Does nothing on a
  /// closed stream, and a second time.
  /// Errors: throws std::logic_error without half_close.
  void shutdown_write();

  /// Closes now. What was written and gathered in this event is offered to the
  /// kernel once more; what it does not take is dropped, as Tornado does, but
  /// for what was reported as written: that is still sent in the background,
  /// for up to ten seconds and as long as the loop runs. Unread data stays
  /// readable. A read_until_close completes; any other pending read that the
  /// data does not satisfy, connect and write are dropped. A second call does
  /// nothing.
  ///
  /// With an `error`, that is what error() says from then on.
  void close(std::error_code error = {});

  /// Closes as soon as everything written has been taken by the kernel; at
  /// once if it has. Takes no more writes meanwhile; reads go on.
  void close_after_writing();

  /// True from the moment of closing, which may be before callbacks with data
  /// that had arrived, and before the close callback.
  [[nodiscard]] bool closed() const noexcept;

  /// True while a read is pending: from the call until its callback begins, or
  /// it is dropped.
  [[nodiscard]] bool reading() const noexcept;

  /// True while written bytes wait for the kernel.
  [[nodiscard]] bool writing() const noexcept;

  /// How many bytes wait for the kernel: what back-pressure looks at.
  [[nodiscard]] std::size_t unsent_bytes() const noexcept;

  /// How many bytes have arrived and are not read.
  [[nodiscard]] std::size_t unread_bytes() const noexcept;

  /// Why the stream closed: an errno value, a StreamErrc; no error while it is
  /// open and after an orderly close, by either side.
  [[nodiscard]] std::error_code error() const noexcept;

  /// The whole of it, "connect: 127.0.0.1:9: Connection refused"; empty where
  /// error() is none.
  [[nodiscard]] std::string error_message() const;

  /// The exception that closed the stream, for StreamErrc::uncaught_exception;
  /// else null.
  [[nodiscard]] std::exception_ptr exception() const noexcept;

  /// Switches TCP_NODELAY (tcp(7)) on or off; does nothing on a stream that is
  /// closed or no TCP socket. connect() has switched it on.
  /// Errors: throws std::system_error, but not for a connection that is going.
  void set_nodelay(bool value);

  /// The descriptor, still the stream's; -1 once closed or not yet there.
  [[nodiscard]] int fileno() const noexcept;

  /// The loop; throws std::logic_error once that is gone.
  [[nodiscard]] IOLoop& loop() const;

 protected:
  explicit BaseIOStream(detail::StreamCore& core) noexcept : core_(core) {}

  [[nodiscard]] detail::StreamCore& core() const noexcept { return core_; }

 private:
  friend class detail::StreamCore;

  // The operation, where that is nothing out of the ordinary, but for its
  // callback, which the caller makes where this says. Null: nothing has been
  // done.
  ReadCallback* begin_read_until(std::string_view delimiter) noexcept;
  ReadCallback* begin_read_bytes(std::size_t count) noexcept;
  WriteCallback* begin_write(std::string_view data);

  detail::StreamCore& core_;
};

/// A stream on a TCP or Unix domain socket.
/// Tornado: IOStream(socket).
class WATERSPOUT_API IOStream : public BaseIOStream {
 public:
  using ConnectCallback = Callback<void()>;

  /// A stream without a socket; connect() makes one.
  /// Lifetime: `loop` may go first; the stream is closed then.
  /// Errors: throws std::invalid_argument for options outside their bounds,
  ///   std::logic_error on a closed loop.
  static std::shared_ptr<IOStream> create(IOLoop& loop, Options options = {});

  /// A stream on the socket `fd`, connected or not, which it owns from now on,
  /// also if this throws, and makes non-blocking and close-on-exec. Its other
  /// options stay as they are: see set_nodelay.
  /// Errors: throws std::system_error if `fd` is no socket;
  ///   std::invalid_argument for options outside their bounds, std::logic_error
  ///   on a closed loop.
  static std::shared_ptr<IOStream> create(IOLoop& loop, int fd,
                                          Options options = {});

  /// Takes the connection of a libevent bufferevent over, and frees that, whose
  /// callbacks run no more. What it had received is read first, in order; what
  /// it had not sent is sent first.
  ///
  /// Requires: the calling thread's bufferevent, on whatever base. It may be in
  ///   one of its callbacks, which must not touch it afterwards.
  /// Errors: throws std::invalid_argument for null, for a bufferevent that is
  /// no
  ///   plain one on a connected socket (TLS, filters, pairs), and for options
  ///   outside their bounds; std::logic_error on a closed loop. It is unharmed
  ///   then.
  static std::shared_ptr<IOStream> adopt(IOLoop& loop, bufferevent* connection,
                                         Options options = {});

  struct Released {
    int fd = -1;         ///< non-blocking; the caller's to close
    std::string unread;  ///< received, and read by nobody
  };

  /// Gives the socket away, as to a new bufferevent. The stream has closed
  /// then, without an error, and calls nobody any more. What it has gathered is
  /// sent first. Errors: throws std::logic_error unless the stream is
  /// connected, plain and
  ///   has nothing pending or unsent; StreamClosedError if it is closed.
  [[nodiscard]] Released release();

  /// Connects. `callback` runs when it is done; a failure, also an immediate
  /// one, closes the stream, is logged as a warning, and shows in the close
  /// callback. Reads and writes may be asked for before it is done.
  ///
  /// Errors: throws std::logic_error if the stream is or was connected or is
  ///   connecting, StreamClosedError if it is closed, std::invalid_argument for
  ///   an empty callback or an address of no family.
  /// Tornado: connect(address, callback). Host names are the caller's to
  /// resolve
  ///   (getaddrinfo(3), then Address::from_sockaddr).
  void connect(const Address& address, ConnectCallback callback);

  /// Goes on under TLS, as client or server as `context` says: gives the
  /// protected stream, whose handshake is under way (see
  /// SSLIOStream::wait_for_handshake; include ssl_iostream.h). This stream has
  /// closed then, without an error, and calls nobody any more; its options and
  /// its close callback are the other one's.
  ///
  /// Both sides have to agree on the moment. Bytes that have arrived and are
  /// not read were not protected, and whoever sent them along with the request
  /// to start may be in between: they are refused, never delivered.
  /// Errors: throws std::logic_error unless the stream is connected, nothing
  ///   is pending, unread or unsent, and it is not protected yet;
  ///   StreamClosedError if it is closed; otherwise as SSLIOStream::create. The
  ///   stream is unharmed then.
  /// Tornado: start_tls(server_side, ssl_options, server_hostname), which does
  ///   not check the host name if it is given options instead of a context.
  [[nodiscard]] std::shared_ptr<SSLIOStream> start_tls(
      const SSLContext& context, const SSLStreamOptions& tls);

  /// Both ends' addresses; Address() where there is none.
  [[nodiscard]] Address local_address() const;
  [[nodiscard]] Address peer_address() const;

 protected:
  explicit IOStream(detail::StreamCore& core) noexcept : BaseIOStream(core) {}
};

}  // namespace waterspout
