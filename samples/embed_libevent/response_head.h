// The head of an HTTP/1 response, as far as a proxy must understand it.

#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace embed_libevent {

struct ResponseHead {
  int status = 0;
  std::string content_type;
  std::optional<std::size_t> length;  ///< of the body; none: until the close
};

/// Parses a head with the empty line at its end.
/// Errors: throws std::runtime_error with the reason for what is no HTTP/1, is
///   malformed, or frames its body in a way that a request with HTTP/1.0 does
///   not allow.
[[nodiscard]] ResponseHead parse_head(std::string_view head);

}  // namespace embed_libevent
