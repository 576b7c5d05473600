// A listening socket with clients, and who keeps what it accepts.

#pragma once

#include <cstddef>
#include <utility>
#include <vector>

#include "waterspout/address.h"
#include "waterspout/netutil.h"

#include "support/sockets.h"

namespace waterspout::test {

/// A socket that listens on 127.0.0.1, and clients of it.
class Listener {
 public:
  Listener()
      : socket_(std::move(
            bind_sockets(0, "127.0.0.1", {.backlog = 4096}).front())) {}

  [[nodiscard]] int fd() const { return socket_.fileno(); }
  [[nodiscard]] Address address() const { return socket_.local_address(); }

  void connect(int times = 1) {
    for (int i = 0; i < times; ++i) {
      clients_.push_back(connect_to(address()));
    }
  }

  [[nodiscard]] std::vector<UniquePeerFd>& clients() { return clients_; }

 private:
  Socket socket_;
  std::vector<UniquePeerFd> clients_;
};

/// Keeps what was accepted.
class Accepted {
 public:
  [[nodiscard]] auto keep() {
    return [this](Socket connection, const Address& /*peer*/) {
      sockets_.push_back(std::move(connection));
    };
  }
  [[nodiscard]] std::size_t count() const { return sockets_.size(); }
  [[nodiscard]] std::vector<Socket>& sockets() { return sockets_; }

 private:
  std::vector<Socket> sockets_;
};

}  // namespace waterspout::test
