#include <algorithm>
#include <cerrno>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>

#include <arpa/inet.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "waterspout/error.h"
#include "waterspout/netutil.h"

#include "base/throw_errno.h"
#include "net/listener.h"

namespace waterspout {
namespace {

constexpr const char* kBindSockets = "bind_sockets";

// How often an automatic port that another family cannot have is given up for
// another one.
constexpr int kPortAttempts = 10;

struct FreeAddresses {
  void operator()(addrinfo* list) const noexcept { ::freeaddrinfo(list); }
};

/// What one call of bind_sockets works on.
struct Request {
  std::string host;
  std::uint16_t port;
  BindOptions options;

  [[nodiscard]] std::string describe() const {
    return (host.empty() ? "*" : host) + ":" + std::to_string(port);
  }
};

[[noreturn]] void throw_unresolved(const Request& request, int code) {
  const std::string what =
      std::string(kBindSockets) + ": " + request.describe();
  if (code == EAI_SYSTEM) {
    throw std::system_error(errno, std::generic_category(), what);
  }
  throw std::system_error(code, resolver_category(), what);
}

// IPv4 first, so that two processes which bind both families on one automatic
// port ask in the same order; each address once.
std::vector<Address> resolve(const Request& request) {
  addrinfo hints{};
  hints.ai_family = request.options.family;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags =
      request.options.flags < 0 ? AI_PASSIVE : request.options.flags;
  addrinfo* list = nullptr;
  const std::string service = std::to_string(request.port);
  const int code =
      ::getaddrinfo(request.host.empty() ? nullptr : request.host.c_str(),
                    service.c_str(), &hints, &list);
  const std::unique_ptr<addrinfo, FreeAddresses> owned(list);
  if (code != 0) {
    throw_unresolved(request, code);
  }
  std::vector<Address> addresses;
  for (const addrinfo* entry = list; entry != nullptr; entry = entry->ai_next) {
    const Address address =
        Address::from_sockaddr(entry->ai_addr, entry->ai_addrlen);
    if (std::find(addresses.begin(), addresses.end(), address) ==
        addresses.end()) {
      addresses.push_back(address);
    }
  }
  std::stable_partition(
      addresses.begin(), addresses.end(),
      [](const Address& address) { return address.family() == AF_INET; });
  return addresses;
}

Address with_port(const Address& address, std::uint16_t port) {
  sockaddr_storage changed{};
  const auto* const bytes =
      reinterpret_cast<const unsigned char*>(address.data());
  std::copy_n(bytes, address.size(),
              reinterpret_cast<unsigned char*>(&changed));
  if (address.family() == AF_INET) {
    reinterpret_cast<sockaddr_in&>(changed).sin_port = htons(port);
  } else {
    reinterpret_cast<sockaddr_in6&>(changed).sin6_port = htons(port);
  }
  return Address::from_sockaddr(reinterpret_cast<const sockaddr*>(&changed),
                                address.size());
}

Socket bind_one(const Address& address, const BindOptions& options) {
  const std::string object = address.to_string();
  Socket socket = make_socket(address.family());
  if (!socket) {
    throw_errno(errno, kBindSockets, object);
  }
  set_option(socket, SOL_SOCKET, SO_REUSEADDR, kBindSockets, object);
  if (options.reuse_port) {
    set_option(socket, SOL_SOCKET, SO_REUSEPORT, kBindSockets, object);
  }
  if (address.family() == AF_INET6) {
    // Both families may then listen on the same port.
    set_option(socket, IPPROTO_IPV6, IPV6_V6ONLY, kBindSockets, object);
  }
  bind_socket(socket, address, kBindSockets, object);
  listen_on(socket, options.backlog, kBindSockets, object);
  return socket;
}

// A kernel without IPv6 (EAFNOSUPPORT), or one that has it switched off, or has
// no ::1 as in many containers (EADDRNOTAVAIL), is served by the other family.
bool is_missing_family(const std::system_error& error, const Address& address,
                       const std::string& host) {
  if (error.code() == std::errc::address_family_not_supported) {
    return true;
  }
  return error.code() == std::errc::address_not_available &&
         address.family() == AF_INET6 && (host.empty() || host == "localhost");
}

std::vector<Socket> bind_all(const std::vector<Address>& addresses,
                             const Request& request) {
  std::vector<Socket> sockets;
  std::uint16_t port = request.port;
  std::exception_ptr missing;
  for (const Address& address : addresses) {
    try {
      sockets.push_back(bind_one(with_port(address, port), request.options));
      port = sockets.front().local_address().port();
    } catch (const std::system_error& error) {
      if (!is_missing_family(error, address, request.host)) {
        throw;
      }
      missing = std::current_exception();
    }
  }
  if (sockets.empty() && missing) {
    std::rethrow_exception(missing);
  }
  return sockets;
}

}  // namespace

std::vector<Socket> bind_sockets(std::uint16_t port, std::string_view address,
                                 BindOptions options) {
  check_backlog(options.backlog, kBindSockets);
  if (address.find('\0') != std::string_view::npos) {
    throw std::invalid_argument("bind_sockets: \"" + escape_bytes(address) +
                                "\": holds a NUL");
  }
  const Request request{std::string(address), port, options};
  const std::vector<Address> addresses = resolve(request);
  for (int attempt = 1;; ++attempt) {
    try {
      return bind_all(addresses, request);
    } catch (const std::system_error& error) {
      const bool unlucky = port == 0 && attempt < kPortAttempts &&
                           error.code() == std::errc::address_in_use;
      if (!unlucky) {
        throw;
      }
    }
  }
}

bool is_valid_ip(std::string_view text) noexcept {
  constexpr std::size_t kLongest = INET6_ADDRSTRLEN + IF_NAMESIZE;
  if (text.empty() || text.size() >= kLongest ||
      text.find('\0') != std::string_view::npos || text.front() == '[') {
    return false;
  }
  try {
    return Address(text, 0).family() != AF_UNSPEC;
  } catch (...) {
    return false;
  }
}

}  // namespace waterspout
