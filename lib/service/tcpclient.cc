#include "waterspout/tcpclient.h"

#include <new>
#include <stdexcept>
#include <utility>

#include <sys/socket.h>

#include "waterspout/error.h"
#include "waterspout/stack_context.h"

#include "net/connector.h"
#include "net/host.h"
#include "net/request.h"
#include "stream/adopt.h"
#include "stream/stream_core.h"
#include "tls/host_name.h"

namespace waterspout {
namespace {

using Step = ConnectError::Step;

const char* name_of(Step step) {
  switch (step) {
    case Step::resolve:
      return "resolve";
    case Step::handshake:
      return "handshake";
    case Step::connect:
    case Step::none:
      break;
  }
  return "connect";
}

// "127.0.0.1:80: Connection refused"; where the target is that very address,
// without it.
std::string at_address(const Address& address, const std::string& target,
                       const std::string& reason) {
  const std::string text = address.to_string();
  return text == target ? reason : text + ": " + reason;
}

// All of them, "127.0.0.1:80: Connection refused; [::1]:80: ...".
std::string describe_attempts(const std::vector<Connector::Failure>& failures,
                              const std::string& target) {
  std::string text;
  for (const Connector::Failure& failure : failures) {
    text += text.empty() ? "" : "; ";
    text += at_address(failure.address, target, failure.error.message());
  }
  return text;
}

// What a stream says of its handshake, without the step and the peer's name.
std::string reason_of(const SSLIOStream& stream) {
  const std::string message = stream.error_message();
  const std::size_t step_end = message.find(": ");
  const std::size_t peer_end = step_end != std::string::npos
                                   ? message.find(": ", step_end + 2)
                                   : std::string::npos;
  return peer_end != std::string::npos ? message.substr(peer_end + 2) : message;
}

ConnectSource source_of(const ConnectOptions& options) {
  ConnectSource source{Address(), options.source_port};
  if (!options.source_ip.empty()) {
    const auto address = literal_address(options.source_ip, 0);
    if (!address || address->family() == AF_UNSPEC) {
      throw std::invalid_argument("connect: source_ip: \"" +
                                  escape_bytes(options.source_ip, 80) +
                                  "\": is no IP literal of this machine");
    }
    source.ip = *address;
  }
  return source;
}

// Zones belong to this machine; nobody has a certificate for one.
void complete_tls_options(ConnectOptions& options, std::string_view host) {
  if (options.tls->role() != SSLContext::Role::client) {
    throw std::invalid_argument("connect: tls: is a server's context");
  }
  std::string& name = options.tls_options.server_hostname;
  if (name.empty()) {
    const std::optional<Address> literal = literal_address(host, 0);
    name = literal ? literal->ip() : std::string(host);
    name = name.substr(0, name.find('%'));
  }
  static_cast<void>(parse_host_name(name));
}

void check_options(const ConnectOptions& options) {
  check_family(options.family, "connect");
  detail::check_stream_options(options.stream);
  if (options.timeout < Duration::zero()) {
    throw std::invalid_argument("connect: timeout: is negative");
  }
}

/// One connection under way: asks, connects, shakes hands. Nothing of it but
/// the callback is the user's, and that runs from the loop.
class ConnectRequest final : public detail::Request, public Connector::Owner {
 public:
  ConnectRequest(detail::RequestSet& set, std::string_view host,
                 std::uint16_t port, ConnectOptions options,
                 TCPClient::ConnectCallback callback)
      : Request(set),
        host_(host),
        target_(host_with_port(host, port)),
        port_(port),
        options_(std::move(options)),
        source_(source_of(options_)),
        callback_(std::move(callback)) {}

  void start(Resolver& resolver);

 private:
  template <class Step>
  void guarded(Step step) noexcept;
  void resolved(std::error_code error, const std::vector<Address>& addresses);
  void shake_hands(UniqueFd fd);
  void handshake_done() noexcept;
  void handshake_failed();
  void fail(std::error_code code, const std::string& reason);

  // Connector::Owner.
  void connected(UniqueFd fd, const Address& peer) override;
  void not_connected() override;
  void out_of_memory() noexcept override;

  // Request.
  void late() noexcept override;
  void let_go() noexcept override;
  void call_back() noexcept override;
  void destroy_callback() noexcept override;

  const std::string host_;
  const std::string target_;  // with the port
  const std::uint16_t port_;
  const ConnectOptions options_;
  const ConnectSource source_;
  TCPClient::ConnectCallback callback_;

  // What is under way.
  Step step_ = Step::resolve;
  RequestHandle resolving_;
  std::unique_ptr<Connector> connector_;
  Address peer_;
  std::shared_ptr<SSLIOStream> shaking_;

  // The result.
  ConnectError error_;
  std::shared_ptr<IOStream> stream_;
};

// The callbacks below hold `this`: let_go() takes them all back, and runs
// before this goes.
void ConnectRequest::start(Resolver& resolver) {
  set_timeout(options_.timeout);
  resolving_ = resolver.resolve(
      host_, port_, {.family = options_.family},
      [this](std::error_code error, const std::vector<Address>& addresses) {
        guarded([&] { resolved(error, addresses); });
      });
}

// A step that the loop calls, and that ends the request where it cannot be
// done.
template <class Step>
void ConnectRequest::guarded(Step step) noexcept {
  try {
    step();
  } catch (const std::bad_alloc&) {
    out_of_memory();
  }
}

// Without words, which need memory too.
void ConnectRequest::out_of_memory() noexcept {
  error_.step = step_;
  error_.code = std::make_error_code(std::errc::not_enough_memory);
  decide();
}

void ConnectRequest::resolved(std::error_code error,
                              const std::vector<Address>& addresses) {
  if (error) {
    fail(error, error.message());
    return;
  }
  step_ = Step::connect;
  connector_ = std::make_unique<Connector>(core(), addresses, source_, *this);
  connector_->start();
}

void ConnectRequest::connected(UniqueFd fd, const Address& peer) {
  peer_ = peer;
  if (options_.tls) {
    shake_hands(std::move(fd));
    return;
  }
  stream_ = adopt_accepted(core().loop(), std::move(fd), options_.stream,
                           nullptr, FirstInput::to_come);
  decide();
}

void ConnectRequest::not_connected() {
  const std::vector<Connector::Failure>& failures = connector_->failures();
  fail(failures.back().error, describe_attempts(failures, target_));
}

void ConnectRequest::shake_hands(UniqueFd fd) {
  step_ = Step::handshake;
  try {
    shaking_ = adopt_connected_tls(core().loop(), std::move(fd),
                                   {*options_.tls, options_.tls_options},
                                   options_.stream);
  } catch (const std::exception& error) {
    // OpenSSL refuses for want of memory only: the options are checked.
    fail(std::make_error_code(std::errc::not_enough_memory), error.what());
    return;
  }
  shaking_->set_close_callback(
      [this] { guarded([this] { handshake_failed(); }); });
  shaking_->wait_for_handshake([this] { handshake_done(); });
}

void ConnectRequest::handshake_done() noexcept {
  shaking_->set_close_callback(nullptr);
  stream_ = std::move(shaking_);
  decide();
}

void ConnectRequest::handshake_failed() {
  const std::error_code code = shaking_->error();
  fail(code ? code : make_error_code(SSLErrc::closed_in_handshake),
       at_address(peer_, target_, reason_of(*shaking_)));
}

void ConnectRequest::late() noexcept {
  guarded([this] {
    const auto code = std::make_error_code(std::errc::timed_out);
    if (step_ == Step::connect) {
      connector_->give_up(code);
      fail(code, describe_attempts(connector_->failures(), target_));
    } else {
      fail(code, code.message());
    }
  });
}

void ConnectRequest::fail(std::error_code code, const std::string& reason) {
  error_.step = step_;
  error_.code = code;
  error_.message = std::string(name_of(step_)) + ": " +
                   (step_ == Step::resolve ? host_ : target_) + ": " + reason;
  if (connector_) {
    for (const Connector::Failure& failure : connector_->failures()) {
      error_.attempts.push_back({failure.address, failure.error});
    }
  }
  decide();
}

void ConnectRequest::let_go() noexcept {
  resolving_.cancel();
  connector_.reset();
  if (const auto stream = std::exchange(shaking_, nullptr)) {
    stream->set_close_callback(nullptr);
    stream->close();
  }
}

void ConnectRequest::call_back() noexcept {
  run(std::move(callback_), "connect", error_, std::move(stream_));
}

// What the user may have put into the callback goes last, since destroying it
// may do anything.
void ConnectRequest::destroy_callback() noexcept {
  stream_.reset();
  const TCPClient::ConnectCallback dying = std::move(callback_);
}

}  // namespace

TCPClient::TCPClient(IOLoop& loop)
    : requests_(std::make_shared<detail::RequestSet>(loop, "TCPClient")),
      own_resolver_(std::make_unique<ThreadedResolver>(loop)),
      resolver_(*own_resolver_) {}

TCPClient::TCPClient(IOLoop& loop, Resolver& resolver)
    : requests_(std::make_shared<detail::RequestSet>(loop, "TCPClient")),
      resolver_(resolver) {
  if (&resolver.loop() != &loop) {
    throw std::invalid_argument("TCPClient: resolver: is on another loop");
  }
}

TCPClient::~TCPClient() { requests_->close(); }

RequestHandle TCPClient::connect(std::string_view host, std::uint16_t port,
                                 ConnectCallback callback) {
  return connect(host, port, ConnectOptions(), std::move(callback));
}

RequestHandle TCPClient::connect(std::string_view host, std::uint16_t port,
                                 ConnectOptions options,
                                 ConnectCallback callback) {
  check_host(host, "connect");
  check_options(options);
  if (options.tls) {
    complete_tls_options(options, host);
  }
  if (!callback) {
    throw std::invalid_argument("connect: callback: is empty");
  }
  static_cast<void>(loop());
  callback.set_operation("connect");
  const auto request = std::make_shared<ConnectRequest>(
      *requests_, host, port, std::move(options), std::move(callback));
  requests_->add(request);
  const NullContext outside;  // the callback brings its own
  try {
    request->start(resolver_);
  } catch (...) {
    request->drop();
    throw;
  }
  return RequestHandle(request);
}

std::size_t TCPClient::pending() const noexcept { return requests_->size(); }

IOLoop& TCPClient::loop() const { return requests_->loop(); }

}  // namespace waterspout
