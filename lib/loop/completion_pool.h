// Completions: callbacks that wait for a position in a stream of bytes, in
// nodes that are kept for reuse.

#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

#include "waterspout/callback.h"

namespace waterspout {

class CompletionPool;

struct Completion {
  explicit Completion(CompletionPool& of) noexcept : pool(of) {}

  Callback<void()> callback;
  std::uint64_t position = 0;
  Completion* next = nullptr;
  CompletionPool& pool;
};

/// One for each loop, so that a stream in its steady state allocates nothing
/// for its completions, and an idle one holds none. Outlives its completions.
class CompletionPool {
 public:
  // So many are kept however many there were at once.
  static constexpr std::size_t kKept = 1024;

  /// Holds a completion that is in no queue any more, and gives it back.
  class Owner {
   public:
    explicit Owner(Completion* completion) noexcept : completion_(completion) {}
    ~Owner() { completion_->pool.give_back(completion_); }
    Owner(const Owner&) = delete;
    Owner& operator=(const Owner&) = delete;

    [[nodiscard]] Callback<void()>& callback() const noexcept {
      return completion_->callback;
    }

   private:
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

  /// A completion whose callback is empty, for `position`.
  /// Errors: throws std::bad_alloc.
  [[nodiscard]] Completion* take(std::uint64_t position) {
    make_room();
    return take_kept(position);
  }

  /// Makes sure that keeps_any(). Errors: throws std::bad_alloc.
  void make_room() {
    if (free_ == nullptr) [[unlikely]] {
      add_node();
    }
  }

  [[nodiscard]] bool keeps_any() const noexcept { return free_ != nullptr; }

  /// The same. Requires: keeps_any().
  [[nodiscard]] Completion* take_kept(std::uint64_t position) noexcept {
    Completion* const completion = free_;
    free_ = completion->next;
    completion->position = position;
    completion->next = nullptr;
    return completion;
  }

  [[nodiscard]] bool keeps_all() const noexcept { return made_ <= kKept; }

  /// Takes a completion back whose callback is the caller's to call once,
  /// before anything else is taken. Requires: keeps_all().
  void put_back(Completion* completion) noexcept {
    completion->next = std::exchange(free_, completion);
  }

 private:
  [[gnu::noinline]] void drop(Completion* completion) noexcept {
    const std::unique_ptr<Completion> dying(completion);
    --made_;
  }

  [[gnu::noinline]] void add_node() {
    free_ = std::make_unique<Completion>(*this).release();
    ++made_;
  }

  // Destroying the callback may run user code, so the node is kept out of the
  // pool until that is done.
  void give_back(Completion* completion) noexcept {
    completion->callback.reset();
    if (!keeps_all()) [[unlikely]] {
      drop(completion);
      return;
    }
    put_back(completion);
  }

  Completion* free_ = nullptr;
  std::size_t made_ = 0;  // and not dropped
};

}  // namespace waterspout
