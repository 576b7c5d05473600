#include "loop/callback_queue.h"

namespace waterspout {

void CallbackQueue::begin_batch() {
  batch_.swap(queued_);
  take_signalled();
  remote_.begin_batch();
}

// Bounded: others may fill the ring as fast as it is emptied.
void CallbackQueue::take_signalled() {
  for (std::size_t left = SignalRing::kCapacity; left > 0; --left) {
    Callback<void()> callback = ring_.pop();
    if (!callback) {
      return;
    }
    static_cast<void>(remote_.add(std::move(callback)));
  }
}

Callback<void()>* CallbackQueue::next_remote() noexcept {
  if (Callback<void()>* const callback = remote_.next_in_batch()) {
    return callback;
  }
  next_ = 0;
  if (batch_.capacity() > kKeptCapacity) {
    batch_ = std::vector<Callback<void()>>();
  }
  batch_.clear();
  return nullptr;
}

void CallbackQueue::close() {
  remote_.close();
  const std::vector<Callback<void()>> dying = std::exchange(queued_, {});
  while (ring_.pop()) {
  }
}

}  // namespace waterspout
