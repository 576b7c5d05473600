// Delimiter: what a read_until waits for, kept for the next one, which mostly
// waits for the same.

#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace waterspout {

/// Some bytes, of which seven or fewer need no memory of their own. Empty at
/// first.
class Delimiter {
 public:
  void assign(std::string_view bytes) {
    if (bytes.size() == 1) {
      short_[0] = bytes.front();
      short_size_ = 1;
    } else {
      assign_sequence(bytes);
    }
  }

  [[nodiscard]] std::string_view view() const noexcept {
    return short_size_ == kLong ? std::string_view(*long_)
                                : std::string_view(short_.data(), short_size_);
  }
  [[nodiscard]] std::size_t size() const noexcept { return view().size(); }

  /// Most are a line's end.
  [[nodiscard]] bool is_one_byte() const noexcept { return short_size_ == 1; }
  [[nodiscard]] bool is(char byte) const noexcept {
    return is_one_byte() && short_[0] == byte;
  }
  /// Requires: is_one_byte().
  [[nodiscard]] char byte() const noexcept { return short_[0]; }

 private:
  static constexpr std::uint8_t kLong = 255;

  void assign_sequence(std::string_view bytes) {
    if (bytes.size() > short_.size()) {
      long_ = std::make_unique<const std::string>(bytes);
      short_size_ = kLong;
    } else {
      bytes.copy(short_.data(), bytes.size());
      short_size_ = static_cast<std::uint8_t>(bytes.size());
    }
  }

  std::unique_ptr<const std::string> long_;
  std::array<char, 7> short_{};
  std::uint8_t short_size_ = 0;
};

}  // namespace waterspout
