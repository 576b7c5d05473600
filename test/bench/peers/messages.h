// Where messages end in what has been received.

#pragma once

#include <cstddef>
#include <cstring>
#include <string_view>

namespace peers {

// In all of them the first `searched` bytes of `input` are known to hold no end
// of a message, and sizes include the end. None is there yet: 0.

/// Size of the first line.
inline std::size_t line_size(std::string_view input, std::size_t searched) {
  return input.find('\n', searched) + 1;  // npos + 1 is 0
}

/// Size of all whole lines together.
inline std::size_t lines_size(std::string_view input, std::size_t searched) {
  const void* const end =
      ::memrchr(input.data() + searched, '\n', input.size() - searched);
  return end == nullptr ? 0
                        : static_cast<std::size_t>(
                              static_cast<const char*>(end) - input.data()) +
                              1;
}

/// Size of the first head of an HTTP request. Three bytes of its end may have
/// been searched.
inline std::size_t head_size(std::string_view input, std::size_t searched) {
  constexpr std::string_view kEnd = "\r\n\r\n";
  const std::size_t end = input.find(kEnd, searched < 3 ? 0 : searched - 3);
  return end == std::string_view::npos ? 0 : end + kEnd.size();
}

}  // namespace peers
