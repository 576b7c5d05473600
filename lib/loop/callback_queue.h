// CallbackQueue: what add_callback and its kin have queued.

#pragma once

#include <cstddef>
#include <utility>
#include <vector>

#include "waterspout/callback.h"

#include "loop/remote_callbacks.h"
#include "loop/signal_ring.h"

namespace waterspout {

/// Three doors in, one queue out. The loop's own thread, inside a turn, takes
/// no lock; other threads do; signal handlers use the ring. A callback runs
/// where it was put. No user code runs or is destroyed under the lock.
class CallbackQueue {
 public:
  /// Thread: the loop's, inside a turn.
  void add_in_turn(Callback<void()>&& callback) {
    // Where another thread's callbacks wait already, this one queues behind
    // them: they may be this thread's own, added before the turn began.
    if (remote_.empty()) [[likely]] {
      queued_.push_back(std::move(callback));
    } else {
      static_cast<void>(remote_.add(std::move(callback)));
    }
  }

  /// True if the loop must be woken; false, and `callback` untouched, once
  /// closed. Thread: any.
  [[nodiscard]] bool add_from_any_thread(Callback<void()>&& callback) {
    return remote_.add(std::move(callback));
  }

  /// False if full. Thread: any; signal handlers. The loop must be woken.
  [[nodiscard]] bool add_from_signal(Callback<void()>& callback) noexcept {
    return ring_.push(callback);
  }

  /// Begins a batch with all that is queued now; the batch before has ended.
  /// What is added from now on is for the next, and other threads do not wake
  /// the loop for it until it rests.
  void begin_batch() noexcept;

  /// The batch's next callback, to be called once; null at its end.
  [[nodiscard]] Callback<void()>* next_in_batch() {
    return next_ < batch_.size() ? &batch_[next_++] : next_remote();
  }

  /// True if something was added that no batch has taken yet; what signals
  /// have added is not seen here.
  [[nodiscard]] bool wants_turn() const noexcept {
    return !queued_.empty() || !remote_.empty() || signalled_;
  }

  /// After a batch: false if there is enough for another one. Otherwise the
  /// loop may wait, and is woken.
  [[nodiscard]] bool rest() noexcept {
    return queued_.empty() && !signalled_ && remote_.rest();
  }

  /// How many are queued. Thread: the loop's.
  [[nodiscard]] std::size_t size() const noexcept {
    return queued_.size() + batch_.size() - next_ + remote_.size() +
           ring_.size() + (signalled_ ? 1 : 0);
  }

  /// Destroys everything queued. Later ones are refused.
  void close();

 private:
  // Batches that grew past this are freed at their end.
  static constexpr std::size_t kKeptCapacity = 1024;

  void take_signalled() noexcept;
  [[nodiscard]] Callback<void()>* next_remote() noexcept;

  std::vector<Callback<void()>> queued_;
  std::vector<Callback<void()>> batch_;
  std::size_t next_ = 0;
  RemoteCallbacks remote_;  // run after batch_
  SignalRing ring_;
  Callback<void()> signalled_;  // out of the ring, and not in remote_ yet
};

}  // namespace waterspout
