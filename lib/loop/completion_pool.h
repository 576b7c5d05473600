// Completions: callbacks that wait for a position in a stream of bytes, in
// nodes that are kept for reuse.

#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

#include "waterspout/callback.h"

namespace waterspout {

struct Completion {
  Callback<void()> callback;
  std::uint64_t position = 0;
  Completion* next = nullptr;
};

/// One for each loop, so that a stream in its steady state allocates nothing
/// for its completions, and an idle one holds none. Outlives its completions.
class CompletionPool {
 public:
  static constexpr std::size_t kKept = 1024;

  CompletionPool() = default;
  ~CompletionPool() {
    while (free_ != nullptr) {
      const std::unique_ptr<Completion> dying(free_);
      free_ = dying->next;
    }
  }

  CompletionPool(const CompletionPool&) = delete;
  CompletionPool& operator=(const CompletionPool&) = delete;

  [[nodiscard]] Completion* take(Callback<void()> callback,
                                 std::uint64_t position) {
    if (free_ == nullptr) {
      return std::make_unique<Completion>(
                 Completion{std::move(callback), position, nullptr})
          .release();
    }
    Completion* const completion = free_;
    free_ = completion->next;
    --kept_;
    completion->callback = std::move(callback);
    completion->position = position;
    completion->next = nullptr;
    return completion;
  }

  /// The callback, and the node goes back.
  Callback<void()> give_back(Completion* completion) noexcept {
    Callback<void()> callback = std::move(completion->callback);
    if (kept_ == kKept) {
      const std::unique_ptr<Completion> dying(completion);
    } else {
      completion->next = std::exchange(free_, completion);
      ++kept_;
    }
    return callback;
  }

 private:
  Completion* free_ = nullptr;
  std::size_t kept_ = 0;
};

}  // namespace waterspout
