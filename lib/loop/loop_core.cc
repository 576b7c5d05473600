#include "loop/loop_core.h"

#include <stdexcept>
#include <utility>

#include "waterspout/error.h"

#include "context/backtrace.h"
#include "loop/open_loops.h"

namespace waterspout::detail {
namespace {

constexpr std::size_t kScratchSize = 65536;

// The loop whose turn it is on this thread.
[[gnu::tls_model(
    "initial-exec")]] constinit thread_local LoopCore* current_turn = nullptr;

}  // namespace

LoopCore::LoopCore(IOLoop& loop, event_base* base, Clock clock, Logger logger)
    : loop_(loop),
      clock_(std::move(clock)),
      logger_(std::move(logger)),
      base_(base),
      handlers_(*this),
      signals_(*this) {
  timer_.emplace(*this, &LoopCore::on_timer, this);
  waker_.emplace(*this, &LoopCore::on_wake, this);
  count_open_loop(true);
}

LoopCore::~LoopCore() { close(false); }

LoopCore::Turn::Turn(LoopCore& core) noexcept
    : core_(core), outer_(std::exchange(current_turn, &core)) {}

LoopCore::Turn::~Turn() {
  core_.finish_turn();
  current_turn = outer_;
}

bool LoopCore::in_turn() const noexcept { return current_turn == this; }

void LoopCore::check_can_run() const {
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
}

void LoopCore::run() {
  run_until([] { return false; });
}

void LoopCore::run_until(const std::function<bool()>& done) {
  check_can_run();
  if (stop_requested_.exchange(false)) {
    return;
  }
  struct Running {
    explicit Running(LoopCore& running_core) : core(running_core) {
      core.phase_ = Phase::running;
      core.leaving_ = false;
    }
    ~Running() {
      core.phase_ = Phase::idle;
      core.stop_requested_ = false;
    }
    Running(const Running&) = delete;
    Running& operator=(const Running&) = delete;
    LoopCore& core;
  };
  const Running running(*this);
  while (!leaving_ && poll_once()) {
    if (stop_requested_ && !leaving_) {
      const Turn turn(*this);
      run_phase();
    }
    if (done()) {
      return;
    }
  }
}

void LoopCore::stop() noexcept {
  stop_requested_ = true;
  if (!in_turn()) {
    waker_->wake();
  }
}

// False if the owner of the base has ended its loop.
bool LoopCore::poll_once() {
  return clock_.advance ? poll_virtually() : base_.poll(true);
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
  { const std::vector<Callback<void()>> dying = timeouts_.clear(); }
  handlers_.close(close_fds);
  signals_.close();
  waker_->stop();
  timer_.reset();
  base_.reset();
}

void LoopCore::add_callback(Callback<void()> callback) {
  if (!callback) {
    throw std::invalid_argument("add_callback: callback: is empty");
  }
  callback.set_operation("add_callback");
  if (in_turn()) {
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

bool LoopCore::add_from_signal(Callback<void()> callback) noexcept {
  if (!callback || closed() ||
      !callbacks_.add_from_signal(std::move(callback))) {
    return false;
  }
  waker_->wake();
  return true;
}

TimeoutHandle LoopCore::call_at(TimePoint deadline, Callback<void()> callback) {
  if (!callback) {
    throw std::invalid_argument("call_at: callback: is empty");
  }
  if (closed()) {
    return {};
  }
  callback.set_operation("call_at");
  const TimeoutHandle timeout = timeouts_.add(deadline, std::move(callback));
  if (!in_turn()) {
    arm_timer();
  }
  return timeout;
}

void LoopCore::remove_timeout(TimeoutHandle timeout) noexcept {
  const Callback<void()> dying = timeouts_.remove(timeout);
  if (!in_turn()) {
    arm_timer();
  }
}

bool LoopCore::move_timeout(TimeoutHandle timeout, TimePoint deadline) {
  const bool moved = timeouts_.move(timeout, deadline);
  if (moved && !in_turn()) {
    arm_timer();
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
  tasks_.push_back(client);
  if (!in_turn()) {
    arm_timer();
  }
}

std::span<char> LoopCore::scratch() {
  if (!scratch_) {
    scratch_ = std::make_unique_for_overwrite<char[]>(kScratchSize);
  }
  return {scratch_.get(), kScratchSize};
}

void LoopCore::on_timer(void* object, IOLoop::Events /*ready*/) noexcept {
  LoopCore& core = *static_cast<LoopCore*>(object);
  core.run_phase();
}

// What was queued from outside runs in this very pass; libevent counts a pass
// in which only internal events ran as none and would go on waiting.
void LoopCore::on_wake(void* object, IOLoop::Events /*ready*/) noexcept {
  LoopCore& core = *static_cast<LoopCore*>(object);
  core.waker_->woken();
  core.timer_->fire_now();
}

void LoopCore::run_phase() noexcept {
  timer_->fired();
  in_phase_ = true;
  signals_.run_pending();
  callbacks_.begin_batch();
  if (timeouts_.size() != 0) {
    timeouts_.collect_due(time());
  }
  while (Callback<void()> callback = callbacks_.take()) {
    run(callback, "add_callback");
  }
  while (Callback<void()> callback = timeouts_.take_due()) {
    run(callback, "call_at");
  }
  leaving_ = leaving_ || stop_requested_;
}

// Tasks that these tasks post wait for the next turn, before which the
// descriptors are polled; so do callbacks that a phase has added. Those that a
// handler has added get their phase at the end of this pass.
void LoopCore::finish_turn() noexcept {
  ++turns_;
  if (!tasks_.empty()) {
    IntrusiveList<LoopClient, TaskHook> tasks;
    tasks.take_all(tasks_);
    while (LoopClient* const client = tasks.pop_front()) {
      client->run_task();
    }
  }
  while (LoopClient* const client = outputs_.pop_front()) {
    client->send_gathered();
  }
  if (!std::exchange(in_phase_, false) && callbacks_.wants_turn()) {
    timer_->fire_now();
  } else {
    arm_timer();
  }
}

void LoopCore::arm_timer() noexcept {
  if (closed()) {
    return;
  }
  if (callbacks_.wants_turn() || !tasks_.empty()) {
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
  statistics.pooled_bytes = chunks_.kept_bytes();
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
    const auto milliseconds =
        std::chrono::duration_cast<std::chrono::milliseconds>(took).count();
    core_.logger_.log(LogLevel::warning, LogCategory::application,
                      std::string(operation_) + ": callback of " +
                          origin_.to_string() + ": took " +
                          std::to_string(milliseconds) + " ms");
  }
}

}  // namespace waterspout::detail
