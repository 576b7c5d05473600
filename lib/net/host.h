// Hosts as users give them: names and IP literals.

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "waterspout/address.h"

namespace waterspout {

/// Throws std::invalid_argument, as Resolver::resolve says, for what can be no
/// host.
void check_host(std::string_view host, std::string_view operation);

/// The address of an IP literal, also in brackets; nothing for a name. One with
/// a zone that this machine lacks gives an address without a family.
[[nodiscard]] std::optional<Address> literal_address(std::string_view host,
                                                     std::uint16_t port);

/// "example.org:80", "[::1]:80".
[[nodiscard]] std::string host_with_port(std::string_view host,
                                         std::uint16_t port);

/// Throws std::invalid_argument unless it is AF_UNSPEC, AF_INET or AF_INET6.
void check_family(int family, std::string_view operation);

}  // namespace waterspout
