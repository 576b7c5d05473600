// SocketTransport: a plain stream socket, TCP or Unix domain.

#pragma once

#include "base/unique_fd.h"
#include "stream/transport.h"

namespace waterspout {

/// Writes raise no SIGPIPE. Thread rule and lifetime: its stream's.
class SocketTransport final : public Transport {
 public:
  /// Without a socket: connect() makes one for the address's family.
  SocketTransport() = default;

  /// Takes `fd`, which is non-blocking already.
  explicit SocketTransport(UniqueFd fd) noexcept { socket_ = fd.release(); }
  ~SocketTransport() override { const UniqueFd closing(socket_); }

  [[nodiscard]] int fd() const noexcept override { return socket_; }
  [[nodiscard]] UniqueFd take_fd() noexcept {
    return UniqueFd(std::exchange(socket_, -1));
  }
  using Transport::write;
  Transfer write(std::span<const iovec> pieces) noexcept override;

  /// Also switches TCP_NODELAY on: the stream gathers small writes itself.
  Transfer connect(const Address& address) noexcept override;
  std::error_code connect_result() noexcept override;

  /// A connection that is gone already tells so by its next read.
  Transfer end_output() noexcept override;

 private:
  Transfer read_otherwise(std::span<char> into) noexcept override;
};

/// Sets TCP_NODELAY; what setsockopt(2) says.
std::error_code set_tcp_nodelay(int fd, bool value) noexcept;

}  // namespace waterspout
