// Host names as TLS wants them.

#pragma once

#include <string>
#include <string_view>

namespace waterspout {

struct HostName {
  std::string text;         ///< without brackets or a trailing dot
  bool is_address = false;  ///< an IP address, which is never sent as a name
};

/// `name` may be an IP address, also in brackets, or end in a dot.
/// Errors: throws std::invalid_argument for what can be no host name.
[[nodiscard]] HostName parse_host_name(std::string_view name);

/// ASCII letters in lower case; other bytes as they are.
[[nodiscard]] std::string lower_case(std::string_view name);

}  // namespace waterspout
