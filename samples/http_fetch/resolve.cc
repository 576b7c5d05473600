#include "http_fetch/resolve.h"

#include <cerrno>
#include <memory>
#include <stdexcept>
#include <system_error>

#include <netdb.h>
#include <sys/socket.h>

namespace http_fetch {

namespace {

struct FreeAddresses {
  void operator()(addrinfo* list) const noexcept { ::freeaddrinfo(list); }
};

std::string reason_of(int code) {
  return code == EAI_SYSTEM ? std::generic_category().message(errno)
                            : ::gai_strerror(code);
}

}  // namespace

std::deque<waterspout::Address> resolve(const std::string& host,
                                        std::uint16_t port) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* list = nullptr;
  const int code =
      ::getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &list);
  if (code != 0) {
    throw std::runtime_error("resolve: " + host + ": " + reason_of(code));
  }
  const std::unique_ptr<addrinfo, FreeAddresses> owner(list);
  std::deque<waterspout::Address> addresses;
  for (const addrinfo* at = list; at != nullptr; at = at->ai_next) {
    addresses.push_back(
        waterspout::Address::from_sockaddr(at->ai_addr, at->ai_addrlen));
  }
  return addresses;
}

}  // namespace http_fetch
