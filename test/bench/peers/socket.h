// The socket of a client, plain or with OpenSSL on it, for the servers that
// read and write by themselves.

#pragma once

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <utility>

#include <sys/socket.h>

#include "peers/common.h"
#include "peers/tls.h"

namespace peers {

class Socket {
 public:
  /// What comes after that which was received.
  enum class Next : std::uint8_t { more, wait, wait_for_output, end };

  struct Received {
    std::size_t size;
    Next next;
  };

  /// Takes a non-blocking socket. A null context is for plain sockets.
  Socket(UniqueFd fd, SSL_CTX* context);

  Received receive(std::span<char> into) {
    return session_ ? receive_tls(into) : receive_plain(into);
  }

  /// How much of `data` is on its way; nothing at all if the connection failed.
  /// What was not taken has to be the start of what is sent next.
  std::optional<std::size_t> send(std::string_view data) {
    return session_ ? send_tls(data) : send_plain(data);
  }

 private:
  struct EndSession {
    void operator()(SSL* session) const noexcept {
      end_tls_output(session);
      ::SSL_free(session);
    }
  };

  static bool must_wait() noexcept { return errno == EAGAIN || errno == EINTR; }

  Received receive_plain(std::span<char> into) {
    const ssize_t size = ::recv(fd_.get(), into.data(), into.size(), 0);
    if (size <= 0) {
      return {0, size < 0 && must_wait() ? Next::wait : Next::end};
    }
    const auto received = static_cast<std::size_t>(size);
    return {received, received == into.size() ? Next::more : Next::wait};
  }

  std::optional<std::size_t> send_plain(std::string_view data) {
    const ssize_t size =
        ::send(fd_.get(), data.data(), data.size(), MSG_NOSIGNAL);
    if (size >= 0) {
      return static_cast<std::size_t>(size);
    }
    return must_wait() ? std::optional<std::size_t>(0) : std::nullopt;
  }

  Received receive_tls(std::span<char> into);
  std::optional<std::size_t> send_tls(std::string_view data);
  Next next_after(int result);

  UniqueFd fd_;
  std::unique_ptr<SSL, EndSession> session_;
};

}  // namespace peers
