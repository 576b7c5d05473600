// The echo over TLS as one would write it by hand: epoll, and OpenSSL on the
// sockets.

#pragma once

#include <cstddef>
#include <optional>
#include <string>

#include "base/unique_fd.h"
#include "tls/openssl_ptr.h"

namespace micro {

/// A client and a server, connected over 127.0.0.1 and with their handshake
/// done, in one process.
class OpensslEcho {
 public:
  explicit OpensslEcho(std::size_t message_size);

  /// Sends a message there and back, so many times.
  void run(std::size_t messages);

 private:
  class Endpoint {
   public:
    /// Owns the connected socket.
    Endpoint(int fd, SSL_CTX* context, bool client);

    /// False if it needs bytes from the other end.
    bool shake_hands();

    void send(const std::string& message);

    /// Reads all that has arrived; true if a message of that size is complete.
    bool receive(std::size_t message_size);

    [[nodiscard]] int fd() const noexcept { return fd_.get(); }

   private:
    waterspout::UniqueFd fd_;
    waterspout::SslPtr ssl_;
    std::string received_;
    std::size_t count_ = 0;
  };

  void watch(Endpoint& endpoint);

  const std::string message_;
  waterspout::UniqueFd epoll_fd_;
  std::optional<Endpoint> client_;
  std::optional<Endpoint> server_;
};

}  // namespace micro
