// Connected streams for a test: two of them, or one and a plain socket.

#pragma once

#include <memory>

#include "waterspout/ioloop.h"
#include "waterspout/iostream.h"

#include "support/sockets.h"

namespace waterspout::test {

/// Whether the pairs of streams are to be protected by TLS: with
/// WATERSPOUT_TEST_TLS in the environment the tests of plain streams run on
/// those. A test of what is different there is skipped by it.
[[nodiscard]] bool over_tls();

struct StreamPair {
  std::shared_ptr<IOStream> client;
  std::shared_ptr<IOStream> server;
};

/// Two streams connected over TCP on the loopback interface. No turn of the
/// loop is needed, but for TLS, whose handshake is done then.
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

// For make_raw_pair: over TCP, else by socketpair(2).
inline constexpr bool kTcp = true;
inline constexpr bool kUnix = false;

[[nodiscard]] RawPeer make_raw_pair(IOLoop& loop,
                                    IOStream::Options options = {},
                                    bool tcp = kTcp);

}  // namespace waterspout::test
