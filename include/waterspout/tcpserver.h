// TCPServer: accepts connections and makes streams of them.
//
//   class EchoServer : public waterspout::TCPServer {
//     using TCPServer::TCPServer;
//     void handle_stream(std::shared_ptr<IOStream> stream,
//                        const Address& /*address*/) override {
//       read_line(stream);
//     }
//     ...
//   };
//
// It starts in one of three forms, which are Tornado's:
//
//   EchoServer server;                   // one process
//   server.listen(8888);
//   IOLoop::current().start();
//
//   EchoServer server;                   // a process for every core
//   server.bind(8888);
//   if (!server.start(0)) return 0;      // the parent, when all have ended
//   IOLoop::current().start();
//
//   auto sockets = bind_sockets(8888);   // forking when you say so
//   if (!fork_processes(0)) return 0;
//   EchoServer server;
//   server.add_sockets(std::move(sockets));
//   IOLoop::current().start();
//
// Floor 5, service. A server belongs to its loop's thread.

#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "waterspout/address.h"
#include "waterspout/callback.h"
#include "waterspout/export.h"
#include "waterspout/ioloop.h"
#include "waterspout/iostream.h"
#include "waterspout/netutil.h"
#include "waterspout/process.h"
#include "waterspout/ssl.h"

namespace waterspout {

namespace detail {
struct TCPServerState;
}  // namespace detail

/// A server of TCP or Unix domain connections. Subclass it and override
/// handle_stream.
///
/// Life: constructed -> listening -> stopped; it may listen again.
///
/// Lifetime: destroying it, also inside handle_stream, stops it and drops the
/// callback of a drain; its streams live on. Once its loop is closed it has
/// stopped.
/// Tornado: TCPServer(io_loop, ssl_options, max_buffer_size, read_chunk_size).
class WATERSPOUT_API TCPServer {
 public:
  static constexpr std::size_t kUnlimited =
      std::numeric_limits<std::size_t>::max();

  struct Options {
    /// For every stream that is accepted.
    IOStream::Options stream = {};
    /// While as many connections are open, clients wait in the kernel. A stream
    /// counts until its descriptor is closed.
    std::size_t max_connections = kUnlimited;
    /// TCP_NODELAY (tcp(7)) on every connection.
    bool nodelay = true;
    /// With a server's context every connection is protected, and every stream
    /// is an SSLIOStream (ssl_iostream.h).
    std::optional<SSLContext> ssl = {};
    /// From a connection to the end of its handshake; zero is no limit.
    Duration handshake_timeout = std::chrono::seconds(60);
  };

  /// Serves on the loop that is current when it begins to listen, so that a
  /// server may be made before the process forks.
  TCPServer();
  explicit TCPServer(Options options);

  /// Serves on `loop`. Errors: throws std::invalid_argument for options outside
  /// their bounds or a client's context, here and above.
  explicit TCPServer(IOLoop& loop);
  TCPServer(IOLoop& loop, Options options);

  virtual ~TCPServer();

  TCPServer(const TCPServer&) = delete;
  TCPServer& operator=(const TCPServer&) = delete;

  /// Listens at once on what bind_sockets makes of the arguments. May be called
  /// several times. Errors: throws as bind_sockets and add_socket.
  /// Tornado: listen(port, address).
  void listen(std::uint16_t port, std::string_view address = {},
              BindOptions options = {});

  /// Binds now and listens for clients at once, as listen(); the server accepts
  /// them from start() on; after that, from now on.
  /// Errors: throws as listen().
  /// Tornado: bind(port, address, family, backlog, reuse_port).
  void bind(std::uint16_t port, std::string_view address = {},
            BindOptions options = {});

  /// Begins to accept from what bind() has bound.
  /// Errors: throws std::logic_error at the second call.
  void start();

  /// As start(), in `processes` child processes, made by fork_processes; 0 or
  /// less is one for every core, and 1 none: as start().
  ///
  /// Returns true where the server has started. In the parent it returns once
  /// all children have ended, false: there is nothing left to do but return
  /// from main.
  /// Errors: throws as start() and fork_processes: std::logic_error if a loop
  ///   has been made already.
  /// Tornado: start(num_processes), whose parent exits instead.
  [[nodiscard]] bool start(int processes, ForkOptions options = {});

  /// Accepts from listening sockets, which the server owns from now on, also if
  /// this throws.
  /// Errors: throws std::invalid_argument for no socket, std::logic_error on a
  ///   closed loop, std::system_error if the kernel cannot poll it.
  void add_socket(Socket socket);
  void add_sockets(std::vector<Socket> sockets);

  /// Closes the listening sockets, also those that wait for start(). Streams go
  /// on. A second call does nothing.
  void stop() noexcept;

  /// What became of the streams that were open when a drain began.
  struct Drained {
    std::size_t finished = 0;  ///< closed by themselves
    std::size_t closed = 0;    ///< closed by the server, at the deadline
  };

  /// Ends in order: stops, tells every open stream by handle_drain, waits until
  /// all have closed, and closes at the deadline, `timeout` from now, those
  /// that have not. Then calls `callback`, never inside this call.
  ///
  /// Errors: throws std::invalid_argument for an empty callback,
  ///   std::logic_error while it drains, or before it has a loop.
  void drain(Duration timeout, Callback<void(Drained)> callback);

  /// True from drain() until its callback runs.
  [[nodiscard]] bool draining() const noexcept;

  /// What it listens on, in the order of adding; with port 0 the one that the
  /// kernel has picked.
  [[nodiscard]] std::vector<Address> addresses() const;

  /// How many of its connections are open.
  [[nodiscard]] std::size_t connections() const noexcept;

  /// The loop. Errors: throws std::logic_error before it has one, and once that
  /// is closed.
  [[nodiscard]] IOLoop& loop() const;

 protected:
  /// A client has connected from `address`. The stream closes when this returns
  /// unless it has something to report or somebody holds it.
  ///
  /// With TLS it may run before the handshake is done, which reads and writes
  /// wait for; SSLIOStream::wait_for_handshake tells. A client whose handshake
  /// fails has been here too, and its stream closes.
  ///
  /// Runs in the stack context of the call that began to listen. What it throws
  /// is logged as an error of the application and closes the stream, and
  /// nothing else.
  /// Tornado: handle_stream(stream, address).
  virtual void handle_stream(std::shared_ptr<IOStream> stream,
                             const Address& address) = 0;

  /// The server has begun to drain while `stream` was open: close it if it is
  /// idle, or see that it closes soon. By default does nothing. What it throws
  /// is logged and closes the stream.
  virtual void handle_drain(IOStream& stream);

 private:
  friend struct detail::TCPServerState;

  std::shared_ptr<detail::TCPServerState> state_;
};

}  // namespace waterspout
