// Delimiter: what a read_until waits for, kept for the next one, which mostly
// waits for the same.

#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace waterspout {

/// Up to seven bytes; of more it knows only that somebody else keeps them.
/// Empty at first.
class Delimiter {
 public:
  [[nodiscard]] static bool fits(std::string_view bytes) noexcept {
    return bytes.size() <= kAtMost;
  }

  void assign(std::string_view bytes) noexcept {
    if (fits(bytes)) {
      bytes.copy(bytes_.data(), bytes.size());
      size_ = static_cast<std::uint8_t>(bytes.size());
    } else {
      size_ = kLong;
    }
  }

  /// True if the bytes did not fit.
  [[nodiscard]] bool is_long() const noexcept { return size_ == kLong; }

  /// Requires: !is_long().
  [[nodiscard]] std::string_view view() const noexcept {
    return {bytes_.data(), size_};
  }

  /// Most are a line's end.
  [[nodiscard]] bool is_one_byte() const noexcept { return size_ == 1; }
  [[nodiscard]] bool is(char byte) const noexcept {
    return is_one_byte() && bytes_[0] == byte;
  }
  /// Requires: is_one_byte().
  [[nodiscard]] char byte() const noexcept { return bytes_[0]; }

 private:
  static constexpr std::size_t kAtMost = 7;
  static constexpr std::uint8_t kLong = 255;

  std::array<char, kAtMost> bytes_{};
  std::uint8_t size_ = 0;
};

}  // namespace waterspout
