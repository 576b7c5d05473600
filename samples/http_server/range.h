// The part of a file that a client asks for (RFC 9110, section 14). Pure
// functions on text.

#pragma once

#include <cstdint>
#include <string_view>

namespace http_server {

/// What to send of a file.
struct Range {
  enum class Kind {
    whole,          ///< no range was asked for, or none that we understand
    part,           ///< `length` bytes from `offset` on
    unsatisfiable,  ///< a range that lies outside the file
  };

  Kind kind = Kind::whole;
  std::uint64_t offset = 0;  ///< bytes
  std::uint64_t length = 0;  ///< bytes, for Kind::part and Kind::whole
};

/// What the Range field `value` means for a file of `size` bytes. Several
/// ranges at once, other units, and what is malformed give the whole file, as
/// the RFC allows.
[[nodiscard]] Range parse_range(std::string_view value, std::uint64_t size);

}  // namespace http_server
