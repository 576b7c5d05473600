#include "waterspout/tcpserver.h"

#include <cstdint>
#include <stdexcept>
#include <string>
#include <utility>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "waterspout/error.h"

#include "loop/loop_core.h"
#include "stream/adopt.h"
#include "stream/stream_core.h"

namespace waterspout {

namespace detail {

/// What connections and callbacks know of the server, which may go before them.
/// Keeps itself while there are connections.
struct TCPServerState final
    : public LoopClient,
      public Acceptor,
      public std::enable_shared_from_this<TCPServerState> {
  struct Listener {
    Socket socket;
    AcceptHandler handler;  // removed before its socket is closed
  };

  struct Drain {
    Callback<void(TCPServer::Drained)> callback;
    std::size_t streams;  ///< open when it began
    TimeoutHandle deadline;
    TCPServer::Drained result;
    bool done = false;  ///< its callback is posted
  };

  TCPServerState(TCPServer& of, TCPServer::Options server_options)
      : server(&of), options(std::move(server_options)) {
    detail::check_stream_options(options.stream);
    if (options.max_connections == 0) {
      throw std::invalid_argument("TCPServer: max_connections: is 0");
    }
    if (options.ssl && options.ssl->role() != SSLContext::Role::server) {
      throw std::invalid_argument("TCPServer: ssl: is a client's context");
    }
  }

  void settle_on(IOLoop& its_loop);
  IOLoop& take_loop();
  void listen(Socket socket);
  void stop() noexcept;
  FirstInput first_input() noexcept;
  std::shared_ptr<IOStream> make_stream(Socket connection);
  void accepted(Socket connection, const Address& address);
  template <class Hook>
  void guard(IOStream& stream, const Address& address, Hook hook) const;
  void begin_drain(Duration timeout,
                   Callback<void(TCPServer::Drained)> callback);
  void ask_to_finish();
  void close_open_streams();
  void finish_drain() noexcept;
  [[nodiscard]] std::vector<std::shared_ptr<IOStream>> open_streams() const;

  // Acceptor.
  void connection_opened() noexcept override;
  void connection_closed() noexcept override;

  // LoopClient.
  void run_task() noexcept override;
  void send_gathered() noexcept override {}
  void loop_closed() noexcept override;

  TCPServer* server;  // null once destroyed
  const TCPServer::Options options;
  IOLoop* loop = nullptr;  // null before there is one, and once it is closed
  bool had_loop = false;
  bool started = false;
  std::vector<Listener> listeners;
  std::vector<Socket> pending;  // bound, and not yet accepted from
  std::size_t open = 0;
  std::uint64_t accepting_turn = 0;      // the last one
  int crowd = 0;                         // accepted in it
  int crowd_before = 0;                  // in the one before
  std::shared_ptr<TCPServerState> kept;  // while any is open
  std::unique_ptr<Drain> drain;
};

void TCPServerState::settle_on(IOLoop& its_loop) {
  if (its_loop.core().closed()) {
    throw std::logic_error("TCPServer: the loop is closed");
  }
  loop = &its_loop;
  had_loop = true;
  loop->core().add_client(*this);
}

IOLoop& TCPServerState::take_loop() {
  if (loop == nullptr) {
    if (had_loop) {
      throw std::logic_error("TCPServer: its loop is closed");
    }
    settle_on(IOLoop::current());
  }
  return *loop;
}

void TCPServerState::listen(Socket socket) {
  if (!socket) {
    throw std::invalid_argument("TCPServer: add_socket: is no socket");
  }
  IOLoop& its_loop = take_loop();
  if (options.nodelay) {
    // Accepted sockets inherit it; one of the Unix domain does not know it.
    const int on = 1;
    ::setsockopt(socket.fileno(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  }
  auto callback = [weak = weak_from_this()](Socket connection,
                                            const Address& address) {
    if (const auto self = weak.lock()) {
      self->accepted(std::move(connection), address);
    }
  };
  AcceptHandler handler =
      add_accept_handler(its_loop, socket.fileno(), std::move(callback));
  if (open >= options.max_connections) {
    handler.pause();
  }
  listeners.push_back({std::move(socket), std::move(handler)});
}

void TCPServerState::stop() noexcept {
  const std::vector<Listener> gone = std::move(listeners);
  const std::vector<Socket> never_started = std::move(pending);
  listeners.clear();
  pending.clear();
}

// Runs a hook of the subclass.
template <class Hook>
void TCPServerState::guard(IOStream& stream, const Address& address,
                           Hook hook) const {
  IOLoop& its_loop = *loop;  // the hook may destroy the server
  try {
    hook();
  } catch (...) {
    stream.close(StreamErrc::uncaught_exception);
    its_loop.logger().error(
        "Error in connection callback: " + address.to_string() + ": " +
        describe_exception(std::current_exception()));
  }
}

// Clients that are accepted together had to wait, and most have used the time
// to ask for something. The first of a crowd is told by the crowd before.
FirstInput TCPServerState::first_input() noexcept {
  const std::uint64_t turn = loop->core().turns();
  if (std::exchange(accepting_turn, turn) != turn) {
    crowd_before = std::exchange(crowd, 0);
  }
  return ++crowd > 1 || crowd_before > 1 ? FirstInput::likely_there
                                         : FirstInput::to_come;
}

std::shared_ptr<IOStream> TCPServerState::make_stream(Socket connection) {
  UniqueFd fd(connection.release());
  if (!options.ssl) {
    return adopt_accepted(*loop, std::move(fd), options.stream, this,
                          first_input());
  }
  SSLStreamOptions tls;
  tls.handshake_timeout = options.handshake_timeout;
  return adopt_accepted_tls(*loop, std::move(fd), {*options.ssl, tls},
                            options.stream, this);
}

void TCPServerState::accepted(Socket connection, const Address& address) {
  const std::shared_ptr<IOStream> stream = make_stream(std::move(connection));
  if (open >= options.max_connections) {
    for (Listener& listener : listeners) {
      listener.handler.pause();
    }
  }
  guard(*stream, address, [&] { server->handle_stream(stream, address); });
}

void TCPServerState::connection_opened() noexcept {
  if (open++ == 0) {
    kept = shared_from_this();
  }
}

// May run inside anything that closes a stream, so it calls no user code.
void TCPServerState::connection_closed() noexcept {
  --open;
  const std::shared_ptr<TCPServerState> dying =
      open == 0 ? std::move(kept) : nullptr;
  if (loop == nullptr || loop->core().closed()) {
    return;
  }
  if (open + 1 == options.max_connections) {
    for (Listener& listener : listeners) {
      listener.handler.resume();
    }
  }
  if (drain && open == 0) {
    finish_drain();
  }
}

// The loop knows its streams, and each the server that it is of.
std::vector<std::shared_ptr<IOStream>> TCPServerState::open_streams() const {
  std::vector<std::shared_ptr<IOStream>> streams;
  loop->core().for_each_client([&](LoopClient& client) {
    auto* const stream = dynamic_cast<StreamCore*>(&client);
    if (stream != nullptr && !stream->closed() &&
        stream->transport()->acceptor() == this) {
      streams.push_back(std::static_pointer_cast<IOStream>(stream->shared()));
    }
  });
  return streams;
}

void TCPServerState::begin_drain(Duration timeout,
                                 Callback<void(TCPServer::Drained)> callback) {
  if (!callback) {
    throw std::invalid_argument("drain: callback: is empty");
  }
  if (drain) {
    throw std::logic_error("drain: the server drains already");
  }
  if (loop == nullptr) {
    throw std::logic_error("drain: the server has no loop");
  }
  stop();
  callback.set_operation("drain");
  drain = std::make_unique<Drain>(
      Drain{std::move(callback), open, TimeoutHandle(), {}, false});
  if (open == 0) {
    finish_drain();
    return;
  }
  const NullContext outside;
  drain->deadline = loop->call_later(timeout, [weak = weak_from_this()] {
    if (const auto self = weak.lock()) {
      self->close_open_streams();
    }
  });
  ask_to_finish();
}

void TCPServerState::ask_to_finish() {
  const auto self = shared_from_this();  // a hook may destroy the server
  for (const std::shared_ptr<IOStream>& stream : open_streams()) {
    if (server == nullptr || stream->closed()) {
      continue;
    }
    guard(*stream, stream->peer_address(),
          [&] { server->handle_drain(*stream); });
  }
}

// What a closed stream has left to the loop to send goes on by itself.
void TCPServerState::close_open_streams() {
  const std::vector<std::shared_ptr<IOStream>> streams = open_streams();
  drain->result.closed = streams.size();
  for (const std::shared_ptr<IOStream>& stream : streams) {
    stream->close();
  }
  finish_drain();
}

void TCPServerState::finish_drain() noexcept {
  if (std::exchange(drain->done, true)) {
    return;
  }
  loop->remove_timeout(drain->deadline);
  loop->core().post_task(*this);
}

void TCPServerState::run_task() noexcept {
  const auto self = shared_from_this();  // the callback may destroy the server
  const std::unique_ptr<Drain> ended = std::move(drain);
  if (!ended) {
    return;
  }
  ended->result.finished = ended->streams - ended->result.closed;
  loop->core().run<TCPServer::Drained>(ended->callback, "drain", ended->result);
}

void TCPServerState::loop_closed() noexcept {
  loop = nullptr;
  stop();
  const std::unique_ptr<Drain> dropped = std::move(drain);
}

}  // namespace detail

TCPServer::TCPServer() : TCPServer(Options()) {}

TCPServer::TCPServer(Options options)
    : state_(std::make_shared<detail::TCPServerState>(*this,
                                                      std::move(options))) {}

TCPServer::TCPServer(IOLoop& loop) : TCPServer(loop, Options()) {}

TCPServer::TCPServer(IOLoop& loop, Options options)
    : TCPServer(std::move(options)) {
  state_->settle_on(loop);
}

TCPServer::~TCPServer() {
  state_->server = nullptr;
  state_->stop();
  if (state_->drain) {
    state_->loop->remove_timeout(state_->drain->deadline);
    const std::unique_ptr<detail::TCPServerState::Drain> dropped =
        std::move(state_->drain);
  }
}

void TCPServer::listen(std::uint16_t port, std::string_view address,
                       BindOptions options) {
  add_sockets(bind_sockets(port, address, options));
}

void TCPServer::bind(std::uint16_t port, std::string_view address,
                     BindOptions options) {
  std::vector<Socket> sockets = bind_sockets(port, address, options);
  if (state_->started) {
    add_sockets(std::move(sockets));
    return;
  }
  for (Socket& socket : sockets) {
    state_->pending.push_back(std::move(socket));
  }
}

void TCPServer::start() {
  if (std::exchange(state_->started, true)) {
    throw std::logic_error("TCPServer: start: has started already");
  }
  add_sockets(std::exchange(state_->pending, {}));
}

bool TCPServer::start(int processes, ForkOptions options) {
  if (state_->started) {
    throw std::logic_error("TCPServer: start: has started already");
  }
  if (processes != 1 && !fork_processes(processes, std::move(options))) {
    stop();
    return false;
  }
  start();
  return true;
}

void TCPServer::add_socket(Socket socket) { state_->listen(std::move(socket)); }

void TCPServer::add_sockets(std::vector<Socket> sockets) {
  for (Socket& socket : sockets) {
    state_->listen(std::move(socket));
  }
}

void TCPServer::stop() noexcept { state_->stop(); }

void TCPServer::drain(Duration timeout, Callback<void(Drained)> callback) {
  state_->begin_drain(timeout, std::move(callback));
}

bool TCPServer::draining() const noexcept { return state_->drain != nullptr; }

std::vector<Address> TCPServer::addresses() const {
  std::vector<Address> addresses;
  for (const detail::TCPServerState::Listener& listener : state_->listeners) {
    addresses.push_back(listener.socket.local_address());
  }
  for (const Socket& socket : state_->pending) {
    addresses.push_back(socket.local_address());
  }
  return addresses;
}

std::size_t TCPServer::connections() const noexcept { return state_->open; }

IOLoop& TCPServer::loop() const {
  if (state_->loop == nullptr) {
    throw std::logic_error("TCPServer: has no loop");
  }
  return *state_->loop;
}

void TCPServer::handle_drain(IOStream& /*stream*/) {}

}  // namespace waterspout
