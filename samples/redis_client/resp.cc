#include "redis_client/resp.h"

#include <algorithm>
#include <charconv>
#include <system_error>
#include <utility>

#include "waterspout/error.h"

namespace redis_client {

namespace {

using Kind = Reply::Kind;

constexpr std::string_view kLineEnd = "\r\n";
// A type, a sign, the 19 digits of the largest numbers, and the line's end.
constexpr std::size_t kLongestNumber = 23;

std::string quoted(std::string_view bytes) {
  return '\'' + waterspout::escape_bytes(bytes) + '\'';
}

// As a server writes it: no sign but a '-', and no zeros in front.
std::optional<std::int64_t> parse_number(std::string_view text) {
  const std::string_view digits = text.substr(text.starts_with('-') ? 1 : 0);
  if (digits.starts_with('0') && text != "0") {
    return std::nullopt;
  }
  std::int64_t number = 0;
  const char* const end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, number);
  if (error != std::errc() || rest != end) {
    return std::nullopt;
  }
  return number;
}

std::int64_t parse_integer(std::string_view text) {
  const std::optional<std::int64_t> number = parse_number(text);
  if (!number) {
    throw ProtocolError(quoted(text) + " is no integer");
  }
  return *number;
}

// Nothing for -1, which announces nil.
std::optional<std::size_t> parse_length(std::string_view text) {
  const std::optional<std::int64_t> number = parse_number(text);
  if (!number || *number < -1) {
    throw ProtocolError(quoted(text) + " is no length");
  }
  if (*number == -1) {
    return std::nullopt;
  }
  return static_cast<std::size_t>(*number);
}

// What is not RESP2 shows in its first byte, also where nothing follows it.
void check_type(char type) {
  if (std::string_view("+-:$*").find(type) == std::string_view::npos) {
    throw ProtocolError("a reply begins with " +
                        quoted(std::string_view(&type, 1)));
  }
}

bool is_text(std::string_view line) {
  return line.starts_with('+') || line.starts_with('-');
}

}  // namespace

void append_command(std::string& bytes,
                    const std::vector<std::string>& arguments) {
  bytes.append("*").append(std::to_string(arguments.size())).append(kLineEnd);
  for (const std::string& argument : arguments) {
    bytes.append("$").append(std::to_string(argument.size())).append(kLineEnd);
    bytes.append(argument).append(kLineEnd);
  }
}

std::optional<Reply> Parser::feed(std::string_view& bytes) {
  while (!bytes.empty()) {
    std::optional<Reply> reply =
        expecting_ == Expecting::line ? take_line(bytes) : take_bulk(bytes);
    if (reply) {
      reply = add(std::move(*reply));
    }
    if (reply) {
      return reply;
    }
  }
  return std::nullopt;
}

std::optional<Reply> Parser::take_line(std::string_view& bytes) {
  if (line_.empty()) {
    check_type(bytes.front());
  }
  const std::size_t end = bytes.find('\n');
  const bool complete = end != std::string_view::npos;
  const std::size_t size = complete ? end + 1 : bytes.size();
  const std::size_t limit =
      is_text(line_.empty() ? bytes : line_) ? limits_.line : kLongestNumber;
  if (size > limit || line_.size() > limit - size) {
    throw ProtocolError("a line of more than " + std::to_string(limit) +
                        " bytes");
  }
  line_.append(bytes.substr(0, size));
  bytes.remove_prefix(size);
  if (!complete) {
    return std::nullopt;
  }
  if (line_.find('\r') != line_.size() - kLineEnd.size()) {
    throw ProtocolError("a line without CR and LF at its end: " +
                        quoted(line_));
  }
  const std::string line = std::exchange(line_, std::string());
  return take_header(
      std::string_view(line).substr(0, line.size() - kLineEnd.size()));
}

std::optional<Reply> Parser::take_header(std::string_view header) {
  const std::string_view rest = header.substr(1);
  switch (header.front()) {
    case '$':
      return begin_bulk(rest);
    case '*':
      return begin_array(rest);
    case ':':
      return Reply{.kind = Kind::integer, .integer = parse_integer(rest)};
    default:
      count(rest.size(), 1);
      return Reply{.kind = header.front() == '-' ? Kind::error : Kind::status,
                   .text = std::string(rest)};
  }
}

std::optional<Reply> Parser::begin_bulk(std::string_view length) {
  const std::optional<std::size_t> size = parse_length(length);
  if (!size) {
    return Reply();
  }
  count(*size, 1);
  bulk_size_ = *size;
  expecting_ = Expecting::bulk;
  return std::nullopt;
}

std::optional<Reply> Parser::begin_array(std::string_view length) {
  const std::optional<std::size_t> size = parse_length(length);
  if (!size) {
    return Reply();
  }
  Reply array{.kind = Kind::array};
  if (*size == 0) {
    return array;
  }
  if (unfinished_.size() == limits_.depth) {
    throw ProtocolError("arrays in arrays, deeper than " +
                        std::to_string(limits_.depth));
  }
  count(*size, sizeof(Reply));
  unfinished_.push_back({.array = std::move(array), .missing = *size});
  return std::nullopt;
}

std::optional<Reply> Parser::take_bulk(std::string_view& bytes) {
  const std::size_t missing = bulk_size_ + kLineEnd.size() - bulk_.size();
  const std::size_t size = std::min(missing, bytes.size());
  bulk_.append(bytes.substr(0, size));
  bytes.remove_prefix(size);
  if (size < missing) {
    return std::nullopt;
  }
  const std::string_view end = std::string_view(bulk_).substr(bulk_size_);
  if (end != kLineEnd) {
    throw ProtocolError("a bulk string of " + std::to_string(bulk_size_) +
                        " bytes is followed by " + quoted(end));
  }
  bulk_.resize(bulk_size_);
  expecting_ = Expecting::line;
  return Reply{.kind = Kind::bulk, .text = std::exchange(bulk_, std::string())};
}

// Puts a reply where it belongs: into the innermost array that is unfinished,
// which may finish that one, and so on. What is left over is complete.
std::optional<Reply> Parser::add(Reply reply) {
  while (!unfinished_.empty()) {
    Unfinished& innermost = unfinished_.back();
    innermost.array.elements.push_back(std::move(reply));
    innermost.missing--;
    if (innermost.missing > 0) {
      return std::nullopt;
    }
    reply = std::move(innermost.array);
    unfinished_.pop_back();
  }
  memory_ = 0;
  return reply;
}

void Parser::count(std::size_t items, std::size_t item_size) {
  if (items > (limits_.reply - memory_) / item_size) {
    throw ProtocolError("a reply of more than " +
                        std::to_string(limits_.reply) + " bytes");
  }
  memory_ += items * item_size;
}

}  // namespace redis_client
