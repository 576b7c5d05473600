#include "loop/callback_queue.h"

#include <iterator>
#include <utility>

namespace waterspout {

// Where another thread's callbacks wait already, this one queues behind them:
// they may be this thread's own, added before the turn began.
void CallbackQueue::add_in_turn(Callback<void()> callback) {
  if (remote_waiting_.load(std::memory_order_relaxed)) {
    static_cast<void>(add_from_any_thread(std::move(callback)));
  } else {
    queued_.push_back(std::move(callback));
  }
}

bool CallbackQueue::add_from_any_thread(Callback<void()> callback) {
  std::list<Callback<void()>> added;
  added.push_back(std::move(callback));
  const std::lock_guard lock(mutex_);
  if (closed_) {
    return false;  // `added` dies after the lock is gone
  }
  remote_.splice(remote_.end(), added);
  return !remote_waiting_.exchange(true);
}

void CallbackQueue::begin_batch() {
  take_remote();
  batch_.swap(queued_);
}

Callback<void()> CallbackQueue::take() {
  if (next_ < batch_.size()) {
    return std::move(batch_[next_++]);
  }
  next_ = 0;
  if (batch_.capacity() > kKeptCapacity) {
    batch_ = std::vector<Callback<void()>>();
  }
  batch_.clear();
  return {};
}

std::size_t CallbackQueue::size() {
  take_remote();
  return queued_.size() + batch_.size() - next_;
}

void CallbackQueue::close() {
  {
    const std::lock_guard lock(mutex_);
    closed_ = true;
  }
  for (take_remote(); !queued_.empty(); take_remote()) {
    const std::vector<Callback<void()>> dying = std::exchange(queued_, {});
  }
}

void CallbackQueue::take_remote() {
  std::list<Callback<void()>> remote;
  {
    const std::lock_guard lock(mutex_);
    remote_waiting_.store(false, std::memory_order_relaxed);
    remote.swap(remote_);
  }
  queued_.insert(queued_.end(), std::make_move_iterator(remote.begin()),
                 std::make_move_iterator(remote.end()));
  // Bounded: others may fill it as fast as it is emptied.
  for (std::size_t left = SignalRing::kCapacity; left > 0; --left) {
    Callback<void()> callback = ring_.pop();
    if (!callback) {
      break;
    }
    queued_.push_back(std::move(callback));
  }
}

}  // namespace waterspout
