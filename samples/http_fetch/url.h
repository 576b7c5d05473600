// URLs as http_fetch uses them: http and https only, checked strictly, never
// decoded.

#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace http_fetch {

/// A parsed URL. A value.
struct Url {
  bool secure = false;  ///< https
  std::string host;     ///< lower case; an IPv6 literal without its brackets
  std::uint16_t port = 80;
  std::string target = "/";  ///< path and query, as the request line has them

  /// Host and port as a Host header has them: "example.org", "[::1]:8080"; the
  /// scheme's own port, 80 or 443, is not named. The zone of an IPv6 literal
  /// means something on this machine only and is left out (RFC 6874).
  [[nodiscard]] std::string authority() const;

  [[nodiscard]] std::string to_string() const;

  /// True if scheme, host and port are the same, so that what is secret from
  /// others may be sent to both.
  [[nodiscard]] bool same_origin(const Url& other) const;
};

/// Parses an absolute URL; its fragment is dropped.
///
/// Errors: throws std::runtime_error with the reason: a scheme that is
///   neither http nor https, a user name, a bad host or port, or a byte that
///   could break out of the request line (control characters, spaces, anything
///   beyond ASCII).
[[nodiscard]] Url parse_url(std::string_view text);

/// The URL that `reference`, absolute or relative, means in a document that
/// came from `base` (RFC 3986, section 5.2). Errors: as parse_url.
[[nodiscard]] Url resolve_reference(const Url& base,
                                    std::string_view reference);

}  // namespace http_fetch
