// Protected streams for a test: contexts that trust each other, and pairs.

#pragma once

#include <memory>
#include <string>

#include "waterspout/ioloop.h"
#include "waterspout/ssl.h"
#include "waterspout/ssl_iostream.h"

#include "support/certificates.h"
#include "support/sockets.h"

namespace waterspout::test {

/// "localhost" and 127.0.0.1, of Authority::shared().
[[nodiscard]] const Identity& good_identity();

/// Trusts Authority::shared(), unless the options name somebody.
[[nodiscard]] SSLContext make_client_context(SSLOptions options = {});

/// Presents `identity`.
[[nodiscard]] SSLContext make_server_context(
    SSLOptions options = {}, const Identity& identity = good_identity());

struct TLSPair {
  std::shared_ptr<SSLIOStream> client;
  std::shared_ptr<SSLIOStream> server;
};

/// Two streams connected over TCP whose handshake has not begun.
[[nodiscard]] TLSPair make_tls_pair(IOLoop& loop, const SSLContext& client,
                                    const SSLContext& server,
                                    const SSLStreamOptions& tls = {
                                        .server_hostname = "localhost"});

[[nodiscard]] TLSPair make_tls_pair(IOLoop& loop);

/// On sockets that are connected, with contexts that all such pairs share.
[[nodiscard]] TLSPair make_tls_pair(IOLoop& loop, SocketPair sockets,
                                    const IOStream::Options& client = {},
                                    const IOStream::Options& server = {});

/// Runs the loop until both have shaken hands, or one has closed.
void shake_hands(IOLoop& loop, const TLSPair& pair);

}  // namespace waterspout::test
