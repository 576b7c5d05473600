// Scratch: the memory in which a loop receives input and gathers output while
// it handles one event. All streams of a loop share it, so that an idle one
// owns none.

#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

namespace waterspout {

/// Two buffers, made when they are first wanted. What lies in them is good
/// until the next event is handled.
class Scratch {
 public:
  static constexpr std::size_t kInputSize = std::size_t{128} * 1024;
  static constexpr std::size_t kOutputSize = std::size_t{64} * 1024;

  /// Errors: throws std::bad_alloc.
  [[nodiscard]] std::span<char> input() {
    if (!input_) [[unlikely]] {
      input_ = std::make_unique_for_overwrite<Block<kInputSize>>();
    }
    return input_->bytes;
  }
  [[nodiscard]] std::span<char> output() {
    if (!output_) [[unlikely]] {
      output_ = std::make_unique_for_overwrite<Block<kOutputSize>>();
    }
    return output_->bytes;
  }

  /// True if `data`, which is not empty, lies in the input.
  [[nodiscard]] bool holds_input(std::string_view data) const noexcept {
    const auto offset = reinterpret_cast<std::uintptr_t>(data.data()) -
                        reinterpret_cast<std::uintptr_t>(input_.get());
    return offset < kInputSize;
  }

 private:
  // From the beginning of a page, where senders' bytes tend to begin too: AMD's
  // processors copy twenty times slower to what lies 1 to 31 bytes further into
  // its page than the source does, and that is where malloc(3) puts a large
  // block. What lies behind the bytes is nobody's: nobody's data begins where
  // they end.
  template <std::size_t Size>
  struct alignas(4096) Block {
    char bytes[Size];
    char gap;
  };

  std::unique_ptr<Block<kInputSize>> input_;
  std::unique_ptr<Block<kOutputSize>> output_;
};

}  // namespace waterspout
