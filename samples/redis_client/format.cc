#include "redis_client/format.h"

#include <cstddef>

namespace redis_client {

namespace {

// A parser bounds how deep arrays are, and so how deep these two recurse.
void append_raw(std::string& text, const Reply& reply);
void append_typed(std::string& text, const Reply& reply, std::size_t indent);

void append_raw(std::string& text, const Reply& reply) {
  switch (reply.kind) {
    case Reply::Kind::nil:
      return;
    case Reply::Kind::integer:
      text += std::to_string(reply.integer);
      return;
    case Reply::Kind::array:
      for (const Reply& element : reply.elements) {
        text += &element == &reply.elements.front() ? "" : "\n";
        append_raw(text, element);
      }
      return;
    default:
      text += reply.text;
  }
}

// The first element stands behind what is in the line already, the others in
// lines of their own, below it.
void append_elements(std::string& text, const Reply& array,
                     std::size_t indent) {
  const std::size_t width = std::to_string(array.elements.size()).size();
  std::size_t number = 0;
  for (const Reply& element : array.elements) {
    if (number > 0) {
      text.append("\n").append(indent, ' ');
    }
    number++;
    const std::string digits = std::to_string(number);
    text.append(width - digits.size(), ' ').append(digits).append(") ");
    append_typed(text, element, indent + width + 2);
  }
}

void append_typed(std::string& text, const Reply& reply, std::size_t indent) {
  switch (reply.kind) {
    case Reply::Kind::nil:
      text += "(nil)";
      return;
    case Reply::Kind::status:
      text += reply.text;
      return;
    case Reply::Kind::integer:
      text += "(integer) " + std::to_string(reply.integer);
      return;
    case Reply::Kind::bulk:
      text += quote(reply.text);
      return;
    case Reply::Kind::array:
      if (reply.elements.empty()) {
        text += "(empty array)";
      } else {
        append_elements(text, reply, indent);
      }
      return;
    case Reply::Kind::error:
    case Reply::Kind::failure:
      text += "(error) " + reply.text;
  }
}

void append_quoted(std::string& text, char byte) {
  constexpr char kHexDigits[] = "0123456789abcdef";
  constexpr std::string_view kSpecial = "\"\\\n\r\t\a\b";
  constexpr std::string_view kLetters = "\"\\nrtab";
  const std::size_t special = kSpecial.find(byte);
  if (special != std::string_view::npos) {
    text.append("\\").push_back(kLetters[special]);
  } else if (byte >= ' ' && byte <= '~') {
    text.push_back(byte);
  } else {
    const auto value = static_cast<unsigned char>(byte);
    text.append("\\x").push_back(kHexDigits[value >> 4]);
    text.push_back(kHexDigits[value & 15]);
  }
}

}  // namespace

std::string format_typed(const Reply& reply) {
  std::string text;
  append_typed(text, reply, 0);
  return text.append("\n");
}

std::string format_raw(const Reply& reply) {
  std::string text;
  append_raw(text, reply);
  return text.append("\n");
}

std::string quote(std::string_view bytes) {
  std::string text("\"");
  for (const char byte : bytes) {
    append_quoted(text, byte);
  }
  return text.append("\"");
}

}  // namespace redis_client
