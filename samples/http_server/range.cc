#include "http_server/range.h"

#include <algorithm>
#include <charconv>
#include <limits>
#include <optional>
#include <system_error>

#include "http_fetch/text.h"

namespace http_server {

namespace {

// A number too large to be held lies behind the end of every file, and so does
// the largest one that can be.
std::optional<std::uint64_t> parse_position(std::string_view digits) {
  if (digits.empty() ||
      !std::all_of(digits.begin(), digits.end(), http_fetch::is_digit)) {
    return std::nullopt;
  }
  std::uint64_t number = 0;
  const auto [end, error] =
      std::from_chars(digits.data(), digits.data() + digits.size(), number);
  return error == std::errc() ? number
                              : std::numeric_limits<std::uint64_t>::max();
}

// "-500": the last 500 bytes.
Range parse_suffix(std::string_view digits, std::uint64_t size) {
  const Range whole{.length = size};
  const auto count = parse_position(digits);
  if (!count || (size == 0 && *count != 0)) {
    return whole;
  }
  if (*count == 0) {
    return {.kind = Range::Kind::unsatisfiable};
  }
  const std::uint64_t length = std::min(*count, size);
  return {Range::Kind::part, size - length, length};
}

}  // namespace

Range parse_range(std::string_view value, std::uint64_t size) {
  constexpr std::string_view kUnit = "bytes=";
  const Range whole{.length = size};
  if (!http_fetch::same_ignoring_case(value.substr(0, kUnit.size()), kUnit)) {
    return whole;
  }
  const std::string_view range = http_fetch::trim(value.substr(kUnit.size()));
  const auto dash = range.find('-');
  if (dash == std::string_view::npos) {
    return whole;
  }
  if (dash == 0) {
    return parse_suffix(range.substr(1), size);
  }
  const bool open_end = dash + 1 == range.size();
  const auto first = parse_position(range.substr(0, dash));
  const auto last = open_end ? std::numeric_limits<std::uint64_t>::max()
                             : parse_position(range.substr(dash + 1));
  if (!first || !last || *last < *first) {
    return whole;
  }
  if (*first >= size) {
    return {.kind = Range::Kind::unsatisfiable};
  }
  return {Range::Kind::part, *first,
          std::min(*last - *first, size - 1 - *first) + 1};
}

}  // namespace http_server
