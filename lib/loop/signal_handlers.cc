#include "loop/signal_handlers.h"

#include <array>
#include <atomic>
#include <bitset>
#include <cerrno>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <utility>

#include <unistd.h>

#include "loop/loop_core.h"

namespace waterspout {
namespace {

constexpr int kSignals = 65;  // 1 to 64 on Linux

struct Target {
  std::atomic<int> wake_fd = -1;
  std::atomic<bool> pending = false;
};

static_assert(std::atomic<int>::is_always_lock_free);

// The one process-wide table: a signal's disposition is process-wide too.
std::array<Target, kSignals> targets;

extern "C" void waterspout_on_signal(int signum) {
  const int saved_errno = errno;
  Target& target = targets[static_cast<std::size_t>(signum)];
  target.pending = true;
  const std::uint64_t one = 1;
  [[maybe_unused]] const auto written =
      ::write(target.wake_fd, &one, sizeof one);
  errno = saved_errno;
}

Target& target_of(int signum) {
  return targets[static_cast<std::size_t>(signum)];
}

}  // namespace

void SignalHandlers::add(int signum, int wake_fd,
                         Callback<void(int)> callback) {
  const std::string object = "signal " + std::to_string(signum);
  if (!callback) {
    throw std::invalid_argument("add_signal_handler: callback: is empty");
  }
  if (signum <= 0 || signum >= kSignals) {
    throw std::invalid_argument("add_signal_handler: " + object +
                                ": no such signal");
  }
  callback.set_operation("add_signal_handler");
  auto handler = std::make_shared<Handler>();
  handler->callback = std::move(callback);
  const std::string taken = "add_signal_handler: " + object +
                            ": is handled by a loop of this process already";
  if (!handlers_.emplace(signum, handler).second) {
    throw std::logic_error(taken);
  }
  int nobody = -1;
  if (!target_of(signum).wake_fd.compare_exchange_strong(nobody, wake_fd)) {
    handlers_.erase(signum);
    throw std::logic_error(taken);
  }
  target_of(signum).pending = false;
  struct sigaction action = {};
  action.sa_handler = waterspout_on_signal;
  action.sa_flags = SA_RESTART;
  ::sigfillset(&action.sa_mask);
  if (::sigaction(signum, &action, &handler->previous) != 0) {
    target_of(signum).wake_fd = -1;
    handlers_.erase(signum);
    throw std::invalid_argument("add_signal_handler: " + object +
                                ": cannot be caught");
  }
}

void SignalHandlers::remove(int signum) noexcept {
  const auto found = handlers_.find(signum);
  if (found == handlers_.end()) {
    return;
  }
  const auto handler = std::move(found->second);
  handlers_.erase(found);
  ::sigaction(signum, &handler->previous, nullptr);
  target_of(signum).wake_fd = -1;
}

void SignalHandlers::close() noexcept {
  while (!handlers_.empty()) {
    remove(handlers_.begin()->first);
  }
}

void SignalHandlers::run_pending() noexcept {
  if (handlers_.empty()) {
    return;
  }
  std::bitset<kSignals> came;
  for (const auto& entry : handlers_) {
    if (target_of(entry.first).pending.exchange(false)) {
      came.set(static_cast<std::size_t>(entry.first));
    }
  }
  for (int signum = 1; signum < kSignals; ++signum) {
    // A callback may have removed this or any other handler.
    const auto found = came.test(static_cast<std::size_t>(signum))
                           ? handlers_.find(signum)
                           : handlers_.end();
    if (found != handlers_.end()) {
      const auto handler = found->second;
      core_.run(handler->callback, "add_signal_handler", signum);
    }
  }
}

}  // namespace waterspout
