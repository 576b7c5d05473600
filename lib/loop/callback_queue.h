// CallbackQueue: what add_callback and its kin have queued.

#pragma once

#include <atomic>
#include <cstddef>
#include <list>
#include <mutex>
#include <vector>

#include "waterspout/callback.h"

#include "loop/signal_ring.h"

namespace waterspout {

/// Three doors in, one queue out. The loop's own thread, inside a turn, takes
/// no lock; other threads do; signal handlers use the ring. No user code runs
/// or is destroyed under the lock.
class CallbackQueue {
 public:
  /// Thread: the loop's, inside a turn.
  void add_in_turn(Callback<void()> callback);

  /// True if the loop must be woken. Thread: any.
  [[nodiscard]] bool add_from_any_thread(Callback<void()> callback);

  /// False if full. Thread: any; signal handlers. The loop must be woken.
  [[nodiscard]] bool add_from_signal(Callback<void()> callback) noexcept {
    return ring_.push(callback);
  }

  /// Begins a batch with all that is queued now; the batch before has ended.
  /// What is added from now on is for the next.
  void begin_batch();

  /// The batch's next callback; empty at its end.
  Callback<void()> take();

  /// True if something was added that no batch has taken yet; what signals
  /// have added is not seen here.
  [[nodiscard]] bool wants_turn() const noexcept {
    return !queued_.empty() || remote_waiting_.load(std::memory_order_relaxed);
  }

  /// How many are queued. Thread: the loop's.
  [[nodiscard]] std::size_t size();

  /// Destroys everything queued, until destroying adds nothing more. Later
  /// ones are destroyed as they are added.
  void close();

 private:
  // Batches that grew past this are freed at their end.
  static constexpr std::size_t kKeptCapacity = 1024;

  void take_remote();

  std::vector<Callback<void()>> queued_;
  std::vector<Callback<void()>> batch_;
  std::size_t next_ = 0;
  SignalRing ring_;

  // Set while remote_ holds anything: cleared before it is emptied.
  std::atomic<bool> remote_waiting_ = false;
  std::mutex mutex_;
  std::list<Callback<void()>> remote_;  // under mutex_
  bool closed_ = false;                 // under mutex_
};

}  // namespace waterspout
