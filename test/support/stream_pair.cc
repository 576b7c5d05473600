#include "support/stream_pair.h"

#include <cstdlib>
#include <utility>

#ifdef WATERSPOUT_HAVE_TLS
#include "support/tls_peer.h"
#include "support/tls_streams.h"
#endif

namespace waterspout::test {

namespace {

#ifdef WATERSPOUT_HAVE_TLS
StreamPair make_protected(IOLoop& loop, SocketPair sockets,
                          const IOStream::Options& client,
                          const IOStream::Options& server) {
  const TLSPair pair = make_tls_pair(loop, std::move(sockets), client, server);
  shake_hands(loop, pair);
  return {.client = pair.client, .server = pair.server};
}
#endif

StreamPair make_streams(IOLoop& loop, SocketPair sockets,
                        const IOStream::Options& client,
                        const IOStream::Options& server) {
#ifdef WATERSPOUT_HAVE_TLS
  if (over_tls()) {
    return make_protected(loop, std::move(sockets), client, server);
  }
#endif
  return {.client = IOStream::create(loop, sockets.client.release(), client),
          .server = IOStream::create(loop, sockets.server.release(), server)};
}

}  // namespace

bool over_tls() {
  static const bool wanted = std::getenv("WATERSPOUT_TEST_TLS") != nullptr;
  return wanted;
}

StreamPair make_stream_pair(IOLoop& loop, IOStream::Options client,
                            IOStream::Options server) {
  return make_streams(loop, connect_tcp_pair(), client, server);
}

StreamPair make_unix_pair(IOLoop& loop, IOStream::Options client,
                          IOStream::Options server) {
  return make_streams(loop, make_unix_sockets(), client, server);
}

RawPeer make_raw_pair(IOLoop& loop, IOStream::Options options, bool tcp) {
  SocketPair sockets = tcp ? connect_tcp_pair() : make_unix_sockets();
#ifdef WATERSPOUT_HAVE_TLS
  if (over_tls()) {
    auto stream =
        protect_pair(loop, std::move(sockets.client), sockets.server, options);
    return {.stream = std::move(stream), .peer = std::move(sockets.server)};
  }
#endif
  return {.stream = IOStream::create(loop, sockets.client.release(), options),
          .peer = std::move(sockets.server)};
}

}  // namespace waterspout::test
