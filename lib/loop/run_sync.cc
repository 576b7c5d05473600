#include <stdexcept>
#include <utility>

#include "waterspout/error.h"
#include "waterspout/ioloop.h"

namespace waterspout {
namespace detail {

/// One run_sync: shared with everything it has started, which may outlive it
/// and then does nothing.
class SyncRun : public std::enable_shared_from_this<SyncRun> {
 public:
  using Function = Callback<void(std::function<void()> done)>;

  explicit SyncRun(IOLoop& loop) : loop_(loop) {}

  void begin(Function function) {
    const Origin origin = function.origin();
    function_ = std::move(function);
    const NullContext outside;  // the function brings its own
    auto start = [self = shared_from_this()] { self->call(); };
    loop_.add_callback(Callback<void()>(std::move(start), origin));
  }

  /// False if it is over already.
  bool end(std::exception_ptr exception) {
    if (over_) {
      return false;
    }
    over_ = true;
    done_ = true;
    exception_ = std::move(exception);
    loop_.stop();
    return true;
  }

  /// What it has started is on its own from here. A function that was never
  /// called goes, and with it the context that holds this.
  void abandon() noexcept {
    over_ = true;
    const Function dropped = std::move(function_);
  }

  /// Throws what ended it, if anything did but being done.
  void check() const {
    if (!done_) {
      throw std::logic_error(
          "run_sync: the loop was stopped before it was done");
    }
    if (exception_) {
      std::rethrow_exception(exception_);
    }
  }

 private:
  void call() {
    if (over_) {
      return;
    }
    Function function = std::move(function_);
    function([self = shared_from_this()] { self->end(nullptr); });
  }

  IOLoop& loop_;
  Function function_;
  std::exception_ptr exception_;
  bool done_ = false;
  bool over_ = false;
};

}  // namespace detail

std::shared_ptr<detail::SyncRun> IOLoop::make_sync_run() {
  return std::make_shared<detail::SyncRun>(*this);
}

ExceptionStackContext::Handler IOLoop::exceptions_of(
    const std::shared_ptr<detail::SyncRun>& run) {
  return [run](std::exception_ptr exception) {
    return run->end(std::move(exception));
  };
}

void IOLoop::finish_sync_run(detail::SyncRun& run,
                             Callback<void(std::function<void()>)> function,
                             Duration timeout) {
  if (!function) {
    throw std::invalid_argument("run_sync: function: is empty");
  }
  TimeoutHandle limit;
  if (timeout > Duration::zero()) {
    const NullContext outside;
    limit = call_later(timeout, [self = run.shared_from_this()] {
      self->end(
          std::make_exception_ptr(TimeoutError("run_sync: not done in time")));
    });
  }
  struct Cleanup {
    ~Cleanup() {
      run.abandon();
      loop.remove_timeout(limit);
    }
    IOLoop& loop;
    detail::SyncRun& run;
    TimeoutHandle limit;
  };
  const Cleanup cleanup{*this, run, limit};
  run.begin(std::move(function));
  start();
  run.check();
}

}  // namespace waterspout
