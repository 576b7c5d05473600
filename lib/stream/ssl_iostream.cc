#include "waterspout/ssl_iostream.h"

#include <stdexcept>
#include <utility>

#include "stream/adopt.h"
#include "stream/owned_stream.h"
#include "stream/ssl_transport.h"

namespace waterspout {
namespace {

using detail::SSLTransport;
using detail::StreamCore;

using OwnedSSLStream = OwnedStream<SSLIOStream>;

std::unique_ptr<SSLTransport> make_transport(IOLoop& loop,
                                             const Protection& protection) {
  return std::make_unique<SSLTransport>(std::make_unique<TLSSession>(
      protection.context,
      TLSPeer{protection.tls.server_hostname, protection.tls.verify_hostname},
      loop.core().pools().chunks));
}

std::shared_ptr<OwnedSSLStream> make_stream(
    IOLoop& loop, std::unique_ptr<SSLTransport> transport,
    StreamCore::Start start, const Protection& protection,
    BaseIOStream::Options options) {
  auto stream = make_owned<OwnedSSLStream>(loop.core(), std::move(transport),
                                           start, options);
  stream->inside().expect_handshake(
      protection.tls.handshake_timeout,
      protection.context.role() == SSLContext::Role::client);
  return stream;
}

std::shared_ptr<OwnedSSLStream> make_connected(IOLoop& loop,
                                               std::unique_ptr<Transport> below,
                                               const Protection& protection,
                                               BaseIOStream::Options options) {
  auto transport = make_transport(loop, protection);
  transport->stand_on(std::move(below));
  return make_stream(loop, std::move(transport), StreamCore::Start::connected,
                     protection, options);
}

}  // namespace

std::shared_ptr<SSLIOStream> SSLIOStream::create(IOLoop& loop,
                                                 const SSLContext& context,
                                                 const SSLStreamOptions& tls,
                                                 Options options) {
  auto transport = make_transport(loop, {context, tls});
  transport->stand_on(std::make_unique<SocketTransport>());
  return make_stream(loop, std::move(transport), StreamCore::Start::unconnected,
                     {context, tls}, options);
}

std::shared_ptr<SSLIOStream> SSLIOStream::create(IOLoop& loop, int fd,
                                                 const SSLContext& context,
                                                 const SSLStreamOptions& tls,
                                                 Options options) {
  AdoptedSocket adopted = adopt_socket(fd);
  auto transport = make_transport(loop, {context, tls});
  transport->stand_on(std::move(adopted.transport));
  return make_stream(loop, std::move(transport),
                     adopted.connected ? StreamCore::Start::connected
                                       : StreamCore::Start::unconnected,
                     {context, tls}, options);
}

std::shared_ptr<SSLIOStream> adopt_accepted_tls(IOLoop& loop, UniqueFd fd,
                                                const Protection& protection,
                                                IOStream::Options options,
                                                Acceptor* acceptor) {
  auto below = std::make_unique<SocketTransport>(std::move(fd));
  below->count_for(acceptor);
  return make_connected(loop, std::move(below), protection, options);
}

std::shared_ptr<SSLIOStream> adopt_connected_tls(IOLoop& loop, UniqueFd fd,
                                                 const Protection& protection,
                                                 IOStream::Options options) {
  auto stream =
      make_connected(loop, std::make_unique<SocketTransport>(std::move(fd)),
                     protection, options);
  stream->inside().keep_handshake_quiet();
  return stream;
}

// Whatever can be refused is refused before the old stream changes.
std::shared_ptr<SSLIOStream> IOStream::start_tls(const SSLContext& context,
                                                 const SSLStreamOptions& tls) {
  StreamCore& old = core();
  if (dynamic_cast<SSLIOStream*>(this) != nullptr) {
    throw std::logic_error("start_tls: the stream is protected already");
  }
  old.check_can_let_go("start_tls");
  IOLoop& loop = this->loop();
  auto made = make_transport(loop, {context, tls});
  SSLTransport& transport = *made;
  auto stream = make_stream(loop, std::move(made), StreamCore::Start::connected,
                            {context, tls}, old.options());
  CloseCallback close_callback = old.take_close_callback();
  transport.stand_on(old.let_go());
  if (close_callback) {
    stream->inside().set_close_callback(std::move(close_callback));
  }
  return stream;
}

void SSLIOStream::wait_for_handshake(HandshakeCallback callback) {
  core().wait_for_handshake(std::move(callback));
}

// The session of an open stream, else null. This stream's transport is one that
// was made here.
const TLSSession* SSLIOStream::session() const noexcept {
  return core().open()
             ? &static_cast<SSLTransport*>(core().transport())->session()
             : nullptr;
}

std::optional<SSLCertificate> SSLIOStream::peer_certificate() const {
  return session() != nullptr ? session()->peer_certificate() : std::nullopt;
}

std::string SSLIOStream::alpn_protocol() const {
  return session() != nullptr ? session()->alpn_protocol() : std::string();
}

std::string SSLIOStream::version() const {
  return session() != nullptr ? session()->version() : std::string();
}

std::string SSLIOStream::cipher() const {
  return session() != nullptr ? session()->cipher() : std::string();
}

std::string SSLIOStream::server_name() const {
  return session() != nullptr ? session()->server_name() : std::string();
}

bool SSLIOStream::session_reused() const {
  return session() != nullptr && session()->session_reused();
}

}  // namespace waterspout
