#include "support/tls_streams.h"

#include <chrono>

namespace waterspout::test {

const Identity& good_identity() {
  static const Identity identity = Authority::shared().issue();
  return identity;
}

SSLContext make_client_context(SSLOptions options) {
  if (options.ca.empty() && options.ca_file.empty() &&
      options.ca_directory.empty() && !options.system_ca) {
    options.ca = Authority::shared().certificate();
  }
  return SSLContext::client(options);
}

SSLContext make_server_context(SSLOptions options, const Identity& identity) {
  options.certificate = identity.certificate;
  options.key = identity.key;
  return SSLContext::server(options);
}

TLSPair make_tls_pair(IOLoop& loop, const SSLContext& client,
                      const SSLContext& server, const SSLStreamOptions& tls) {
  SocketPair sockets = connect_tcp_pair();
  SSLStreamOptions for_server = tls;
  for_server.server_hostname.clear();
  return {.client =
              SSLIOStream::create(loop, sockets.client.release(), client, tls),
          .server = SSLIOStream::create(loop, sockets.server.release(), server,
                                        for_server)};
}

TLSPair make_tls_pair(IOLoop& loop) {
  return make_tls_pair(loop, connect_tcp_pair());
}

TLSPair make_tls_pair(IOLoop& loop, SocketPair sockets,
                      const IOStream::Options& client,
                      const IOStream::Options& server) {
  static const SSLContext client_context = make_client_context();
  static const SSLContext server_context = make_server_context();
  return {.client = SSLIOStream::create(loop, sockets.client.release(),
                                        client_context,
                                        {.server_hostname = "localhost",
                                         .handshake_timeout = Duration::zero()},
                                        client),
          .server = SSLIOStream::create(
              loop, sockets.server.release(), server_context,
              {.handshake_timeout = Duration::zero()}, server)};
}

// The clock may be a virtual one, so the limit is on turns of the poller; a
// stream that closes lets go of its callback, which counts too.
void shake_hands(IOLoop& loop, const TLSPair& pair) {
  auto waiting =
      std::shared_ptr<void>(nullptr, [&loop](void*) { loop.stop(); });
  for (const auto& stream : {pair.client, pair.server}) {
    if (!stream->closed()) {
      stream->wait_for_handshake([waiting] {});
    }
  }
  waiting.reset();
  loop.start();
}

}  // namespace waterspout::test
