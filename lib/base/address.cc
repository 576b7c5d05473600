#include "waterspout/address.h"

#include <array>
#include <charconv>
#include <cstring>
#include <stdexcept>

#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "waterspout/error.h"

#include "base/throw_errno.h"

namespace waterspout {
namespace {

constexpr std::size_t kPathOffset = offsetof(sockaddr_un, sun_path);
constexpr std::string_view kUnixPrefix = "unix:";

[[noreturn]] void throw_invalid(std::string_view text,
                                std::string_view reason) {
  throw std::invalid_argument("Address: \"" + escape_bytes(text, 80) +
                              "\": " + std::string(reason));
}

std::uint16_t parse_port(std::string_view digits, std::string_view text) {
  std::uint16_t port = 0;
  const char* const end = digits.data() + digits.size();
  const auto [rest, error] = std::from_chars(digits.data(), end, port);
  if (error != std::errc() || rest != end) {
    throw_invalid(text, "the port is not a number from 0 to 65535");
  }
  return port;
}

// Zero where there is none; throws for a name that no interface has.
std::uint32_t parse_scope(std::string_view scope, std::string_view text) {
  if (scope.empty()) {
    throw_invalid(text, "the scope behind % is empty");
  }
  std::uint32_t id = 0;
  const char* const end = scope.data() + scope.size();
  const auto [rest, error] = std::from_chars(scope.data(), end, id);
  if (error == std::errc() && rest == end) {
    return id;
  }
  id = ::if_nametoindex(std::string(scope).c_str());
  if (id == 0) {
    throw_invalid(text, "no such interface");
  }
  return id;
}

bool parse_ipv6(std::string_view ip, sockaddr_in6& address) {
  const std::size_t percent = ip.find('%');
  const std::string literal(ip.substr(0, percent));
  if (::inet_pton(AF_INET6, literal.c_str(), &address.sin6_addr) != 1) {
    return false;
  }
  if (percent != std::string_view::npos) {
    address.sin6_scope_id = parse_scope(ip.substr(percent + 1), ip);
  }
  return true;
}

std::string_view without_brackets(std::string_view ip) {
  const bool bracketed = ip.size() > 2 && ip.front() == '[' && ip.back() == ']';
  return bracketed ? ip.substr(1, ip.size() - 2) : ip;
}

template <class Sockaddr>
Sockaddr load(const unsigned char* bytes) noexcept {
  Sockaddr address{};
  std::memcpy(&address, bytes, sizeof address);
  return address;
}

std::string unix_to_string(const unsigned char* bytes, std::size_t size) {
  if (size <= kPathOffset) {
    return "unnamed";
  }
  std::string_view path(reinterpret_cast<const char*>(bytes) + kPathOffset,
                        size - kPathOffset);
  if (path.front() == '\0') {
    return "unix:@" + escape_bytes(path.substr(1), path.size());
  }
  return "unix:" + escape_bytes(path.substr(0, path.find('\0')), path.size());
}

using GetName = int (*)(int, sockaddr*, socklen_t*);

Address name_of(int fd, GetName get_name, std::string_view operation) {
  sockaddr_storage storage{};
  socklen_t size = sizeof storage;
  if (get_name(fd, reinterpret_cast<sockaddr*>(&storage), &size) != 0) {
    throw_errno(errno, operation, "fd " + std::to_string(fd));
  }
  return Address::from_sockaddr(reinterpret_cast<sockaddr*>(&storage), size);
}

}  // namespace

Address::Address() noexcept : bytes_{}, size_(0) {}

Address::Address(std::string_view ip, std::uint16_t port) : Address() {
  if (ip.find('\0') != std::string_view::npos) {
    throw_invalid(ip, "not an IP literal");
  }
  sockaddr_in ipv4{};
  ipv4.sin_family = AF_INET;
  ipv4.sin_port = htons(port);
  if (::inet_pton(AF_INET, std::string(ip).c_str(), &ipv4.sin_addr) == 1) {
    std::memcpy(bytes_, &ipv4, sizeof ipv4);
    size_ = sizeof ipv4;
    return;
  }
  sockaddr_in6 ipv6{};
  ipv6.sin6_family = AF_INET6;
  ipv6.sin6_port = htons(port);
  if (!parse_ipv6(without_brackets(ip), ipv6)) {
    throw_invalid(ip, "not an IP literal");
  }
  std::memcpy(bytes_, &ipv6, sizeof ipv6);
  size_ = sizeof ipv6;
}

Address Address::parse(std::string_view text) {
  if (text.starts_with(kUnixPrefix)) {
    std::string path(text.substr(kUnixPrefix.size()));
    if (path.starts_with('@')) {
      path.front() = '\0';
    }
    return unix_path(path);
  }
  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) {
    throw_invalid(text, "no port");
  }
  const std::string_view ip = text.substr(0, colon);
  if (ip.find(':') != std::string_view::npos && !ip.starts_with('[')) {
    throw_invalid(text, "an IPv6 literal needs brackets before a port");
  }
  return Address(ip, parse_port(text.substr(colon + 1), text));
}

Address Address::unix_path(std::string_view path) {
  constexpr std::size_t kRoom = sizeof(sockaddr_un::sun_path);
  if (path.empty()) {
    throw_invalid(path, "the path is empty");
  }
  const bool abstract = path.front() == '\0';
  if (path.size() > (abstract ? kRoom : kRoom - 1)) {
    throw_invalid(path, "the path is too long for a Unix socket");
  }
  if (!abstract && path.find('\0') != std::string_view::npos) {
    throw_invalid(path, "the path holds a NUL");
  }
  Address address;
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  std::memcpy(name.sun_path, path.data(), path.size());
  std::memcpy(address.bytes_, &name, sizeof name);
  // A path counts its closing NUL; an abstract name is exactly its bytes.
  address.size_ = kPathOffset + path.size() + (abstract ? 0 : 1);
  return address;
}

Address Address::from_sockaddr(const sockaddr* address, std::size_t size) {
  if (size > kCapacity) {
    throw std::invalid_argument("Address: from_sockaddr: size " +
                                std::to_string(size) + " is too large");
  }
  Address result;
  if (size != 0) {
    std::memcpy(result.bytes_, address, size);
  }
  result.size_ = size;
  return result;
}

Address Address::local_of(int fd) {
  return name_of(fd, ::getsockname, "getsockname");
}

Address Address::peer_of(int fd) {
  return name_of(fd, ::getpeername, "getpeername");
}

int Address::family() const noexcept {
  if (size_ < sizeof(sa_family_t)) {
    return AF_UNSPEC;
  }
  return load<sa_family_t>(bytes_);
}

bool Address::named() const noexcept {
  return family() == AF_UNIX ? size_ > kPathOffset : family() != AF_UNSPEC;
}

std::uint16_t Address::port() const noexcept {
  if (family() == AF_INET) {
    return ntohs(load<sockaddr_in>(bytes_).sin_port);
  }
  if (family() == AF_INET6) {
    return ntohs(load<sockaddr_in6>(bytes_).sin6_port);
  }
  return 0;
}

std::string Address::ip() const {
  std::array<char, INET6_ADDRSTRLEN> text{};
  if (family() == AF_INET) {
    const auto address = load<sockaddr_in>(bytes_);
    return ::inet_ntop(AF_INET, &address.sin_addr, text.data(), text.size());
  }
  if (family() != AF_INET6) {
    return {};
  }
  const auto address = load<sockaddr_in6>(bytes_);
  ::inet_ntop(AF_INET6, &address.sin6_addr, text.data(), text.size());
  std::string result = text.data();
  if (address.sin6_scope_id != 0) {
    std::array<char, IF_NAMESIZE> name{};
    const char* scope = ::if_indextoname(address.sin6_scope_id, name.data());
    result += '%';
    result += scope != nullptr ? scope : std::to_string(address.sin6_scope_id);
  }
  return result;
}

std::string Address::to_string() const {
  switch (family()) {
    case AF_INET:
      return ip() + ":" + std::to_string(port());
    case AF_INET6:
      return "[" + ip() + "]:" + std::to_string(port());
    case AF_UNIX:
      return unix_to_string(bytes_, size_);
    default:
      return "unnamed";
  }
}

const sockaddr* Address::data() const noexcept {
  return reinterpret_cast<const sockaddr*>(bytes_);
}

bool operator==(const Address& a, const Address& b) noexcept {
  return a.size_ == b.size_ && std::memcmp(a.bytes_, b.bytes_, a.size_) == 0;
}

}  // namespace waterspout
