#include "redis_client/words.h"

#include <charconv>
#include <cstddef>
#include <optional>

namespace redis_client {

namespace {

bool is_blank(char c) {
  return c == ' ' || (c >= '\t' && c <= '\r') || c == '\0';
}

char take(std::string_view& text) {
  const char first = text.front();
  text.remove_prefix(1);
  return first;
}

// HH of \xHH, if there are two digits.
std::optional<char> hex_byte(std::string_view text) {
  const std::string_view digits = text.substr(0, 2);
  unsigned char value = 0;
  const char* const end = digits.data() + digits.size();
  const auto [rest, error] = std::from_chars(digits.data(), end, value, 16);
  if (digits.size() < 2 || error != std::errc() || rest != end) {
    return std::nullopt;
  }
  return static_cast<char>(value);
}

// What stands for one byte behind a backslash in double quotes.
char take_escape(std::string_view& text) {
  constexpr std::string_view kLetters = "nrtab";
  constexpr std::string_view kBytes = "\n\r\t\a\b";
  const char letter = take(text);
  if (letter == 'x') {
    if (const std::optional<char> byte = hex_byte(text)) {
      text.remove_prefix(2);
      return *byte;
    }
  }
  const std::size_t at = kLetters.find(letter);
  return at == std::string_view::npos ? letter : kBytes[at];
}

bool begins_escape(char c, char quote, std::string_view rest) {
  return c == '\\' && !rest.empty() && (quote == '"' || rest.front() == quote);
}

// The rest of a word, from behind its opening quote.
void take_quoted(std::string& word, char quote, std::string_view& line) {
  while (!line.empty()) {
    const char c = take(line);
    if (c == quote) {
      if (!line.empty() && !is_blank(line.front())) {
        throw std::invalid_argument("no blank behind a closing quote");
      }
      return;
    }
    word += begins_escape(c, quote, line) ? take_escape(line) : c;
  }
  throw std::invalid_argument("a quote is not closed");
}

std::string take_word(std::string_view& line) {
  std::string word;
  while (!line.empty() && !is_blank(line.front())) {
    const char c = take(line);
    if (c == '"' || c == '\'') {
      take_quoted(word, c, line);
      return word;
    }
    word += c;
  }
  return word;
}

}  // namespace

std::vector<std::string> split_words(std::string_view line) {
  std::vector<std::string> words;
  for (;;) {
    while (!line.empty() && is_blank(line.front())) {
      line.remove_prefix(1);
    }
    if (line.empty()) {
      return words;
    }
    words.push_back(take_word(line));
  }
}

}  // namespace redis_client
