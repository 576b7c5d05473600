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
  Delimiter() = default;
  explicit Delimiter(std::string_view bytes) {
    if (bytes.size() > short_.size()) {
      long_ = std::make_unique<const std::string>(bytes);
    } else {
      bytes.copy(short_.data(), bytes.size());
      short_size_ = static_cast<std::uint8_t>(bytes.size());
    }
  }

  [[nodiscard]] std::string_view view() const noexcept {
    return long_ ? std::string_view(*long_)
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
  std::unique_ptr<const std::string> long_;
  std::array<char, 7> short_{};
  std::uint8_t short_size_ = 0;  // 0 also where it is long
};

}  // namespace waterspout
