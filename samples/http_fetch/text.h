// The few questions about characters that HTTP asks. They ignore the locale,
// which <cctype> does not.

#pragma once

#include <algorithm>
#include <string>
#include <string_view>

namespace http_fetch {

inline bool is_digit(char c) { return c >= '0' && c <= '9'; }

inline bool is_letter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

inline bool is_blank(char c) { return c == ' ' || c == '\t'; }

inline char lower_case(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

inline std::string lower_case(std::string_view text) {
  std::string result(text);
  for (char& c : result) {
    c = lower_case(c);
  }
  return result;
}

inline bool same_ignoring_case(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](char x, char y) {
    return lower_case(x) == lower_case(y);
  });
}

/// `text` without the spaces and tabs around it.
inline std::string_view trim(std::string_view text) {
  while (!text.empty() && is_blank(text.front())) {
    text.remove_prefix(1);
  }
  while (!text.empty() && is_blank(text.back())) {
    text.remove_suffix(1);
  }
  return text;
}

}  // namespace http_fetch
