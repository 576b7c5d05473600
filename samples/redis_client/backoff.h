// How long to wait before trying again.

#pragma once

#include <algorithm>
#include <random>

#include "waterspout/ioloop.h"

namespace redis_client {

/// Delays that double from one attempt to the next, up to a bound, and of which
/// chance takes up to a half: so that the clients of a server that comes back
/// do not come all at once.
class Backoff {
 public:
  using Duration = waterspout::Duration;

  /// Both are positive.
  Backoff(Duration first, Duration longest)
      : first_(first), longest_(longest), next_(std::min(first, longest)) {}

  [[nodiscard]] Duration next() {
    const Duration delay = next_;
    next_ = delay < longest_ / 2 ? delay * 2 : longest_;
    std::uniform_int_distribution<Duration::rep> part(delay.count() / 2,
                                                      delay.count());
    return Duration(part(random_));
  }

  /// It has worked: begins anew.
  void reset() noexcept { next_ = std::min(first_, longest_); }

 private:
  const Duration first_;
  const Duration longest_;
  Duration next_;
  std::minstd_rand random_{std::random_device{}()};
};

}  // namespace redis_client
