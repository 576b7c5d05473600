// The plain socket of a RawPeer, protected: OpenSSL in memory, without the
// library.

#pragma once

#include <memory>

#include "waterspout/ioloop.h"
#include "waterspout/iostream.h"

#include "support/sockets.h"

namespace waterspout::test {

/// A protected stream on `client` that has shaken hands with `server`, which is
/// protected too from now on. Runs the loop.
[[nodiscard]] std::shared_ptr<IOStream> protect_pair(
    IOLoop& loop, UniquePeerFd client, UniquePeerFd& server,
    const IOStream::Options& options);

}  // namespace waterspout::test
