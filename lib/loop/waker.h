// Waker: ends the loop's wait from another thread or from a signal handler.

#pragma once

#include <optional>

#include "base/unique_fd.h"
#include "loop/event.h"

namespace waterspout {

/// An eventfd that is polled edge-triggered and, where the base can do that,
/// never read: a wake-up costs one write and one poll. Works whether or not
/// libevent's thread support is on.
class Waker {
 public:
  /// `target` is called on the loop after wake().
  /// Errors: throws std::system_error if the kernel refuses the descriptor.
  Waker(detail::LoopCore& core, Event::Target target);

  /// Thread: any; also for signal handlers.
  void wake() const noexcept;

  /// To be called by the target.
  void woken() const noexcept;

  /// Leaves the loop; wake() does nothing more, and is still safe.
  void stop() noexcept { event_.reset(); }

  [[nodiscard]] int fd() const noexcept { return fd_.get(); }

 private:
  UniqueFd fd_;
  bool edge_triggered_;
  std::optional<Event> event_;  // removed before its descriptor is closed
};

}  // namespace waterspout
