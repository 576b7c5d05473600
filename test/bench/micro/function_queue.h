// What users of libraries in C write themselves: a queue of functions, beside
// the one that the library wakes them with.

#pragma once

#include <functional>
#include <mutex>
#include <utility>
#include <vector>

namespace micro {

/// For the loop's thread.
class FunctionQueue {
 public:
  /// True if it was empty.
  template <class Function>
  bool push(Function&& function) {
    queued_.emplace_back(std::forward<Function>(function));
    return queued_.size() == 1;
  }

  /// Runs what is queued now; what that adds waits for the next call.
  void run() {
    running_.swap(queued_);
    for (const std::function<void()>& function : running_) {
      function();
    }
    running_.clear();
  }

  /// Takes what `other` holds. Requires: this one is empty.
  void take(FunctionQueue& other) { queued_.swap(other.queued_); }

  [[nodiscard]] bool empty() const noexcept { return queued_.empty(); }

 private:
  std::vector<std::function<void()>> queued_;
  std::vector<std::function<void()>> running_;
};

/// Filled by any thread, emptied by the loop's.
class SharedFunctionQueue {
 public:
  /// True if it was empty, so that the loop must be woken.
  template <class Function>
  bool push(Function&& function) {
    const std::lock_guard lock(mutex_);
    return queue_.push(std::forward<Function>(function));
  }

  void run() {
    {
      const std::lock_guard lock(mutex_);
      taken_.take(queue_);
    }
    taken_.run();
  }

 private:
  std::mutex mutex_;
  FunctionQueue queue_;  // under mutex_
  FunctionQueue taken_;
};

}  // namespace micro
