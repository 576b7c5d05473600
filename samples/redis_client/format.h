// Replies as text for people and for programs, as redis-cli has them.

#pragma once

#include <string>
#include <string_view>

#include "redis_client/resp.h"

namespace redis_client {

/// With its type; arrays numbered and indented:
///
///   1) "name"
///   2) 1) (integer) 7
///      2) (nil)
[[nodiscard]] std::string format_typed(const Reply& reply);

/// Bytes as they are, and a line's end; arrays an element a line.
[[nodiscard]] std::string format_raw(const Reply& reply);

/// `bytes` in double quotes, as split_words reads them.
[[nodiscard]] std::string quote(std::string_view bytes);

}  // namespace redis_client
