// Socket addresses as values: IPv4, IPv6 and Unix domain (also abstract).
//
// Floor 0, base. No name is ever resolved here, so nothing blocks.

#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "waterspout/export.h"

struct sockaddr;

namespace waterspout {

/// The address of one end of a socket. A value: copy it, compare it, use it on
/// any thread.
class WATERSPOUT_API Address {
 public:
  /// No address: family() is AF_UNSPEC, to_string() is "unnamed".
  Address() noexcept;

  /// An IP literal and a port. `ip` is "127.0.0.1", "::1", "[::1]" or
  /// "fe80::1%eth0"; the strict forms of inet_pton(3), so neither "127.1" nor
  /// a host name. Errors: throws std::invalid_argument that quotes `ip`.
  Address(std::string_view ip, std::uint16_t port);

  /// "127.0.0.1:80", "[::1]:80", "unix:/run/x.sock" or "unix:@name" (an
  /// abstract name): what to_string() writes of names in printable ASCII.
  /// Errors: throws std::invalid_argument that quotes `text`.
  static Address parse(std::string_view text);

  /// A Unix domain socket. A path that begins with NUL is an abstract name
  /// (unix(7)). Errors: throws std::invalid_argument if `path` is empty, too
  /// long (107 bytes; 108 abstract with its NUL) or holds a NUL after its
  /// first byte while not abstract.
  static Address unix_path(std::string_view path);

  /// Takes over what the kernel wrote. Errors: throws std::invalid_argument
  /// if `size` is more than an address can have.
  static Address from_sockaddr(const sockaddr* address, std::size_t size);

  /// The local and the remote address of the socket `fd`.
  /// Errors: throws std::system_error (getsockname(2), getpeername(2)).
  static Address local_of(int fd);
  static Address peer_of(int fd);

  /// AF_INET, AF_INET6, AF_UNIX or AF_UNSPEC, of <sys/socket.h>.
  [[nodiscard]] int family() const noexcept;

  /// True if it names an endpoint: a socketpair's ends and unbound Unix sockets
  /// have no names.
  [[nodiscard]] bool named() const noexcept;

  /// The port, 0 where the family has none.
  [[nodiscard]] std::uint16_t port() const noexcept;

  /// The IP literal without brackets or port; empty for other families.
  [[nodiscard]] std::string ip() const;

  [[nodiscard]] std::string to_string() const;

  /// For system calls; lives as long as this object.
  [[nodiscard]] const sockaddr* data() const noexcept;
  [[nodiscard]] std::size_t size() const noexcept { return size_; }

  friend WATERSPOUT_API bool operator==(const Address& a,
                                        const Address& b) noexcept;

 private:
  static constexpr std::size_t kCapacity = 112;  // sockaddr_un, aligned

  alignas(8) unsigned char bytes_[kCapacity];
  std::size_t size_;
};

}  // namespace waterspout
