// Arithmetic with times that ends at the end of the clock's range.

#pragma once

#include "waterspout/ioloop.h"

namespace waterspout {

/// `time` + `delay`, cut to the clock's range. Requires: `time` is not before
/// the clock's epoch.
inline TimePoint later(TimePoint time, Duration delay) noexcept {
  return delay < TimePoint::max() - time ? time + delay : TimePoint::max();
}

}  // namespace waterspout
