#include <cmath>
#include <random>
#include <stdexcept>
#include <utility>

#include "waterspout/ioloop.h"

#include "loop/loop_core.h"
#include "loop/time_math.h"

namespace waterspout {

/// Lives on while its callback runs, whoever destroys the PeriodicCallback.
struct PeriodicCallback::State : std::enable_shared_from_this<State> {
  State(IOLoop& the_loop, Duration the_period, double the_jitter,
        Callback<void()> the_callback)
      : loop(the_loop),
        period(the_period),
        jitter(the_jitter),
        callback(std::move(the_callback)) {}

  [[nodiscard]] Duration draw_interval() {
    if (jitter == 0) {
      return period;
    }
    std::uniform_real_distribution<double> factor(1 - jitter / 2,
                                                  1 + jitter / 2);
    const double drawn = static_cast<double>(period.count()) * factor(random);
    return std::max(Duration(1), Duration(std::llround(drawn)));
  }

  // The first time on the grid that is still to come. Computed, not stepped:
  // the clock may have jumped by months.
  void advance() {
    const Duration interval = draw_interval();
    const Duration late = std::max(loop.time() - next, Duration::zero());
    const auto ticks = late / interval + 1;
    next = ticks > Duration::max() / interval ? TimePoint::max()
                                              : later(next, ticks * interval);
  }

  void schedule() {
    const NullContext outside;  // the callback brings its own
    auto tick = [self = weak_from_this()] {
      if (const auto state = self.lock()) {
        state->fire();
      }
    };
    timeout = loop.call_at(next, Callback<void()>(std::move(tick), Origin()));
  }

  void fire() {
    const auto run = generation;
    loop.core().run(callback, "PeriodicCallback");
    // Stopped, perhaps started anew, inside its callback otherwise.
    if (run == generation && running) {
      advance();
      schedule_anew();
    }
  }

  // Where there is no memory for that it has stopped, and the loop is told.
  void schedule_anew() {
    try {
      schedule();
    } catch (...) {
      running = false;
      throw;
    }
  }

  IOLoop& loop;
  const Duration period;
  const double jitter;
  Callback<void()> callback;
  std::minstd_rand random{std::random_device{}()};
  TimePoint next;
  TimeoutHandle timeout;
  std::uint64_t generation = 0;
  bool running = false;
};

PeriodicCallback::PeriodicCallback(IOLoop& loop, Duration period,
                                   Callback<void()> callback)
    : PeriodicCallback(loop, period, Options(), std::move(callback)) {}

PeriodicCallback::PeriodicCallback(IOLoop& loop, Duration period,
                                   Options options, Callback<void()> callback) {
  if (period <= Duration::zero()) {
    throw std::invalid_argument("PeriodicCallback: period: is not positive");
  }
  if (!(options.jitter >= 0 && options.jitter <= 1)) {
    throw std::invalid_argument("PeriodicCallback: jitter: not from 0 to 1");
  }
  if (!callback) {
    throw std::invalid_argument("PeriodicCallback: callback: is empty");
  }
  callback.set_operation("PeriodicCallback");
  state_ = std::make_shared<State>(loop, period, options.jitter,
                                   std::move(callback));
}

PeriodicCallback::~PeriodicCallback() { stop(); }

void PeriodicCallback::start() {
  if (is_running()) {
    return;
  }
  state_->running = true;
  ++state_->generation;
  state_->next = later(state_->loop.time(), state_->draw_interval());
  state_->schedule();
}

void PeriodicCallback::stop() noexcept {
  state_->running = false;
  ++state_->generation;
  state_->loop.remove_timeout(state_->timeout);
}

bool PeriodicCallback::is_running() const noexcept { return state_->running; }

}  // namespace waterspout
