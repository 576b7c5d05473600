// Replies of Redis, as the parser gives them and as they come.

#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "redis_client/resp.h"

namespace waterspout::test {

inline redis_client::Reply status(std::string text) {
  return {.kind = redis_client::Reply::Kind::status, .text = std::move(text)};
}

inline redis_client::Reply error(std::string text) {
  return {.kind = redis_client::Reply::Kind::error, .text = std::move(text)};
}

inline redis_client::Reply bulk(std::string text) {
  return {.kind = redis_client::Reply::Kind::bulk, .text = std::move(text)};
}

inline redis_client::Reply integer(std::int64_t value) {
  return {.kind = redis_client::Reply::Kind::integer, .integer = value};
}

inline redis_client::Reply array(std::vector<redis_client::Reply> elements) {
  return {.kind = redis_client::Reply::Kind::array,
          .elements = std::move(elements)};
}

/// A bulk string on the wire.
inline std::string bulk_bytes(std::string_view text) {
  return "$" + std::to_string(text.size()) + "\r\n" + std::string(text) +
         "\r\n";
}

}  // namespace waterspout::test
