#include "loop/callback_queue.h"

#include <new>

namespace waterspout {

void CallbackQueue::begin_batch() noexcept {
  batch_.swap(queued_);
  take_signalled();
  remote_.begin_batch();
}

// Bounded: others may fill the ring as fast as it is emptied. What there is no
// memory for is left to the next batch.
void CallbackQueue::take_signalled() noexcept {
  for (std::size_t left = SignalRing::kCapacity; left > 0; --left) {
    if (!signalled_) {
      signalled_ = ring_.pop();
    }
    if (!signalled_) {
      return;
    }
    try {
      static_cast<void>(remote_.add(std::move(signalled_)));
    } catch (const std::bad_alloc&) {
      return;
    }
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
  signalled_.reset();
  while (ring_.pop()) {
  }
}

}  // namespace waterspout
