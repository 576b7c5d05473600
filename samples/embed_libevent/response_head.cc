#include "embed_libevent/response_head.h"

#include <algorithm>
#include <charconv>
#include <stdexcept>
#include <system_error>

#include "waterspout/error.h"

namespace embed_libevent {

namespace {

constexpr std::string_view kLineEnd = "\r\n";

// Cuts the first line off `text`; all of it where no line end is left.
std::string_view take_line(std::string_view& text) {
  const std::size_t end = text.find(kLineEnd);
  const std::string_view line = text.substr(0, end);
  text.remove_prefix(std::min(text.size(), line.size() + kLineEnd.size()));
  return line;
}

std::string_view trimmed(std::string_view text) {
  const std::size_t begin = text.find_first_not_of(" \t");
  if (begin == std::string_view::npos) {
    return {};
  }
  return text.substr(begin, text.find_last_not_of(" \t") - begin + 1);
}

bool same_name(std::string_view name, std::string_view lower_case) {
  return std::equal(
      name.begin(), name.end(), lower_case.begin(), lower_case.end(),
      [](char a, char b) { return (a >= 'A' && a <= 'Z' ? a + 32 : a) == b; });
}

// All of `text` as a decimal number without a sign.
std::optional<std::size_t> parse_number(std::string_view text) {
  std::size_t number = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, number);
  if (error != std::errc() || stop != end) {
    return std::nullopt;
  }
  return number;
}

// "HTTP/1.1 200 OK"; the reason is for people.
int parse_status(std::string_view line) {
  const bool known = line.substr(0, 7) == "HTTP/1." && line.size() >= 12 &&
                     line[8] == ' ' && (line.size() == 12 || line[12] == ' ');
  const auto status =
      known ? parse_number(line.substr(9, 3)) : std::optional<std::size_t>();
  if (!status || *status < 200 || *status > 599) {
    throw std::runtime_error("not a final HTTP/1 response: it begins with '" +
                             waterspout::escape_bytes(line) + "'");
  }
  return static_cast<int>(*status);
}

void add_length(ResponseHead& head, std::string_view value) {
  const std::optional<std::size_t> length = parse_number(value);
  if (!length || head.length.value_or(*length) != *length) {
    throw std::runtime_error("malformed or contradictory Content-Length: '" +
                             waterspout::escape_bytes(value) + "'");
  }
  head.length = length;
}

void add_field(ResponseHead& head, std::string_view line) {
  const std::size_t colon = line.find(':');
  if (colon == std::string_view::npos || colon == 0) {
    throw std::runtime_error("malformed header line: '" +
                             waterspout::escape_bytes(line) + "'");
  }
  const std::string_view name = line.substr(0, colon);
  const std::string_view value = trimmed(line.substr(colon + 1));
  if (same_name(name, "content-length")) {
    add_length(head, value);
  } else if (same_name(name, "content-type")) {
    head.content_type = value;
  } else if (same_name(name, "transfer-encoding")) {
    throw std::runtime_error(
        "the response has a transfer encoding, which HTTP/1.0 has not");
  }
}

}  // namespace

ResponseHead parse_head(std::string_view head) {
  ResponseHead parsed;
  parsed.status = parse_status(take_line(head));
  for (std::string_view line = take_line(head); !line.empty();
       line = take_line(head)) {
    add_field(parsed, line);
  }
  if (parsed.status == 204 || parsed.status == 304) {
    parsed.length = 0;  // whatever it says: there is no body
  }
  return parsed;
}

}  // namespace embed_libevent
