#include "http_server/request.h"

#include <algorithm>
#include <array>
#include <utility>

#include "http_fetch/text.h"

namespace http_server {

namespace {

using http_fetch::is_digit;
using http_fetch::is_letter;
using http_fetch::same_ignoring_case;
using http_fetch::trim;

constexpr std::string_view kLineEnd = "\r\n";

[[noreturn]] void refuse(const std::string& reason) {
  throw BadRequest(400, reason);
}

bool is_token_character(char c) {
  constexpr std::string_view kOthers = "!#$%&'*+-.^_`|~";
  return is_letter(c) || is_digit(c) || kOthers.find(c) != kOthers.npos;
}

bool is_token(std::string_view text) {
  return !text.empty() &&
         std::all_of(text.begin(), text.end(), is_token_character);
}

bool is_visible(char c) { return c > ' ' && c < '\x7f'; }

bool is_control(char c) {
  return (c >= '\0' && c < ' ' && c != '\t') || c == '\x7f';
}

int hex_value(char c) {
  const char low = http_fetch::lower_case(c);
  if (is_digit(low)) {
    return low - '0';
  }
  return low >= 'a' && low <= 'f' ? low - 'a' + 10 : -1;
}

// The first line of `rest`, which loses it.
std::string_view take_line(std::string_view& rest) {
  const std::string_view line = rest.substr(0, rest.find(kLineEnd));
  rest.remove_prefix(line.size() + kLineEnd.size());
  return line;
}

Method parse_method(std::string_view text) {
  constexpr std::array<std::string_view, 7> kOthers = {
      "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PATCH"};
  if (text == "GET") {
    return Method::get;
  }
  if (text == "HEAD") {
    return Method::head;
  }
  if (!is_token(text)) {
    refuse("the method is no token");
  }
  if (std::find(kOthers.begin(), kOthers.end(), text) != kOthers.end()) {
    throw BadRequest(405, "this server answers GET and HEAD");
  }
  throw BadRequest(501, "this method is unknown here");
}

int parse_version(std::string_view text) {
  const bool fits = text.size() == 8 && text.starts_with("HTTP/") &&
                    is_digit(text[5]) && text[6] == '.' && is_digit(text[7]);
  if (!fits) {
    refuse("the request line does not end in a version of HTTP");
  }
  if (text[5] != '1') {
    throw BadRequest(505, "this server speaks HTTP/1.1 and HTTP/1.0");
  }
  return text[7] == '0' ? 0 : 1;
}

bool is_host_character(char c) {
  constexpr std::string_view kOthers = "-._~!$&'()*+,;=:[]%";
  return is_letter(c) || is_digit(c) || kOthers.find(c) != kOthers.npos;
}

// We serve the same whatever the name; but a name that is none shows that
// somebody on the way understood the request differently.
void check_host(std::string_view host) {
  if (!std::all_of(host.begin(), host.end(), is_host_character)) {
    refuse("the host is malformed");
  }
}

// "/path?query" of a target of that form, or of "http://host/path?query".
std::string_view origin_form(std::string_view target) {
  constexpr std::string_view kScheme = "http://";
  if (!same_ignoring_case(target.substr(0, kScheme.size()), kScheme)) {
    return target;
  }
  target.remove_prefix(kScheme.size());
  const std::string_view host = target.substr(0, target.find_first_of("/?"));
  if (host.empty()) {
    refuse("the target has no host");
  }
  check_host(host);
  target.remove_prefix(host.size());
  return target.empty() ? "/" : target;
}

void parse_target(std::string_view target, Request& request) {
  if (!std::all_of(target.begin(), target.end(), is_visible)) {
    refuse("the target holds what has to be encoded as %XX");
  }
  const std::string_view origin = origin_form(target);
  const std::string_view path = origin.substr(0, origin.find('?'));
  if (origin.find('#') != std::string_view::npos ||
      (!path.empty() && path.front() != '/') || origin.empty()) {
    refuse("the target is neither a path nor a URL of http");
  }
  request.query = origin.substr(path.size());
  request.path = decode_path(path);
}

void parse_request_line(std::string_view line, Request& request) {
  const auto first = line.find(' ');
  const auto last = line.rfind(' ');
  if (first == last) {
    refuse("the request line is not 'METHOD TARGET VERSION'");
  }
  request.minor_version = parse_version(line.substr(last + 1));
  request.method = parse_method(line.substr(0, first));
  parse_target(line.substr(first + 1, last - first - 1), request);
  request.keep_alive = request.minor_version > 0;
}

struct Field {
  std::string_view name;
  std::string_view value;
};

Field parse_field(std::string_view line) {
  const auto colon = line.find(':');
  if (colon == std::string_view::npos) {
    refuse("a header line without a colon");
  }
  const Field field{line.substr(0, colon), trim(line.substr(colon + 1))};
  if (!is_token(field.name)) {
    refuse("a header line does not begin with a field's name and a colon");
  }
  if (std::any_of(field.value.begin(), field.value.end(), is_control)) {
    refuse("a control character in a field");
  }
  return field;
}

/// Collects the fields that mean something to us. A view without a pointer is a
/// field that has not come, unlike one that is empty.
class FieldReader {
 public:
  explicit FieldReader(Request& request) : request_(request) {}

  void add(const Field& field) {
    if (same_ignoring_case(field.name, "Connection")) {
      read_connection(field.value);
      return;
    }
    for (const Slot& slot : slots_) {
      if (same_ignoring_case(field.name, slot.name)) {
        take(field, slot);
        return;
      }
    }
  }

  void finish() const {
    if (!has_come(host_) && request_.minor_version > 0) {
      refuse("the field Host is missing");
    }
    check_host(host_);
    check_body();
  }

 private:
  struct Slot {
    std::string_view name;
    std::string_view* value;
    bool list = false;  // may come in parts, of which the first is enough
  };

  static bool has_come(std::string_view value) {
    return value.data() != nullptr;
  }

  static void take(const Field& field, const Slot& slot) {
    if (!has_come(*slot.value)) {
      *slot.value = field.value;
    } else if (!slot.list) {
      refuse("the field " + std::string(field.name) + " comes twice");
    }
  }

  void read_connection(std::string_view options) {
    while (!options.empty()) {
      const std::string_view option = options.substr(0, options.find(','));
      options.remove_prefix(std::min(option.size() + 1, options.size()));
      if (same_ignoring_case(trim(option), "close")) {
        close_asked_ = true;
      } else if (same_ignoring_case(trim(option), "keep-alive")) {
        request_.keep_alive = true;
      }
    }
    request_.keep_alive = request_.keep_alive && !close_asked_;
  }

  // Who asks for a file sends no body. To find the end of one that we do not
  // want would only be a chance to get it wrong.
  void check_body() const {
    const bool has_codings = has_come(transfer_encoding_);
    const bool has_length = has_come(content_length_);
    if (has_length && (content_length_.empty() ||
                       !std::all_of(content_length_.begin(),
                                    content_length_.end(), is_digit))) {
      refuse("the Content-Length is no length");
    }
    if (has_codings && (has_length || request_.minor_version == 0)) {
      refuse("the end of the body is ambiguous");
    }
    if (has_codings) {
      throw BadRequest(501, "no transfer coding is understood here");
    }
    if (content_length_.find_first_not_of('0') != std::string_view::npos) {
      refuse("a body where none belongs");
    }
  }

  Request& request_;
  bool close_asked_ = false;
  std::string_view host_;
  std::string_view content_length_;
  std::string_view transfer_encoding_;
  const std::array<Slot, 9> slots_ = {{
      {"Host", &host_},
      {"Content-Length", &content_length_},
      {"Transfer-Encoding", &transfer_encoding_},
      {"Range", &request_.range},
      {"If-Range", &request_.if_range},
      {"If-Modified-Since", &request_.if_modified_since},
      {"If-Unmodified-Since", &request_.if_unmodified_since},
      {"If-Match", &request_.if_match, true},
      {"If-None-Match", &request_.if_none_match, true},
  }};
};

void check_segments(std::string_view path) {
  while (!path.empty()) {
    const std::string_view segment = path.substr(0, path.find('/'));
    if (segment == "..") {
      throw BadRequest(403, "the path leads upwards");
    }
    path.remove_prefix(std::min(segment.size() + 1, path.size()));
  }
}

}  // namespace

// What is no HTTP at all, such as the first bytes of TLS, shows at once; there
// may never be a line's end in it.
void HeadFinder::check_start(std::string_view input) const {
  if (!in_fields_ && line_ < input.size() && input[line_] != '\r' &&
      !is_token_character(input[line_])) {
    refuse("a request begins with a method");
  }
}

void HeadFinder::check_size(std::size_t line, std::size_t head,
                            const HeadLimits& limits) const {
  if (!in_fields_ && line > limits.request_line) {
    throw BadRequest(414, "the request line is longer than " +
                              std::to_string(limits.request_line) + " bytes");
  }
  if (head > limits.head) {
    throw BadRequest(431, "the head is larger than " +
                              std::to_string(limits.head) + " bytes");
  }
}

std::optional<std::size_t> HeadFinder::find(std::string_view input,
                                            const HeadLimits& limits) {
  for (;;) {
    check_start(input);
    const auto end = input.find('\n', searched_);
    if (end == std::string_view::npos) {
      searched_ = input.size();
      check_size(input.size() - line_, input.size(), limits);
      return std::nullopt;
    }
    if (end == line_ || input[end - 1] != '\r') {
      refuse("a line does not end in CR LF");
    }
    const std::size_t line = end - 1 - line_;
    check_size(line, end + 1, limits);
    if (line == 0 && in_fields_) {
      return end + 1;
    }
    in_fields_ = line != 0;  // an empty line before the request is ignored
    line_ = searched_ = end + 1;
  }
}

Request parse_request(std::string_view head, const HeadLimits& limits) {
  while (head.starts_with(kLineEnd)) {
    head.remove_prefix(kLineEnd.size());
  }
  Request request;
  parse_request_line(take_line(head), request);
  FieldReader reader(request);
  for (std::size_t count = 0; head != kLineEnd; ++count) {
    if (count == limits.fields) {
      throw BadRequest(
          431, "more than " + std::to_string(limits.fields) + " fields");
    }
    reader.add(parse_field(take_line(head)));
  }
  reader.finish();
  return request;
}

std::string decode_path(std::string_view path) {
  std::string decoded;
  decoded.reserve(path.size());
  while (!path.empty()) {
    char c = path.front();
    if (c == '%') {
      const int high = path.size() > 2 ? hex_value(path[1]) : -1;
      const int low = path.size() > 2 ? hex_value(path[2]) : -1;
      if (high < 0 || low < 0) {
        refuse("a '%' without two hexadecimal digits");
      }
      c = static_cast<char>(high * 16 + low);
      if (c == '\0' || c == '/') {
        refuse("an encoded NUL or slash");
      }
      path.remove_prefix(2);
    }
    path.remove_prefix(1);
    decoded += c;
  }
  check_segments(decoded);
  decoded.erase(0, decoded.find_first_not_of('/'));
  return decoded;
}

std::string encode_path(std::string_view path) {
  constexpr std::string_view kDigits = "0123456789ABCDEF";
  constexpr std::string_view kPlain = "-._~/";
  std::string encoded = "/";
  for (const char c : path) {
    if (is_letter(c) || is_digit(c) || kPlain.find(c) != kPlain.npos) {
      encoded += c;
    } else {
      const auto byte = static_cast<unsigned char>(c);
      encoded += {'%', kDigits[byte / 16], kDigits[byte % 16]};
    }
  }
  return encoded;
}

}  // namespace http_server
