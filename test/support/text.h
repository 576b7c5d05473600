// What tests ask of texts, and of what was thrown.

#pragma once

#include <string>
#include <string_view>

namespace waterspout::test {

inline bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

/// What `function` throws, as text; "" if it does not.
template <class Error, class Function>
std::string failure_of(Function function) {
  try {
    static_cast<void>(function());
  } catch (const Error& failure) {
    return failure.what();
  }
  return "";
}

}  // namespace waterspout::test
