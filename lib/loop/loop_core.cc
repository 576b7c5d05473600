#include "loop/loop_core.h"

#include <new>
#include <stdexcept>
#include <utility>

#include "waterspout/error.h"

#include "context/backtrace.h"
#include "loop/open_loops.h"

namespace waterspout::detail {
constinit thread_local LoopCore* current_turn = nullptr;

LoopCore::LoopCore(IOLoop& loop, event_base* base, Clock clock, Logger logger)
    : loop_(loop),
      clock_(std::move(clock)),
      logger_(std::move(logger)),
      base_(base),
      handlers_(*this),
      signals_(*this) {
  timer_.emplace(*this, Event::calling<&LoopCore::on_timer>(*this));
  waker_.emplace(*this, Event::calling<&LoopCore::on_wake>(*this));
  count_open_loop(true);
}

LoopCore::~LoopCore() { close(false); }

/// Between the start of the loop and its end.
class LoopCore::Running {
 public:
  explicit Running(LoopCore& core) : core_(core) {
    core_.phase_ = Phase::running;
    core_.leaving_ = false;
  }
  ~Running() {
    core_.phase_ = Phase::idle;
    core_.stop_requested_ = false;
    core_.phase_due_ = false;
    core_.arm_timer();
  }
  Running(const Running&) = delete;
  Running& operator=(const Running&) = delete;

 private:
  LoopCore& core_;
};

// False if it was stopped before.
bool LoopCore::begin_running() {
  if (closed()) {
    throw std::logic_error("start: the loop is closed");
  }
  if (running() || in_turn()) {
    throw std::logic_error("start: the loop is running already");
  }
  if (base_.in_forked_child()) {
    throw std::logic_error(
        "start: the process was forked after the loop was made; make the loop "
        "in the child");
  }
  return !stop_requested_.exchange(false);
}

void LoopCore::run() {
  if (clock_.advance) {
    run_until([] { return false; });
  } else if (begin_running()) {
    const Running running(*this);
    while (!leaving_ && (phase_due_ ? poll_and_run_phase() : base_.run())) {
    }
  }
}

void LoopCore::run_until(const std::function<bool()>& done) {
  if (!begin_running()) {
    return;
  }
  const Running running(*this);
  while (!leaving_ && poll_once() && !done()) {
  }
}

void LoopCore::stop() noexcept {
  stop_requested_ = true;
  if (in_turn()) {
    unsettled_ = true;
  } else {
    waker_->wake();
  }
}

// False if the owner of the base has ended its loop.
bool LoopCore::poll_once() {
  if (phase_due_) {
    return poll_and_run_phase();
  }
  return clock_.advance ? poll_virtually() : base_.poll(true);
}

// Where a phase has left callbacks for the next one: libevent's timer would
// cost more than all the rest.
bool LoopCore::poll_and_run_phase() {
  if (!base_.poll(false)) {
    return false;
  }
  {
    const Turn turn(*this);
    phase_due_ = false;
    run_phase();
  }
  return !base_.ended_by_owner();
}

bool LoopCore::poll_virtually() {
  const std::uint64_t turns_before = turns_;
  if (!base_.poll(false)) {
    return false;
  }
  if (turns_ != turns_before) {
    return true;
  }
  const std::optional<TimePoint> deadline = timeouts_.next_deadline();
  if (!deadline) {
    return base_.poll(true);
  }
  if (time() < *deadline) {
    clock_.advance(*deadline);
  }
  const Turn turn(*this);
  run_phase();
  return true;
}

void LoopCore::close(bool close_fds) {
  if (closed()) {
    return;
  }
  if (running() || in_turn()) {
    throw std::logic_error("close: the loop is running; stop it first");
  }
  phase_ = Phase::closed;
  release_everything(close_fds);
  count_open_loop(false);
}

// Everything dies in a state in which what its destructor calls is harmless:
// the phase is closed, so nothing new is taken.
void LoopCore::release_everything(bool close_fds) noexcept {
  base_.separate_from_parent();
  while (LoopClient* const client = clients_.pop_front()) {
    client->loop_closed();
  }
  callbacks_.close();
  while (timeouts_.take_any()) {
  }
  handlers_.close(close_fds);
  signals_.close();
  waker_->stop();
  timer_.reset();
  base_.reset();
}

void LoopCore::add_callback(Callback<void()>&& callback) {
  if (!callback) {
    throw std::invalid_argument("add_callback: callback: is empty");
  }
  callback.set_operation("add_callback");
  if (in_turn()) {
    unsettled_ = true;
    callbacks_.add_in_turn(std::move(callback));
  } else if (callbacks_.add_from_any_thread(std::move(callback))) {
    wake();
  }
}

// The waker does not keep a borrowed base from ending its loop, as the timer
// does, which only the loop's thread may touch.
void LoopCore::wake() noexcept {
  if (base_.borrowed() && base_.on_own_thread() && !closed()) {
    timer_->fire_next(base_);
  } else {
    waker_->wake();
  }
}

bool LoopCore::add_from_signal(Callback<void()>&& callback) noexcept {
  if (!callback || closed() || !callbacks_.add_from_signal(callback)) {
    return false;
  }
  waker_->wake();
  return true;
}

TimeoutHandle LoopCore::call_at(TimePoint deadline,
                                Callback<void()>&& callback) {
  if (!callback) {
    throw std::invalid_argument("call_at: callback: is empty");
  }
  if (closed()) {
    return {};
  }
  callback.set_operation("call_at");
  const TimeoutHandle timeout = timeouts_.add(deadline, std::move(callback));
  timer_is_stale();
  return timeout;
}

void LoopCore::remove_timeout(TimeoutHandle timeout) noexcept {
  const Callback<void()> dying = timeouts_.remove(timeout);
  timer_is_stale();
}

bool LoopCore::move_timeout(TimeoutHandle timeout, TimePoint deadline) {
  const bool moved = timeouts_.move(timeout, deadline);
  if (moved) {
    timer_is_stale();
  }
  return moved;
}

void LoopCore::add_signal_handler(int signum, Callback<void(int)> callback) {
  if (closed()) {
    throw std::logic_error("add_signal_handler: the loop is closed");
  }
  signals_.add(signum, waker_->fd(), std::move(callback));
}

void LoopCore::post_task(LoopClient& client) noexcept {
  agenda_.post_task(client);
  timer_is_stale();
}

// Inside a turn its end sees to it.
void LoopCore::timer_is_stale() noexcept {
  if (in_turn()) {
    unsettled_ = true;
  } else {
    arm_timer();
  }
}

void LoopCore::on_timer(IOLoop::Events /*ready*/) noexcept {
  timer_->fired();
  if (!phase_due_) {
    run_phase();
  }
}

// What was queued from outside runs in this very pass; libevent counts a pass
// in which only internal events ran as none and would go on waiting.
void LoopCore::on_wake(IOLoop::Events /*ready*/) noexcept {
  waker_->woken();
  timer_->fire_now();
}

void LoopCore::run_phase() noexcept {
  in_phase_ = true;
  unsettled_ = true;
  signals_.run_pending();
  callbacks_.begin_batch();
  const bool has_timeouts = timeouts_.size() != 0;
  if (has_timeouts) {
    timeouts_.collect_due(time());
  }
  while (Callback<void()>* const callback = callbacks_.next_in_batch()) {
    run_once(*callback, "add_callback");
  }
  if (has_timeouts) {
    run_due_timeouts();
  }
  leaving_ = leaving_ || stop_requested_;
}

void LoopCore::run_due_timeouts() noexcept {
  while (Callback<void()> callback = timeouts_.take_due()) {
    run_once(callback, "call_at");
  }
}

// What a turn leaves to its end. Tasks that these tasks post wait for the next
// turn, before which the descriptors are polled.
void LoopCore::settle() noexcept {
  agenda_.run();
  settle_timer();
  unsettled_ = false;
}

// Callbacks that a phase has added wait for the next turn; those that a handler
// has added get their phase at the end of this pass. Where run() is about to
// begin a phase by itself, no timer has to.
void LoopCore::settle_timer() noexcept {
  const bool after_phase = std::exchange(in_phase_, false);
  const bool wants_phase =
      after_phase ? !callbacks_.rest() : callbacks_.wants_turn();
  if (stop_requested_ && running()) {
    leave_or_run_phase();
  } else if (phase_due_) {
    return;
  } else if (wants_phase && !after_phase) {
    timer_->fire_now();
  } else if (wants_phase && running() && base_.leave()) {
    phase_due_ = true;
  } else {
    arm_timer();
  }
}

// What is ready in this pass is handled, and one phase runs, before the loop
// ends.
void LoopCore::leave_or_run_phase() noexcept {
  if (leaving_) {
    arm_timer();
    base_.leave();
  } else {
    timer_->fire_now();
  }
}

void LoopCore::arm_timer() noexcept {
  if (closed()) {
    return;
  }
  if (callbacks_.wants_turn() || agenda_.waits()) {
    timer_->fire_next(base_);
  } else if (const auto deadline = timeouts_.next_deadline()) {
    if (!timer_->fires_by(*deadline)) {
      timer_->fire_by(*deadline, time(), base_);
    }
  } else if (base_.borrowed()) {
    // Or the base's loop would wait for nothing before it ends.
    timer_->disarm();
  }
}

void LoopCore::report(const std::exception_ptr& exception,
                      const char* operation, Origin origin,
                      const ContextLink* context) noexcept {
  try {
    const CallbackFailure failure{exception, operation, origin,
                                  describe_backtrace(context)};
    try {
      loop_.handle_callback_exception(failure);
    } catch (...) {
      logger_.log(LogLevel::error, LogCategory::application,
                  "handle_callback_exception threw " +
                      describe_exception(std::current_exception()) +
                      ", told of: " + failure.to_string());
    }
  } catch (...) {
    logger_.log(LogLevel::error, LogCategory::application,
                "an exception in a callback cannot be told: out of memory");
  }
}

TimePoint LoopCore::time() const {
  return clock_.now ? clock_.now() : std::chrono::steady_clock::now();
}

IOLoop::Statistics LoopCore::statistics() {
  IOLoop::Statistics statistics;
  statistics.turns = turns_;
  statistics.callbacks = callbacks_.size();
  statistics.timeouts = timeouts_.size();
  statistics.handlers = handlers_.size();
  statistics.signal_handlers = signals_.size();
  statistics.streams = streams_;
  statistics.pooled_bytes = pools_.chunks.kept_bytes();
  return statistics;
}

LoopCore::SlowCallbackWatch::SlowCallbackWatch(LoopCore& core,
                                               const char* operation,
                                               Origin origin) noexcept
    : core_(core), operation_(operation), origin_(origin) {
  // The library's own callbacks have no origin; what they run has.
  if (core_.slow_threshold_ > Duration::zero() && origin_) {
    began_ = core_.time();
  }
}

LoopCore::SlowCallbackWatch::~SlowCallbackWatch() {
  if (!began_) {
    return;
  }
  const Duration took = core_.time() - *began_;
  if (took >= core_.slow_threshold_) {
    tell(took);
  }
}

void LoopCore::SlowCallbackWatch::tell(Duration took) const noexcept {
  const auto milliseconds =
      std::chrono::duration_cast<std::chrono::milliseconds>(took).count();
  try {
    core_.logger_.log(LogLevel::warning, LogCategory::application,
                      std::string(operation_) + ": callback of " +
                          origin_.to_string() + ": took " +
                          std::to_string(milliseconds) + " ms");
  } catch (const std::bad_alloc&) {
    core_.logger_.log(
        LogLevel::warning, LogCategory::application,
        "a callback was slow, which cannot be told: out of memory");
  }
}

}  // namespace waterspout::detail
