// A listener that lets clients wait: for attempts to connect that neither
// succeed nor fail.

#pragma once

#include <cstdint>

#include <sys/socket.h>

#include "waterspout/address.h"

#include "support/sockets.h"

namespace waterspout::test {

/// Its queue has room for one connection, which is in it; the kernel drops the
/// requests of all others, and these try again after a second.
class FullListener {
 public:
  /// `ip` is 127.0.0.1 or ::1; port 0 is a free one.
  explicit FullListener(const char* ip = "127.0.0.1", std::uint16_t port = 0)
      : socket_(
            ::socket(Address(ip, 0).family(), SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    const Address wanted(ip, port);
    ::bind(socket_.get(), wanted.data(), static_cast<socklen_t>(wanted.size()));
    ::listen(socket_.get(), 0);
    occupant_ = connect_to(address());
  }

  [[nodiscard]] Address address() const {
    return Address::local_of(socket_.get());
  }

  /// Makes room, and waits until the next client has tried again.
  [[nodiscard]] UniquePeerFd let_in() const {
    static_cast<void>(accept_from(socket_.get()));
    return accept_from(socket_.get());
  }

 private:
  UniquePeerFd socket_;
  UniquePeerFd occupant_;
};

}  // namespace waterspout::test
