// Connected streams for a test: two of them, or one and a plain socket.

#pragma once

#include <memory>

#include "waterspout/ioloop.h"
#include "waterspout/iostream.h"

#include "support/sockets.h"

namespace waterspout::test {

struct StreamPair {
  std::shared_ptr<IOStream> client;
  std::shared_ptr<IOStream> server;
};

/// Two streams connected over TCP on the loopback interface. No turn of the
/// loop is needed.
[[nodiscard]] StreamPair make_stream_pair(IOLoop& loop,
                                          IOStream::Options client = {},
                                          IOStream::Options server = {});

/// Two streams connected by socketpair(2).
[[nodiscard]] StreamPair make_unix_pair(IOLoop& loop,
                                        IOStream::Options client = {},
                                        IOStream::Options server = {});

/// A stream, and a plain blocking socket at the other end.
struct RawPeer {
  std::shared_ptr<IOStream> stream;
  UniquePeerFd peer;
};

/// Over TCP, else by socketpair(2).
[[nodiscard]] RawPeer make_raw_pair(IOLoop& loop,
                                    IOStream::Options options = {},
                                    bool tcp = true);

}  // namespace waterspout::test
