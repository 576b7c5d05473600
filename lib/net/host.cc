#include "net/host.h"

#include <stdexcept>

#include <sys/socket.h>

#include "waterspout/error.h"
#include "waterspout/netutil.h"
#include "waterspout/resolver.h"

namespace waterspout {
namespace {

[[noreturn]] void throw_invalid(std::string_view host,
                                std::string_view operation,
                                std::string_view reason) {
  std::string what(operation);
  what.append(": \"").append(escape_bytes(host, 80)).append("\": ");
  throw std::invalid_argument(what.append(reason));
}

std::string_view without_brackets(std::string_view host) {
  const bool bracketed =
      host.size() > 2 && host.front() == '[' && host.back() == ']';
  return bracketed ? host.substr(1, host.size() - 2) : host;
}

// Only an IPv6 literal has these.
bool looks_like_ipv6(std::string_view host) {
  return host.find_first_of(":[]") != std::string_view::npos;
}

bool is_ipv6(std::string_view literal) {
  return literal.find(':') != std::string_view::npos && is_valid_ip(literal);
}

// What is in front of the zone, which only interfaces that exist would make a
// valid one; nothing where there is no zone.
std::string_view before_zone(std::string_view literal) {
  const std::size_t percent = literal.find('%');
  const bool has_zone =
      percent != std::string_view::npos && percent + 1 < literal.size();
  return has_zone ? literal.substr(0, percent) : std::string_view();
}

}  // namespace

void check_host(std::string_view host, std::string_view operation) {
  if (host.empty()) {
    throw_invalid(host, operation, "is empty");
  }
  if (host.find('\0') != std::string_view::npos) {
    throw_invalid(host, operation, "holds a NUL");
  }
  if (host.size() > Resolver::kLongestName + (host.back() == '.' ? 1 : 0)) {
    throw_invalid(host, operation, "is longer than a name can be");
  }
  const std::string_view literal = without_brackets(host);
  if (looks_like_ipv6(host) && !is_ipv6(literal) &&
      !is_ipv6(before_zone(literal))) {
    throw_invalid(host, operation, "is no IPv6 literal, and no name");
  }
}

std::optional<Address> literal_address(std::string_view host,
                                       std::uint16_t port) {
  const std::string_view literal = without_brackets(host);
  if (is_valid_ip(literal)) {
    return Address(literal, port);
  }
  if (is_ipv6(before_zone(literal))) {
    return Address();
  }
  return std::nullopt;
}

std::string host_with_port(std::string_view host, std::uint16_t port) {
  const bool bare = looks_like_ipv6(host) && host.front() != '[';
  std::string text = bare ? "[" : "";
  text.append(host).append(bare ? "]:" : ":");
  return text.append(std::to_string(port));
}

void check_family(int family, std::string_view operation) {
  if (family != AF_UNSPEC && family != AF_INET && family != AF_INET6) {
    throw std::invalid_argument(
        std::string(operation) +
        ": family: is none of AF_UNSPEC, AF_INET and AF_INET6");
  }
}

}  // namespace waterspout
