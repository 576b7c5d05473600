// A mutex for sections of a few instructions.

#pragma once

#include <mutex>

namespace waterspout {

/// Who finds it taken tries again for about as long as such sections last,
/// before it waits in the kernel, which costs both threads many times more. For
/// std::lock_guard.
class BriefMutex {
 public:
  void lock() {
    for (int tries = 0; tries < kTries; ++tries) {
      if (mutex_.try_lock()) [[likely]] {
        return;
      }
    }
    mutex_.lock();
  }
  void unlock() { mutex_.unlock(); }

 private:
  static constexpr int kTries = 200;

  std::mutex mutex_;
};

}  // namespace waterspout
