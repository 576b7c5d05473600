// IOLoop: the event loop, on libevent's event_base.
//
//   waterspout::IOLoop loop;
//   loop.call_later(1s, [&] { std::puts("a second later"); loop.stop(); });
//   loop.start();
//
// Floor 2, loop. Start here, then read iostream.h.
//
// A loop and everything on it (streams, timeouts, handlers) belong to one
// thread: the one that runs it. IOLoop::add_callback, IOLoop::stop and
// IOLoop::add_callback_from_signal are for any thread; the last for signal
// handlers too. No two loops share anything.

#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>

#include "waterspout/callback.h"
#include "waterspout/export.h"
#include "waterspout/log.h"
#include "waterspout/origin.h"
#include "waterspout/stack_context.h"

struct event_base;

namespace waterspout {

namespace detail {
class LoopCore;
class SyncRun;
class TimeoutQueue;
}  // namespace detail

/// A moment on a loop's clock: steady, never the wall clock.
using TimePoint = std::chrono::steady_clock::time_point;
using Duration = std::chrono::nanoseconds;

/// Where a loop reads the time. Replace it to run a whole program in virtual
/// time.
struct Clock {
  /// The time now; never goes back. Empty: std::chrono::steady_clock.
  std::function<TimePoint()> now;

  /// Makes time virtual: where the loop would wait for its next timeout and no
  /// descriptor is ready, it calls this with the timeout's deadline instead,
  /// after which now() must have reached it. Empty: the loop waits.
  std::function<void(TimePoint deadline)> advance;
};

/// A timeout of one loop. A value: copies name the same timeout; after it has
/// fired or was removed they name nothing, for ever.
class TimeoutHandle {
 public:
  TimeoutHandle() noexcept = default;

  /// True if it was made by a loop, whether or not it has fired since.
  explicit operator bool() const noexcept { return id_ != 0; }

 private:
  friend class detail::TimeoutQueue;
  TimeoutHandle(std::uint32_t slot, std::uint64_t id) noexcept
      : id_(id), slot_(slot) {}

  std::uint64_t id_ = 0;
  std::uint32_t slot_ = 0;
};

/// An exception that left a callback and that no context handled.
struct CallbackFailure {
  std::exception_ptr exception;
  /// What the callback was registered with ("read_until") and where.
  std::string operation;
  Origin origin;
  /// The chain of registrations that led to it, itself the first; empty unless
  /// stack_context::set_async_backtrace is on.
  std::string backtrace;

  /// The whole in a line: "Exception in callback read_until at fetch.cc:41,
  /// from connect at fetch.cc:30: std::out_of_range: map::at".
  [[nodiscard]] WATERSPOUT_API std::string to_string() const;
};

/// An event loop on libevent's event_base, its own or a borrowed one.
///
/// Life: constructed -> (start -> stop) any number of times -> closed, by
/// close() or by the destructor.
///
/// One turn of the loop: ready descriptors are handled; then callbacks, as many
/// as were queued when their phase began; then timeouts that were due when the
/// phase began, in the order of their deadlines and, where these are equal, of
/// adding. What is added meanwhile waits for the next turn, before which the
/// descriptors are polled: nothing starves anything.
///
/// A callback that throws ends neither the loop nor the turn: see
/// handle_callback_exception.
///
/// Tornado: IOLoop of 4.5, with the differences named at each function.
class WATERSPOUT_API IOLoop {
 public:
  /// Interest in, and readiness of, a descriptor: a union of READ and WRITE.
  /// An error or a hang-up shows as those of the two that were asked for, so
  /// the next read or write tells it. Tornado: READ, WRITE; its ERROR has no
  /// counterpart in libevent.
  using Events = unsigned;
  static constexpr Events READ = 1;
  static constexpr Events WRITE = 4;

  using HandlerCallback = Callback<void(int fd, Events events)>;

  enum class MakeCurrent {
    if_unset,  ///< becomes the thread's current loop if it has none
    always,    ///< throws std::logic_error if the thread has one
    never,
  };

  struct Options {
    MakeCurrent make_current = MakeCurrent::if_unset;
    Clock clock = {};
    Logger logger = {};
  };

  /// A loop on an event_base of its own.
  /// Errors: throws std::system_error if the kernel refuses a descriptor;
  ///   std::logic_error for MakeCurrent::always where a loop is current.
  IOLoop();
  explicit IOLoop(Options options);

  /// A loop on `base`, which somebody else owns and may go on dispatching; that
  /// runs this loop too, and start() is not needed then. All that the library
  /// puts on the base are ordinary events, which are gone when the loop is.
  /// They keep event_base_dispatch from returning while something is pending: a
  /// callback, a timeout, a handler, a stream's operation or output that
  /// lingers after its close, or an open stream that has been read from; but
  /// not for signal handlers, nor for a callback that another thread or a
  /// signal handler has queued before the base is dispatched.
  ///
  /// Lifetime: `base` outlives the loop; neither thread support nor log hooks
  ///   nor signal handlers of libevent are touched.
  /// Thread: the one that dispatches the base.
  /// Errors: also throws std::invalid_argument if `base` is null.
  explicit IOLoop(event_base* base);
  IOLoop(event_base* base, Options options);

  /// As close(). Must not run inside a callback of this loop (aborts).
  virtual ~IOLoop();

  IOLoop(const IOLoop&) = delete;
  IOLoop& operator=(const IOLoop&) = delete;

  /// The thread's current loop, else instance().
  static IOLoop& current();

  /// The thread's current loop, else null. Tornado: current(instance=False).
  [[nodiscard]] static IOLoop* current_or_null() noexcept;

  /// The process's one shared loop, made at the first call and never closed.
  /// Kept for those who expect it; a loop passed as a parameter is better.
  /// Thread: any; the loop then belongs to the thread that runs it.
  static IOLoop& instance();

  /// True if instance() has been called. Thread: any.
  [[nodiscard]] static bool initialized() noexcept;

  /// Makes this the calling thread's current loop. start() does so for its
  /// duration and then restores the one before.
  void make_current() noexcept;

  /// Leaves the calling thread without a current loop.
  static void clear_current() noexcept;

  /// Runs the loop until stop().
  ///
  /// If stop() was called before, returns at once and has run nothing. The
  /// loop does not return for want of work. Where the base was borrowed, it
  /// returns also when its owner breaks or exits the base's loop.
  ///
  /// Errors: throws std::logic_error if this loop runs already, or its base
  ///   does, or it is closed, or the process was forked since it was made;
  ///   std::system_error if the poll itself fails.
  void start();

  /// Makes start() return. From a callback: the callbacks and timeouts of this
  /// phase still run. From a descriptor's handler: the other ready handlers
  /// run, then one more phase of callbacks and timeouts. What that phase adds
  /// waits for the next start(). Without a running start(), the next one
  /// returns at once. It never ends a loop that the base's owner dispatches.
  ///
  /// Thread: any. For signal handlers: add_callback_from_signal.
  void stop();

  /// Calls `function(done)` on the loop, and runs the loop until `done()` is
  /// called.
  ///
  ///   loop.run_sync([&](std::function<void()> done) {
  ///     stream->connect(address, std::move(done));
  ///   }, 5s);
  ///
  /// `done` may be copied; calls after the first, and after run_sync has
  /// returned, do nothing.
  /// Errors: what `function` throws, now or in any callback that was started
  ///   inside it, is thrown from here. Throws TimeoutError after `timeout`
  ///   (zero or less: none), and std::logic_error as start() does, or if the
  ///   loop was stopped before `done` was called.
  /// Tornado: run_sync(func, timeout), with a callback for the Future.
  template <class Function>
  void run_sync(Function&& function, Duration timeout = Duration::zero(),
                Origin origin = Origin::here()) {
    const std::shared_ptr<detail::SyncRun> run = make_sync_run();
    Callback<void(std::function<void()>)> inside;
    {
      const ExceptionStackContext guard(exceptions_of(run));
      inside = stack_context::wrap<void(std::function<void()>)>(
          std::forward<Function>(function), origin);
    }
    finish_sync_run(*run, std::move(inside), timeout);
  }

  /// Queues `callback` for the next turn. First added, first run.
  ///
  /// On a closed loop it does nothing, as in Tornado 4.3; the callback is
  /// destroyed.
  /// Errors: throws std::invalid_argument if `callback` is empty.
  /// Thread: any. Callbacks of one thread run in the order of adding. The
  ///   context is that of the calling thread.
  void add_callback(Callback<void()> callback);

  /// As add_callback, outside every context: an exception goes straight to
  /// handle_callback_exception. What is a Callback already keeps its context.
  template <class Function>
  void spawn_callback(Function&& function, Origin origin = Origin::here()) {
    add_callback(capture_nothing(std::forward<Function>(function), origin));
  }

  /// As spawn_callback, for signal handlers: takes no lock, and allocates
  /// nothing if `function` fits a Callback without allocating and asynchronous
  /// backtraces are off on the thread.
  ///
  /// Returns false, and drops the callback, if 64 are waiting already, it is
  /// empty, or the loop is closed.
  /// Thread: any, and signal handlers on any.
  template <class Function>
  [[nodiscard]] bool add_callback_from_signal(
      Function&& function, Origin origin = Origin::here()) noexcept {
    return add_from_signal(
        capture_nothing(std::forward<Function>(function), origin));
  }

  /// Calls `callback` once, at `deadline` or as soon after as the loop gets to
  /// it: never before, and never inside this call, however long past.
  ///
  /// The resolution is that of the poll, a millisecond, plus the tick of
  /// CLOCK_MONOTONIC_COARSE (4 ms on common kernels).
  /// Does nothing on a closed loop, and returns the default handle.
  /// Errors: throws std::invalid_argument if `callback` is empty.
  /// Tornado: call_at(when, callback).
  TimeoutHandle call_at(TimePoint deadline, Callback<void()> callback);

  /// call_at(time() + delay). A delay past the end of the clock's range is cut
  /// to it. Tornado: call_later(delay, callback).
  TimeoutHandle call_later(Duration delay, Callback<void()> callback);

  /// Tornado's name for both.
  TimeoutHandle add_timeout(TimePoint deadline, Callback<void()> callback) {
    return call_at(deadline, std::move(callback));
  }
  TimeoutHandle add_timeout(Duration delay, Callback<void()> callback) {
    return call_later(delay, std::move(callback));
  }

  /// Cancels: the callback is destroyed and will not run, also if it is due in
  /// this very turn. Does nothing for a timeout that has fired, was removed, or
  /// is the default handle.
  void remove_timeout(TimeoutHandle timeout) noexcept;

  /// Moves a pending timeout to another deadline, behind those that are due at
  /// the same moment. Returns false, and does nothing, if it is not pending.
  ///
  /// Cost: constant, amortised, when the deadline moves later, as that of an
  /// idle timeout does with every message; logarithmic when it moves earlier.
  bool move_timeout(TimeoutHandle timeout, TimePoint deadline);

  /// Calls `callback(fd, events)` whenever `fd` is ready for one of `events`,
  /// once a turn with all that are ready, until remove_handler. Level-
  /// triggered: what is not read is reported again.
  ///
  /// Lifetime: `fd` stays the caller's, who removes the handler *before*
  ///   closing it; the kernel forgets a closed descriptor only where no copy is
  ///   left, and its number comes back soon.
  /// Errors: throws std::invalid_argument for an empty callback, no events or
  ///   other bits; std::logic_error if `fd` has a handler or the loop is
  ///   closed; std::system_error if the kernel cannot poll it (EPERM for a
  ///   regular file, EBADF). The old handler stays in every case.
  /// Tornado: add_handler(fd, handler, events).
  void add_handler(int fd, Events events, HandlerCallback callback);

  /// As above for an object with `fileno()` and `close()`: the loop shares it,
  /// the callback gets it back, and close(CloseFds::all) closes it through its
  /// own close().
  template <class FileObject>
  void add_handler(
      std::shared_ptr<FileObject> file, Events events,
      Callback<void(const std::shared_ptr<FileObject>&, Events)> callback);

  /// Replaces what `fd`'s handler waits for; 0 pauses it.
  /// Errors: throws std::invalid_argument for other bits, std::logic_error if
  ///   `fd` has no handler, std::system_error as add_handler.
  void update_handler(int fd, Events events);

  /// Removes the handler, also where it was found ready in this turn and not
  /// called yet. Does nothing if `fd` has none. May be called inside the
  /// handler, whose callback is then destroyed after it has returned.
  void remove_handler(int fd) noexcept;

  /// Calls `callback(signum)` on the loop when the process gets the signal,
  /// outside every context (what is a Callback already keeps its own). Signals
  /// that arrive faster than the loop turns are told once. The old disposition
  /// comes back when the handler is removed or the loop is closed.
  ///
  /// Errors: throws std::invalid_argument for an empty callback or a signal
  ///   that cannot be caught; std::logic_error if any loop of the process
  ///   handles it already, or this loop is closed.
  template <class Function>
  void add_signal_handler(int signum, Function&& callback,
                          Origin origin = Origin::here()) {
    add_handler_of_signal(
        signum,
        capture_nothing<void(int)>(std::forward<Function>(callback), origin));
  }

  /// Does nothing if this loop does not handle the signal.
  void remove_signal_handler(int signum) noexcept;

  /// The time on this loop's clock, read now.
  [[nodiscard]] TimePoint time() const;

  enum class CloseFds {
    none,
    all,  ///< also closes every descriptor that has a handler
  };

  /// Ends the loop for good: streams on it are closed (StreamErrc::loop_closed)
  /// and their callbacks dropped; callbacks, timeouts and handlers are
  /// destroyed and not run; a borrowed base is left as if the loop had never
  /// been. What the destructors of captured objects do on the loop meanwhile is
  /// ignored. A second call does nothing.
  ///
  /// Requires: the loop is not running. Errors: throws std::logic_error if it
  ///   is, or inside one of its callbacks.
  void close(CloseFds fds = CloseFds::none);

  /// Logs every callback that takes at least `threshold`, at warning, with its
  /// operation, its origin and the time it took. Zero or less: off, as at the
  /// start. Tornado: set_blocking_log_threshold, without its signal.
  void set_slow_callback_threshold(Duration threshold) noexcept;

  /// Where everything on this loop logs. Thread: the loop's.
  [[nodiscard]] Logger& logger() noexcept;

  /// The base, own or borrowed; null once closed.
  [[nodiscard]] event_base* base() const noexcept;

  /// What the loop holds and has done, for tests, metrics and the question why
  /// a program does not end.
  struct Statistics {
    std::uint64_t turns = 0;  ///< descriptors and phases handled
    std::size_t callbacks = 0;
    std::size_t timeouts = 0;  ///< also those of PeriodicCallbacks
    std::size_t handlers = 0;
    std::size_t signal_handlers = 0;
    std::size_t streams = 0;       ///< open
    std::size_t pooled_bytes = 0;  ///< buffer memory kept for reuse
  };
  [[nodiscard]] Statistics statistics() const;

  /// For the rooms above this one.
  [[nodiscard]] detail::LoopCore& core() noexcept { return *core_; }

 protected:
  /// Called with every exception that leaves a callback of this loop and that
  /// no context handled; a stream's has been closed by then. By default logs
  /// failure.to_string() as an error of the application. Override it to count,
  /// to stop the loop or to log elsewhere. What it throws is logged.
  /// Tornado: handle_callback_exception(callback).
  virtual void handle_callback_exception(const CallbackFailure& failure);

 private:
  friend class detail::LoopCore;

  template <class Signature = void(), class Function>
  static Callback<Signature> capture_nothing(Function&& function,
                                             Origin origin) {
    const NullContext outside;
    return stack_context::wrap<Signature>(std::forward<Function>(function),
                                          origin);
  }

  std::shared_ptr<detail::SyncRun> make_sync_run();
  static ExceptionStackContext::Handler exceptions_of(
      const std::shared_ptr<detail::SyncRun>& run);
  void finish_sync_run(detail::SyncRun& run,
                       Callback<void(std::function<void()>)> function,
                       Duration timeout);
  void begin(event_base* base, Options options);
  bool add_from_signal(Callback<void()> callback) noexcept;
  void add_handler_of_signal(int signum, Callback<void(int)> callback);
  void add_file_handler(int fd, Events events, HandlerCallback callback,
                        std::function<void()> close);

  std::unique_ptr<detail::LoopCore> core_;
};

/// Calls a callback again and again, on a fixed grid of times.
///
/// The first call comes one period after start(). A call that overruns skips
/// the ticks that it missed, also the one it ends on exactly: no bursts, no
/// drift. An exception in the callback is reported and the schedule goes on.
///
/// Belongs to its loop's thread. Lifetime: the loop outlives it; destroying it,
/// also inside its own callback, stops it.
/// Tornado: PeriodicCallback(callback, callback_time, io_loop); a second
///   start() does not start a second timer here.
class WATERSPOUT_API PeriodicCallback {
 public:
  struct Options {
    /// Every interval is drawn anew from `period` * (1 +- jitter / 2): so that
    /// many processes do not act in step. From 0 to 1.
    double jitter = 0;
  };

  /// Errors: throws std::invalid_argument if `period` is not positive, the
  ///   jitter not within 0 to 1, or `callback` empty.
  PeriodicCallback(IOLoop& loop, Duration period, Callback<void()> callback);
  PeriodicCallback(IOLoop& loop, Duration period, Options options,
                   Callback<void()> callback);
  ~PeriodicCallback();

  PeriodicCallback(const PeriodicCallback&) = delete;
  PeriodicCallback& operator=(const PeriodicCallback&) = delete;

  /// Begins, one period from now; does nothing if it runs. May be called
  /// inside the callback, after stop(): the grid begins anew.
  void start();

  /// Ends; may be called inside the callback.
  void stop() noexcept;

  [[nodiscard]] bool is_running() const noexcept;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

template <class FileObject>
void IOLoop::add_handler(
    std::shared_ptr<FileObject> file, Events events,
    Callback<void(const std::shared_ptr<FileObject>&, Events)> callback) {
  if (file == nullptr || !callback) {
    throw std::invalid_argument("add_handler: file or callback: is empty");
  }
  const int fd = file->fileno();
  const Origin origin = callback.origin();
  const NullContext outside;  // the callback brings its own
  auto handler = [file, callback = std::move(callback)](int /*fd*/,
                                                        Events ready) mutable {
    callback(file, ready);
  };
  add_file_handler(fd, events, HandlerCallback(std::move(handler), origin),
                   [file] { file->close(); });
}

}  // namespace waterspout
