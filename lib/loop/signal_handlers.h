// SignalHandlers: signals told on the loop.

#pragma once

#include <csignal>
#include <cstddef>
#include <memory>
#include <unordered_map>

#include "waterspout/callback.h"

namespace waterspout {

namespace detail {
class LoopCore;
}  // namespace detail

/// The signals that one loop handles. Not libevent's signal events: with those
/// the last base to add one gets all signals of the process. What a signal
/// handler can reach is process-wide by nature: for each signal a flag and the
/// descriptor that wakes its loop.
class SignalHandlers {
 public:
  explicit SignalHandlers(detail::LoopCore& core) noexcept : core_(core) {}
  ~SignalHandlers() { close(); }

  SignalHandlers(const SignalHandlers&) = delete;
  SignalHandlers& operator=(const SignalHandlers&) = delete;

  /// As IOLoop::add_signal_handler; the signal writes to `wake_fd`.
  void add(int signum, int wake_fd, Callback<void(int)> callback);
  void remove(int signum) noexcept;
  void close() noexcept;

  /// Runs the callbacks of the signals that came since the last time.
  void run_pending() noexcept;

  [[nodiscard]] std::size_t size() const noexcept { return handlers_.size(); }

 private:
  struct Handler {
    Callback<void(int)> callback;
    struct sigaction previous = {};
  };

  detail::LoopCore& core_;
  std::unordered_map<int, std::shared_ptr<Handler>> handlers_;
};

}  // namespace waterspout
