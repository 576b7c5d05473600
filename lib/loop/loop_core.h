// LoopCore: what an IOLoop is made of, and what the rooms above use of it.

#pragma once

#include <atomic>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "waterspout/ioloop.h"

#include "base/block_pool.h"
#include "loop/agenda.h"
#include "loop/base_holder.h"
#include "loop/callback_queue.h"
#include "loop/event.h"
#include "loop/handler_table.h"
#include "loop/loop_client.h"
#include "loop/signal_handlers.h"
#include "loop/stream_pools.h"
#include "loop/timeout_queue.h"
#include "loop/turn_timer.h"
#include "loop/waker.h"

namespace waterspout::detail {

class LoopCore;

/// The loop whose turn it is on this thread.
extern constinit thread_local LoopCore* current_turn
    [[gnu::tls_model("initial-exec")]];

/// One turn: whatever libevent calls, runs inside a Turn. The parts of a turn
/// are numbered in docs/architecture.md.
class LoopCore {
 public:
  /// `base` null: one of its own.
  LoopCore(IOLoop& loop, event_base* base, Clock clock, Logger logger);
  ~LoopCore();

  LoopCore(const LoopCore&) = delete;
  LoopCore& operator=(const LoopCore&) = delete;

  /// Surrounds everything that runs on the loop; its end runs posted tasks,
  /// sends gathered output and arms the timer.
  class Turn {
   public:
    explicit Turn(LoopCore& core) noexcept
        : core_(core), outer_(std::exchange(current_turn, &core)) {}
    ~Turn() {
      core_.finish_turn();
      current_turn = outer_;
    }
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;

   private:
    LoopCore& core_;
    LoopCore* const outer_;
  };

  /// True inside a turn of this loop, on the thread that it runs on.
  [[nodiscard]] bool in_turn() const noexcept { return current_turn == this; }

  // The loop's life.
  void run();
  /// As run(), also until `done()` holds, which is asked after every pass over
  /// the descriptors, outside of turns.
  void run_until(const std::function<bool()>& done);
  void stop() noexcept;
  void close(bool close_fds);
  [[nodiscard]] bool closed() const noexcept { return phase_ == Phase::closed; }
  [[nodiscard]] bool running() const noexcept {
    return phase_ == Phase::running;
  }

  // What users queue; see IOLoop.
  void add_callback(Callback<void()>&& callback);
  bool add_from_signal(Callback<void()>&& callback) noexcept;
  TimeoutHandle call_at(TimePoint deadline, Callback<void()>&& callback);
  void remove_timeout(TimeoutHandle timeout) noexcept;
  bool move_timeout(TimeoutHandle timeout, TimePoint deadline);
  void add_signal_handler(int signum, Callback<void(int)> callback);
  [[nodiscard]] HandlerTable& handlers() noexcept { return handlers_; }
  [[nodiscard]] SignalHandlers& signals() noexcept { return signals_; }

  // What streams use.
  void add_client(LoopClient& client) noexcept { clients_.push_back(client); }
  /// See IntrusiveList.
  template <class Function>
  void for_each_client(Function function) const {
    clients_.for_each(function);
  }
  void post_task(LoopClient& client) noexcept;
  /// Requires: in_turn().
  void send_at_end(LoopClient& client) noexcept {
    agenda_.send_at_end(client);
    unsettled_ = true;
  }
  [[nodiscard]] BlockPool& blocks() noexcept { return blocks_; }
  [[nodiscard]] StreamPools& pools() noexcept { return pools_; }
  void count_stream(bool opened) noexcept {
    streams_ += opened ? 1U : std::size_t(-1);
  }

  /// Calls user code. Returns what it throws, null if that is nothing.
  /// `operation` names what the callback was registered with.
  template <class... Args>
  std::exception_ptr call(Callback<void(Args...)>& callback,
                          const char* operation, Args... args) noexcept {
    if (slow_threshold_ > Duration::zero()) [[unlikely]] {
      return watched_call<Args...>(callback, operation,
                                   std::forward<Args>(args)...);
    }
    return caught([&] { callback(std::forward<Args>(args)...); });
  }

  /// The same by Callback::call_once.
  template <class... Args>
  std::exception_ptr call_once(Callback<void(Args...)>& callback,
                               const char* operation, Args... args) noexcept {
    if (slow_threshold_ > Duration::zero()) [[unlikely]] {
      Callback<void(Args...)> taken(std::move(callback));
      return watched_call<Args...>(taken, operation,
                                   std::forward<Args>(args)...);
    }
    return caught([&] { callback.call_once(std::forward<Args>(args)...); });
  }

  /// Tells IOLoop::handle_callback_exception.
  void report(const std::exception_ptr& exception, const char* operation,
              Origin origin, const ContextLink* context) noexcept;

  /// call() and, where something was thrown, report().
  template <class... Args>
  void run(Callback<void(Args...)>& callback, const char* operation,
           Args... args) noexcept {
    if (const auto exception =
            call(callback, operation, std::forward<Args>(args)...)) {
      report(exception, operation, callback.origin(), callback.context());
    }
  }

  /// As run(), for a callback that is called this once: empties it, and
  /// destroys what it held when that has run.
  void run_once(Callback<void()>& callback, const char* operation) noexcept {
    if (callback.context() != nullptr) [[unlikely]] {
      Callback<void()> taken(std::move(callback));
      run(taken, operation);
      return;
    }
    const Origin origin = callback.origin();
    if (const auto exception = call_once(callback, operation)) [[unlikely]] {
      report(exception, operation, origin, nullptr);
    }
  }

  /// See BaseHolder.
  void separate_from_parent() noexcept { base_.separate_from_parent(); }

  [[nodiscard]] TimePoint time() const;
  [[nodiscard]] event_base* base() const noexcept { return base_.get(); }
  [[nodiscard]] IOLoop& loop() const noexcept { return loop_; }
  [[nodiscard]] Logger& logger() noexcept { return logger_; }
  [[nodiscard]] LoopCore& loop_core() noexcept { return *this; }
  [[nodiscard]] IOLoop::Statistics statistics();
  /// How many turns there were, with the one that is under way.
  [[nodiscard]] std::uint64_t turns() const noexcept { return turns_; }
  void set_slow_callback_threshold(Duration threshold) noexcept {
    slow_threshold_ = threshold;
  }

 private:
  enum class Phase { idle, running, closed };

  /// Logs a callback that took too long; costs one comparison while off.
  class SlowCallbackWatch {
   public:
    SlowCallbackWatch(LoopCore& core, const char* operation,
                      Origin origin) noexcept;
    ~SlowCallbackWatch();
    SlowCallbackWatch(const SlowCallbackWatch&) = delete;
    SlowCallbackWatch& operator=(const SlowCallbackWatch&) = delete;

   private:
    void tell(Duration took) const noexcept;

    LoopCore& core_;
    const char* const operation_;
    const Origin origin_;
    std::optional<std::chrono::steady_clock::time_point> began_;
  };

  class Running;

  // The one place where an exception of a callback is caught.
  template <class Function>
  static std::exception_ptr caught(Function function) noexcept {
    try {
      function();
      return nullptr;
    } catch (...) {
      return std::current_exception();
    }
  }

  template <class... Args>
  [[gnu::noinline]] std::exception_ptr watched_call(
      Callback<void(Args...)>& callback, const char* operation,
      Args... args) noexcept {
    const SlowCallbackWatch watch(*this, operation, callback.origin());
    return caught([&] { callback(std::forward<Args>(args)...); });
  }

  void on_timer(IOLoop::Events ready) noexcept;
  void on_wake(IOLoop::Events ready) noexcept;

  [[nodiscard]] bool begin_running();
  bool poll_once();
  bool poll_and_run_phase();
  bool poll_virtually();
  void run_phase() noexcept;
  void run_due_timeouts() noexcept;
  void finish_turn() noexcept {
    ++turns_;
    if (unsettled_) [[unlikely]] {
      settle();
    }
  }
  void settle() noexcept;
  void settle_timer() noexcept;
  void leave_or_run_phase() noexcept;
  void wake() noexcept;
  void timer_is_stale() noexcept;
  void arm_timer() noexcept;
  void release_everything(bool close_fds) noexcept;

  IOLoop& loop_;
  const Clock clock_;
  Logger logger_;
  BaseHolder base_;
  BlockPool blocks_;
  StreamPools pools_;
  CallbackQueue callbacks_;
  TimeoutQueue timeouts_;
  HandlerTable handlers_;
  SignalHandlers signals_;
  IntrusiveList<LoopClient, ClientHook> clients_;
  Agenda agenda_;
  std::optional<TurnTimer> timer_;
  std::optional<Waker> waker_;

  std::atomic<Phase> phase_ = Phase::idle;  // read by add_from_signal too
  bool leaving_ = false;    // a phase has run since stop() was asked for
  bool in_phase_ = false;   // this turn has run one
  bool phase_due_ = false;  // run() begins one after its next poll
  // Tasks or output wait, or the timer may have to fire at another time.
  bool unsettled_ = false;
  std::atomic<bool> stop_requested_ = false;
  Duration slow_threshold_ = Duration::zero();
  std::uint64_t turns_ = 0;
  std::size_t streams_ = 0;
};

}  // namespace waterspout::detail

// The object may be destroyed by what its handler does, so its loop is asked
// for first.
template <auto Handler, class Object>
void waterspout::Event::dispatch(int /*fd*/, short what,
                                 void* object) noexcept {
  auto& target = *static_cast<Object*>(object);
  const detail::LoopCore::Turn turn(target.loop_core());
  (target.*Handler)(from_libevent(what));
}
