// TurnTimer: the one libevent timer of a loop, which begins its phases.

#pragma once

#include <optional>

#include "loop/base_holder.h"
#include "loop/event.h"

namespace waterspout {

/// Asked to fire by a time; fires then or earlier, so that asking for a later
/// time costs nothing.
class TurnTimer {
 public:
  TurnTimer(detail::LoopCore& core, Event::Target target) noexcept
      : event_(core, Event::Timer{}, target) {}

  [[nodiscard]] bool fires_by(TimePoint deadline) const noexcept {
    return armed_for_ && *armed_for_ <= deadline;
  }

  /// Requires: !fires_by(deadline); `now` is the loop's time.
  void fire_by(TimePoint deadline, TimePoint now, BaseHolder& base) noexcept {
    armed_for_ = deadline;
    base.refresh_clock();
    event_.add_timer(deadline <= now ? Duration::zero() : deadline - now);
    if (!event_.added()) [[unlikely]] {
      fire_now();  // too early, and then it is asked for anew
    }
  }

  /// Fires after the next poll.
  void fire_next(BaseHolder& base) noexcept {
    if (!fires_by(TimePoint::min())) {
      fire_by(TimePoint::min(), TimePoint::min(), base);
    }
  }

  /// Fires in this pass of the base's loop, without a poll before it.
  void fire_now() noexcept {
    if (armed_for_ != TimePoint::min()) {
      armed_for_ = TimePoint::min();
      event_.activate();
    }
  }

  /// To be called when it has fired.
  void fired() noexcept { armed_for_.reset(); }

  /// Fires no more until it is asked to.
  void disarm() noexcept {
    if (armed_for_) {
      armed_for_.reset();
      event_.remove();
    }
  }

 private:
  Event event_;
  std::optional<TimePoint> armed_for_;  // TimePoint::min(): at once
};

}  // namespace waterspout
