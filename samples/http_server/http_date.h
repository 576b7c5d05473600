// Dates as HTTP writes them: "Sun, 06 Nov 1994 08:49:37 GMT". In English,
// whatever the locale.

#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

namespace http_server {

/// A moment of the wall clock, to the second: as exact as HTTP is about dates.
using Date = std::chrono::sys_seconds;

/// Requires: the year has four digits.
[[nodiscard]] std::string format_date(Date date);

/// Parses the three forms of RFC 9110, section 5.6.7; nothing for what has
/// none of them or names no real day. The obsolete form with a year of two
/// digits means the last such year that is not more than 50 years after `now`.
[[nodiscard]] std::optional<Date> parse_date(std::string_view text, Date now);

}  // namespace http_server
