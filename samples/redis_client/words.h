// From a line to the words of a command.

#pragma once

#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace redis_client {

/// Splits at blanks. Words may be quoted: "..." knows \n \r \t \a \b, \xHH and
/// a backslash before any other character for that character; '...' knows \'
/// alone. A closing quote ends its word.
///
/// Errors: throws std::invalid_argument for a quote that is not closed, or that
///   something stands right behind.
[[nodiscard]] std::vector<std::string> split_words(std::string_view line);

}  // namespace redis_client
