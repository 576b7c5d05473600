#include "loop/remote_callbacks.h"

#include <thread>
#include <utility>

namespace waterspout {

bool RemoteCallbacks::add(Callback<void()>&& callback) {
  Cell* cell = nullptr;
  bool must_wake = false;
  {
    const std::lock_guard lock(mutex_);
    if (closed_) {
      return false;
    }
    cell = &reserve();
    must_wake = std::exchange(resting_, false);
  }
  cell->callback = std::move(callback);
  const State before =
      cell->state.exchange(State::filled, std::memory_order_acq_rel);
  return must_wake || before == State::awaited;
}

RemoteCallbacks::Cell& RemoteCallbacks::reserve() {
  if (reserved_in_last_ == kBlockSize) {
    if (spare_.empty()) {
      spare_.emplace_back();
    }
    blocks_.splice(blocks_.end(), spare_, spare_.begin());
    reserved_in_last_ = 0;
  }
  reserved_.store(reserved_.load(std::memory_order_relaxed) + 1,
                  std::memory_order_relaxed);
  return blocks_.back()[reserved_in_last_++];
}

void RemoteCallbacks::begin_batch() noexcept {
  batch_end_ = reserved_.load(std::memory_order_relaxed);
  if (std::exchange(has_rested_, false)) {
    const std::lock_guard lock(mutex_);
    resting_ = false;
  }
}

Callback<void()>* RemoteCallbacks::next_in_batch() noexcept {
  if (taken_ == batch_end_) {
    return nullptr;
  }
  Cell& cell = next_cell();
  if (cell.state.load(std::memory_order_acquire) != State::filled) {
    return nullptr;
  }
  cell.state.store(State::empty, std::memory_order_relaxed);
  ++next_cell_;
  ++taken_;
  return &cell.callback;
}

// Whoever is still filling the next cell wakes the loop then.
bool RemoteCallbacks::rest() noexcept {
  {
    const std::lock_guard lock(mutex_);
    if (empty()) {
      resting_ = has_rested_ = true;
      return true;
    }
  }
  State state = State::empty;
  return next_cell().state.compare_exchange_strong(state, State::awaited,
                                                   std::memory_order_acq_rel) ||
         state == State::awaited;
}

void RemoteCallbacks::close() noexcept {
  {
    const std::lock_guard lock(mutex_);
    closed_ = true;
    batch_end_ = reserved_.load(std::memory_order_relaxed);
  }
  while (!empty()) {
    if (Callback<void()>* const callback = next_in_batch()) {
      callback->reset();
    } else {
      std::this_thread::yield();  // it is being added this very moment
    }
  }
}

// Requires: it has been reserved.
RemoteCallbacks::Cell& RemoteCallbacks::next_cell() noexcept {
  if (next_cell_ == kBlockSize) {
    next_block();
  }
  return (*block_)[next_cell_];
}

void RemoteCallbacks::next_block() noexcept {
  std::list<Block> dying;  // outlives the lock
  const std::lock_guard lock(mutex_);
  if (block_ != nullptr) {
    std::list<Block>& target = spare_.size() < kKeptBlocks ? spare_ : dying;
    target.splice(target.begin(), blocks_, blocks_.begin());
  }
  block_ = &blocks_.front();
  next_cell_ = 0;
}

}  // namespace waterspout
