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

  /// Holds a completion that is in no queue any more, and gives it back.
  class Owner {
   public:
    Owner(CompletionPool& pool, Completion* completion) noexcept
        : pool_(pool), completion_(completion) {}
    ~Owner() { pool_.give_back(completion_); }
    Owner(const Owner&) = delete;
    Owner& operator=(const Owner&) = delete;

    [[nodiscard]] Callback<void()>& callback() const noexcept {
      return completion_->callback;
    }

   private:
    CompletionPool& pool_;
    Completion* const completion_;
  };

  CompletionPool() = default;
  ~CompletionPool() {
    while (free_ != nullptr) {
      const std::unique_ptr<Completion> dying(free_);
      free_ = dying->next;
    }
  }

  CompletionPool(const CompletionPool&) = delete;
  CompletionPool& operator=(const CompletionPool&) = delete;

  [[nodiscard]] Completion* take(Callback<void()>&& callback,
                                 std::uint64_t position) {
    if (free_ == nullptr) [[unlikely]] {
      add_node();
    }
    Completion* const completion = free_;
    free_ = completion->next;
    --kept_;
    completion->callback = std::move(callback);
    completion->position = position;
    completion->next = nullptr;
    return completion;
  }

 private:
  [[gnu::noinline]] static void drop(Completion* completion) noexcept {
    const std::unique_ptr<Completion> dying(completion);
  }

  [[gnu::noinline]] void add_node() {
    free_ = std::make_unique<Completion>().release();
    ++kept_;
  }

  // Destroying the callback may run user code, so the node is kept out of the
  // pool until that is done.
  void give_back(Completion* completion) noexcept {
    completion->callback.reset();
    if (kept_ >= kKept) [[unlikely]] {
      drop(completion);
      return;
    }
    completion->next = std::exchange(free_, completion);
    ++kept_;
  }

  Completion* free_ = nullptr;
  std::size_t kept_ = 0;
};

}  // namespace waterspout
