#include "http_fetch/http_head.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>
#include <stdexcept>
#include <system_error>

#include "waterspout/error.h"

#include "http_fetch/text.h"

namespace http_fetch {

namespace {

using waterspout::escape_bytes;

// A length that fits a signed file offset, which is where bodies end up.
constexpr std::uint64_t kMaxLength = std::numeric_limits<std::int64_t>::max();

[[noreturn]] void malformed(const std::string& reason) {
  throw std::runtime_error("malformed response: " + reason);
}

std::string quoted(std::string_view bytes) {
  return '\'' + escape_bytes(bytes) + '\'';
}

bool is_token(std::string_view text) {
  constexpr std::string_view kOthers = "!#$%&'*+-.^_`|~";
  return !text.empty() && std::all_of(text.begin(), text.end(), [&](char c) {
    return is_letter(c) || is_digit(c) || kOthers.find(c) != kOthers.npos;
  });
}

bool is_control(char c) {
  return (c >= '\0' && c < ' ' && c != '\t') || c == '\x7f';
}

bool has_control(std::string_view text) {
  return std::any_of(text.begin(), text.end(), is_control);
}

std::string_view without_line_end(std::string_view line) {
  for (const char end : {'\n', '\r'}) {
    if (!line.empty() && line.back() == end) {
      line.remove_suffix(1);
    }
  }
  return line;
}

// "HTTP/1.1 200 OK" gives 200. The reason may be missing, with its space too.
int parse_status_line(std::string_view line) {
  constexpr std::string_view kShape = "HTTP/1.d ddd";  // d: a digit
  bool fits = line.size() >= kShape.size();
  for (std::size_t i = 0; fits && i < kShape.size(); i++) {
    fits = kShape[i] == 'd' ? is_digit(line[i]) : line[i] == kShape[i];
  }
  const std::string_view reason = fits ? line.substr(kShape.size()) : line;
  if (!fits || line[9] == '0' || (!reason.empty() && reason.front() != ' ') ||
      has_control(reason)) {
    throw std::runtime_error("not http: the answer begins with " +
                             quoted(line));
  }
  return (line[9] - '0') * 100 + (line[10] - '0') * 10 + (line[11] - '0');
}

// All the digits of `text` as a number in `base`.
std::optional<std::uint64_t> parse_number(std::string_view text, int base) {
  std::uint64_t number = 0;
  const auto [end, error] =
      std::from_chars(text.data(), text.data() + text.size(), number, base);
  if (error != std::errc() || end != text.data() + text.size() ||
      number > kMaxLength) {
    return std::nullopt;
  }
  return number;
}

// The comma-separated items of all these values: a list may be in one field or
// in several.
std::vector<std::string_view> items_of(
    const std::vector<std::string_view>& values) {
  std::vector<std::string_view> items;
  for (std::string_view rest : values) {
    for (auto comma = rest.find(','); comma != rest.npos;
         comma = rest.find(',')) {
      items.push_back(trim(rest.substr(0, comma)));
      rest.remove_prefix(comma + 1);
    }
    items.push_back(trim(rest));
  }
  return items;
}

// Some servers repeat the field, which is harmless while all say the same.
std::optional<std::uint64_t> content_length(const ResponseHead& head) {
  std::optional<std::uint64_t> length;
  for (const std::string_view item : items_of(head.values("Content-Length"))) {
    const std::optional<std::uint64_t> number = parse_number(item, 10);
    if (!number) {
      malformed("Content-Length " + quoted(item) + " is no length");
    }
    if (length && *length != *number) {
      malformed("contradictory lengths " + std::to_string(*length) + " and " +
                std::to_string(*number));
    }
    length = number;
  }
  return length;
}

bool is_chunked(const ResponseHead& head) {
  const auto codings = items_of(head.values("Transfer-Encoding"));
  if (codings.empty()) {
    return false;
  }
  if (codings.size() > 1 || !same_ignoring_case(codings.front(), "chunked")) {
    throw std::runtime_error("transfer coding " + quoted(codings.front()) +
                             (codings.size() > 1 ? " and more" : "") +
                             ": only 'chunked' is supported");
  }
  return true;
}

bool has_body(int status, Method method) {
  return method != Method::head && status != 204 && status != 304;
}

}  // namespace

HeaderField parse_field(std::string_view line) {
  const auto colon = line.find(':');
  if (colon == std::string_view::npos) {
    throw std::runtime_error("no ':' in the header line " + quoted(line));
  }
  const std::string_view name = line.substr(0, colon);
  const std::string_view value = trim(line.substr(colon + 1));
  if (!is_token(name)) {
    throw std::runtime_error(quoted(name) + " is no header name");
  }
  if (has_control(value)) {
    throw std::runtime_error("a control character in the value of " +
                             quoted(name));
  }
  return {std::string(name), std::string(value)};
}

std::string request_head(Method method, const Url& url,
                         const std::vector<HeaderField>& fields) {
  const std::array<HeaderField, 4> ours{{{"Host", url.authority()},
                                         {"User-Agent", "http_fetch"},
                                         {"Accept", "*/*"},
                                         {"Connection", "close"}}};
  std::string text = method == Method::head ? "HEAD " : "GET ";
  text.append(url.target).append(" HTTP/1.0\r\n");

  auto add = [&text](const HeaderField& field) {
    text.append(field.name).append(": ").append(field.value).append("\r\n");
  };
  for (const HeaderField& field : ours) {
    const bool replaced =
        std::any_of(fields.begin(), fields.end(), [&](const HeaderField& f) {
          return same_ignoring_case(f.name, field.name);
        });
    if (!replaced) {
      add(field);
    }
  }
  std::for_each(fields.begin(), fields.end(), add);
  return text + "\r\n";
}

std::string ResponseHead::status_text() const {
  constexpr std::size_t kLongest = 80;  // bytes
  const std::string_view line =
      without_line_end(std::string_view(text).substr(0, text.find('\n') + 1));
  return escape_bytes(line.substr(line.find(' ') + 1), kLongest);
}

std::vector<std::string_view> ResponseHead::values(
    std::string_view name) const {
  std::vector<std::string_view> found;
  for (const HeaderField& field : fields) {
    if (same_ignoring_case(field.name, name)) {
      found.emplace_back(field.value);
    }
  }
  return found;
}

std::optional<std::string> ResponseHead::redirection() const {
  constexpr std::array kRedirects = {301, 302, 303, 307, 308};
  const auto locations = values("Location");
  if (std::find(kRedirects.begin(), kRedirects.end(), status) ==
          kRedirects.end() ||
      locations.empty()) {
    return std::nullopt;
  }
  if (locations.size() > 1) {
    malformed("more than one Location");
  }
  return std::string(locations.front());
}

bool add_line(ResponseHead& head, std::string_view line) {
  const bool first = head.text.empty();
  head.text.append(line);
  line = without_line_end(line);
  if (first) {
    head.status = parse_status_line(line);
    return false;
  }
  if (line.empty()) {
    return true;
  }
  if (is_blank(line.front())) {
    // A folded line. Readers disagree about what it continues, which has been
    // used to smuggle headers, so RFC 9112 withdrew it.
    malformed("a header line begins with a blank: " + quoted(line));
  }
  try {
    head.fields.push_back(parse_field(line));
  } catch (const std::runtime_error& error) {
    malformed(error.what());
  }
  return false;
}

Framing framing_of(const ResponseHead& head, Method method) {
  const std::optional<std::uint64_t> length = content_length(head);
  const bool chunked = is_chunked(head);
  if (chunked && length) {
    malformed("contradictory lengths: Content-Length and chunked");
  }
  if (!has_body(head.status, method)) {
    return {Framing::Kind::length, 0};
  }
  if (chunked) {
    return {Framing::Kind::chunked, 0};
  }
  if (length) {
    return {Framing::Kind::length, *length};
  }
  return {Framing::Kind::until_close, 0};
}

std::uint64_t parse_chunk_size(std::string_view line) {
  line = without_line_end(line);
  const std::string_view digits = trim(line.substr(0, line.find(';')));
  const std::optional<std::uint64_t> size = parse_number(digits, 16);
  const bool indented = digits.data() != line.data();
  if (!size || indented || has_control(line)) {
    malformed("bad chunk size " + quoted(line));
  }
  return *size;
}

}  // namespace http_fetch
