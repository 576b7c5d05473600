// A clock that a test moves, and that jumps over a loop's waiting.

#pragma once

#include <chrono>
#include <memory>

#include "waterspout/ioloop.h"

namespace waterspout::test {

/// Virtual time. Copies share it.
class VirtualClock {
 public:
  /// What IOLoop::Options takes.
  [[nodiscard]] Clock clock() const {
    return {.now = [now = now_] { return *now; },
            .advance = [now = now_](TimePoint deadline) { *now = deadline; }};
  }

  [[nodiscard]] IOLoop::Options options() const {
    IOLoop::Options options;
    options.clock = clock();
    return options;
  }

  [[nodiscard]] TimePoint now() const { return *now_; }

  /// What has passed since the clock was made.
  [[nodiscard]] Duration elapsed() const { return *now_ - kStart; }

  /// Time that passes while a callback works; negative: the clock errs.
  void pass(Duration duration) { *now_ += duration; }

 private:
  static constexpr TimePoint kStart{std::chrono::hours{1000}};

  std::shared_ptr<TimePoint> now_ = std::make_shared<TimePoint>(kStart);
};

}  // namespace waterspout::test
