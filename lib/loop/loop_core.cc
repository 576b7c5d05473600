#include "loop/loop_core.h"

#include <cerrno>
#include <stdexcept>
#include <utility>

#include <unistd.h>

#include <event2/event.h>

#include "waterspout/error.h"

#include "base/throw_errno.h"
#include "context/backtrace.h"

namespace waterspout::detail {
namespace {

constexpr std::size_t kScratchSize = 65536;

// The loop whose turn it is on this thread.
[[gnu::tls_model(
    "initial-exec")]] constinit thread_local LoopCore* current_turn = nullptr;

// Only epoll: without a descriptor for it libevent would quietly fall back to
// poll(2), which is slow with many descriptors and polls closed ones for ever.
event_base* make_base() {
  const std::unique_ptr<event_config, void (*)(event_config*)> config(
      ::event_config_new(), ::event_config_free);
  if (!config) {
    throw std::bad_alloc();
  }
  ::event_config_avoid_method(config.get(), "poll");
  ::event_config_avoid_method(config.get(), "select");
  ::event_config_set_flag(config.get(), EVENT_BASE_FLAG_NOLOCK |
                                            EVENT_BASE_FLAG_IGNORE_ENV |
                                            EVENT_BASE_FLAG_NO_CACHE_TIME);
  errno = 0;
  event_base* const base = ::event_base_new_with_config(config.get());
  if (base == nullptr) {
    throw_errno(errno != 0 ? errno : ENOMEM, "IOLoop", "event_base");
  }
  return base;
}

}  // namespace

void LoopCore::BaseDeleter::operator()(event_base* base) const noexcept {
  if (owned) {
    ::event_base_free(base);
  }
}

LoopCore::LoopCore(IOLoop& loop, event_base* base, Clock clock, Logger logger)
    : loop_(loop),
      clock_(std::move(clock)),
      logger_(std::move(logger)),
      made_in_(::getpid()),
      made_on_(std::this_thread::get_id()),
      base_of_(made_in_),
      base_(base != nullptr ? base : make_base(), BaseDeleter{base == nullptr}),
      handlers_(*this),
      signals_(*this) {
  timer_.emplace(*this, Event::Timer{}, &LoopCore::on_timer, this);
  waker_.emplace(*this, &LoopCore::on_wake, this);
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
  if (::getpid() != made_in_) {
    throw std::logic_error(
        "start: the process was forked after the loop was made; make the loop "
        "in the child");
  }
}

void LoopCore::run() {
  check_can_run();
  if (stop_requested_.exchange(false)) {
    return;
  }
  struct Running {
    explicit Running(LoopCore& core) : core_(core) {
      core_.phase_ = Phase::running;
      core_.leaving_ = false;
    }
    ~Running() {
      core_.phase_ = Phase::idle;
      core_.stop_requested_ = false;
    }
    LoopCore& core_;
  };
  const Running running(*this);
  while (!leaving_ && poll_once()) {
    if (stop_requested_ && !leaving_) {
      const Turn turn(*this);
      run_phase();
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
  return clock_.advance ? poll_virtually() : poll_base(EVLOOP_ONCE);
}

bool LoopCore::poll_virtually() {
  const std::uint64_t turns_before = turns_;
  if (!poll_base(EVLOOP_ONCE | EVLOOP_NONBLOCK)) {
    return false;
  }
  if (turns_ != turns_before) {
    return true;
  }
  const std::optional<TimePoint> deadline = timeouts_.next_deadline();
  if (!deadline) {
    return poll_base(EVLOOP_ONCE);
  }
  if (time() < *deadline) {
    clock_.advance(*deadline);
  }
  const Turn turn(*this);
  run_phase();
  return true;
}

bool LoopCore::poll_base(int flags) {
  errno = 0;
  if (::event_base_loop(base(), flags | EVLOOP_NO_EXIT_ON_EMPTY) == -1) {
    if (errno != 0) {
      throw_errno(errno, "start", "event_base_loop");
    }
    throw std::logic_error("start: the loop's event_base is running already");
  }
  return ::event_base_got_break(base()) == 0 &&
         ::event_base_got_exit(base()) == 0;
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
}

// Everything dies in a state in which what its destructor calls is harmless:
// the phase is closed, so nothing new is taken.
void LoopCore::release_everything(bool close_fds) noexcept {
  separate_from_parent();
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
  if (borrowed() && !closed() && std::this_thread::get_id() == made_on_) {
    arm_timer_for(TimePoint::min());
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
  core.armed_for_ = TimePoint::min();
  core.timer_->activate();
}

void LoopCore::run_phase() noexcept {
  armed_for_.reset();
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
  if (!std::exchange(in_phase_, false) && callbacks_.wants_turn() &&
      armed_for_ != TimePoint::min()) {
    armed_for_ = TimePoint::min();
    timer_->activate();
  } else {
    arm_timer();
  }
}

void LoopCore::arm_timer() noexcept {
  if (closed()) {
    return;
  }
  if (callbacks_.wants_turn() || !tasks_.empty()) {
    arm_timer_for(TimePoint::min());
  } else if (const auto deadline = timeouts_.next_deadline()) {
    arm_timer_for(*deadline);
  } else if (armed_for_ && borrowed()) {
    // Or the base's loop would wait for nothing before it ends.
    armed_for_.reset();
    timer_->remove();
  }
}

// Armed only when it would fire too late: a timer that fires early costs one
// turn, and idle timeouts that move with every message would pay each time.
void LoopCore::arm_timer_for(TimePoint wanted) noexcept {
  if (armed_for_ && *armed_for_ <= wanted) {
    return;
  }
  armed_for_ = wanted;
  if (borrowed()) {
    // A borrowed base may add the delay to a clock that it read long ago.
    ::event_base_update_cache_time(base());
  }
  const TimePoint now = time();
  timer_->add_timer(wanted <= now ? Duration::zero() : wanted - now);
}

void LoopCore::report(const std::exception_ptr& exception,
                      const char* operation, Origin origin,
                      const ContextLink* context) noexcept {
  try {
    loop_.handle_callback_exception(
        {exception, operation, origin, describe_backtrace(context)});
  } catch (...) {
    logger_.log(LogLevel::error, LogCategory::application,
                "handle_callback_exception threw");
  }
}

void LoopCore::separate_from_parent() noexcept {
  const pid_t here = ::getpid();
  if (base_of_ != here) {
    base_of_ = here;
    ::event_reinit(base());
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
  if (core_.slow_threshold_ > Duration::zero()) {
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
