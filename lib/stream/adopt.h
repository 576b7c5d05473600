// Makes streams of descriptors that exist already.

#pragma once

#include <cstdint>
#include <memory>

#include "waterspout/iostream.h"
#include "waterspout/ssl_iostream.h"

#include "base/unique_fd.h"
#include "stream/socket_transport.h"

namespace waterspout {

enum class FirstInput : std::uint8_t { to_come, likely_there };

/// A stream on `fd`, which is connected, non-blocking and closed on exec
/// already: spares the system calls with which IOStream::create finds that out.
/// `acceptor` counts it, unless it is null.
/// Errors: throws as IOStream::create.
[[nodiscard]] std::shared_ptr<IOStream> adopt_accepted(
    IOLoop& loop, UniqueFd fd, const IOStream::Options& options,
    Acceptor* acceptor, FirstInput input);

/// What TLS needs to know for one connection. Refers to both.
struct Protection {
  const SSLContext& context;
  const SSLStreamOptions& tls;
};

/// The same, protected; the handshake begins in the loop's next turn.
/// Errors: throws as SSLIOStream::create.
[[nodiscard]] std::shared_ptr<SSLIOStream> adopt_accepted_tls(
    IOLoop& loop, UniqueFd fd, const Protection& protection,
    IOStream::Options options, Acceptor* acceptor);

/// The same for a client that tells by itself of a handshake that fails: the
/// stream logs nothing of it.
[[nodiscard]] std::shared_ptr<SSLIOStream> adopt_connected_tls(
    IOLoop& loop, UniqueFd fd, const Protection& protection,
    IOStream::Options options);

struct AdoptedSocket {
  std::unique_ptr<SocketTransport> transport;
  bool connected = false;
};

/// True if the socket has a peer, or had one that has reset it.
[[nodiscard]] bool is_connected(int fd) noexcept;

/// Owns `fd` from now on, also if it throws, and makes it non-blocking and
/// close-on-exec. Errors: throws std::system_error if it is no socket.
[[nodiscard]] AdoptedSocket adopt_socket(int fd);

}  // namespace waterspout
