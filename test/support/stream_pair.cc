#include "support/stream_pair.h"

#include <utility>

namespace waterspout::test {

namespace {

StreamPair make_streams(IOLoop& loop, SocketPair sockets,
                        const IOStream::Options& client,
                        const IOStream::Options& server) {
  return {.client = IOStream::create(loop, sockets.client.release(), client),
          .server = IOStream::create(loop, sockets.server.release(), server)};
}

}  // namespace

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
  return {.stream = IOStream::create(loop, sockets.client.release(), options),
          .peer = std::move(sockets.server)};
}

}  // namespace waterspout::test
