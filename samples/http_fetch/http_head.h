// The heads of HTTP/1 messages: the request's, which we write, and the
// response's, which is read a line at a time and believed only where it is
// strictly right. Pure functions on text.

#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "http_fetch/url.h"

namespace http_fetch {

struct HeaderField {
  std::string name;
  std::string value;
};

/// Parses "Name: value", without a line's end. Errors: throws
/// std::runtime_error for a name that is no token, or a control character.
[[nodiscard]] HeaderField parse_field(std::string_view line);

enum class Method { get, head };

/// The head of an HTTP/1.0 request, blank line included. A field of `fields`
/// takes the place of ours with the same name (Host, User-Agent, ...).
[[nodiscard]] std::string request_head(Method method, const Url& url,
                                       const std::vector<HeaderField>& fields);

struct ResponseHead {
  int status = 0;
  std::string text;  ///< as it came, line ends and all
  std::vector<HeaderField> fields;

  /// "404 Not Found", made fit for a terminal.
  [[nodiscard]] std::string status_text() const;

  /// The values of all fields of this name, whatever its case.
  [[nodiscard]] std::vector<std::string_view> values(
      std::string_view name) const;

  /// 1xx: another head follows.
  [[nodiscard]] bool interim() const { return status < 200; }

  /// Where the response redirects to; nothing if it does not.
  [[nodiscard]] std::optional<std::string> redirection() const;
};

/// Adds the next line, with its end ("\r\n", or a bare "\n" as some servers
/// send). Returns true if that was the blank line, which ends the head.
///
/// Errors: throws std::runtime_error; "not http" if it is the first line and no
///   status line of HTTP/1.
[[nodiscard]] bool add_line(ResponseHead& head, std::string_view line);

/// How one finds the end of a body (RFC 9112, section 6.3).
struct Framing {
  enum class Kind { length, chunked, until_close };

  Kind kind = Kind::length;  ///< no body is one of length 0
  std::uint64_t length = 0;  ///< bytes, for Kind::length
};

/// Errors: throws std::runtime_error if the head contradicts itself or asks for
///   what we cannot do.
[[nodiscard]] Framing framing_of(const ResponseHead& head, Method method);

/// Parses the line before a chunk, its end included: a hexadecimal size,
/// perhaps extensions. Errors: throws std::runtime_error.
[[nodiscard]] std::uint64_t parse_chunk_size(std::string_view line);

}  // namespace http_fetch
