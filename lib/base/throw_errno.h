// Turns errno into the exception of a failed system call.

#pragma once

#include <string>
#include <string_view>
#include <system_error>

namespace waterspout {

/// what() reads "operation: object: reason".
[[noreturn]] inline void throw_errno(int code, std::string_view operation,
                                     std::string_view object) {
  std::string what(operation);
  what.append(": ").append(object);
  throw std::system_error(code, std::generic_category(), what);
}

inline std::error_code errno_code(int code) noexcept {
  return {code, std::generic_category()};
}

}  // namespace waterspout
