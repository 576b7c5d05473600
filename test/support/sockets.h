// Plain sockets on the loopback interface, for what a test does without the
// library: the peer at the other end, a listener, a port that refuses.

#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "waterspout/address.h"
#include "waterspout/testing.h"

namespace waterspout::test {

/// What may stand between a peer's bytes and its socket: TLS.
class PeerProtection {
 public:
  PeerProtection() = default;
  PeerProtection(const PeerProtection&) = delete;
  PeerProtection& operator=(const PeerProtection&) = delete;
  virtual ~PeerProtection() = default;

  /// As it goes over the wire.
  [[nodiscard]] virtual std::string wrap(std::string_view data) = 0;

  /// What has come over the wire by now.
  [[nodiscard]] virtual std::string unwrap(std::string_view bytes) = 0;

  /// The end, as it goes over the wire.
  [[nodiscard]] virtual std::string wrap_end() = 0;
};

/// Owns a plain blocking socket. What blocks gives up after five seconds.
/// Every failure throws std::system_error.
class UniquePeerFd {
 public:
  UniquePeerFd() noexcept = default;
  explicit UniquePeerFd(int fd);
  UniquePeerFd(UniquePeerFd&& other) noexcept
      : protection_(std::move(other.protection_)),
        unread_(std::move(other.unread_)),
        fd_(other.release()) {}
  UniquePeerFd& operator=(UniquePeerFd&& other) noexcept {
    std::swap(fd_, other.fd_);
    std::swap(protection_, other.protection_);
    std::swap(unread_, other.unread_);
    return *this;
  }
  ~UniquePeerFd() { close(); }

  /// From now on what is sent and received passes through it.
  void protect(std::unique_ptr<PeerProtection> protection) noexcept {
    protection_ = std::move(protection);
  }

  [[nodiscard]] int get() const noexcept { return fd_; }
  [[nodiscard]] int release() noexcept { return std::exchange(fd_, -1); }

  /// Sends all of `data`.
  void send(std::string_view data) const;

  /// Sends what the kernel takes at once and returns how much that was.
  [[nodiscard]] std::size_t send_some(std::string_view data) const;

  /// Waits for bytes and returns them; "" at the end of the stream.
  [[nodiscard]] std::string recv(std::size_t max_bytes = 65536) const;

  /// Waits for bytes, once; nothing at the end of the stream. Of what is
  /// protected an incomplete piece is "".
  [[nodiscard]] std::optional<std::string> recv_some(
      std::size_t max_bytes) const;

  /// Returns what is there, without waiting; "" for nothing as for the end.
  [[nodiscard]] std::string recv_ready() const;

  /// `count` bytes, fewer only at the end of the stream.
  [[nodiscard]] std::string recv_exactly(std::size_t count) const;

  /// Everything until the end of the stream.
  [[nodiscard]] std::string recv_all() const;

  /// Sends the end of the stream and stays open for reading.
  void shutdown() const;

  /// Closes with a reset (SO_LINGER with no time).
  void reset();

  void close() noexcept;

 private:
  void send_raw(std::string_view data) const;
  [[nodiscard]] std::size_t send_some_protected(std::string_view data) const;
  [[nodiscard]] std::string recv_raw(std::size_t max_bytes) const;

  std::unique_ptr<PeerProtection> protection_;
  mutable std::string unread_;  // that was unwrapped
  int fd_ = -1;
};

/// Two ends of one connection.
struct SocketPair {
  UniquePeerFd client;
  UniquePeerFd server;
};

/// Over TCP on 127.0.0.1, with TCP_NODELAY at both ends.
[[nodiscard]] SocketPair connect_tcp_pair();

/// By socketpair(2).
[[nodiscard]] SocketPair make_unix_sockets();

/// A socket connected to `address`.
[[nodiscard]] UniquePeerFd connect_to(const Address& address);

/// A listening TCP socket on a free port of 127.0.0.1, which the caller owns.
[[nodiscard]] int listen_on_loopback(std::uint16_t& port);

/// The next connection of `listener`, which it waits for.
[[nodiscard]] UniquePeerFd accept_from(int listener);

using testing::RefusingPort;

}  // namespace waterspout::test
