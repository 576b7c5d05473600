#include "loop/remote_callbacks.h"

#include <bit>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

namespace waterspout {

bool RemoteCallbacks::add(Callback<void()>&& callback) {
  std::optional<Cell> cell;
  bool must_wake = false;
  {
    const std::lock_guard lock(mutex_);
    if (closed_) {
      return false;
    }
    cell.emplace(reserve());
    must_wake = std::exchange(resting_, false);
  }
  cell->block.cells[cell->index] = std::move(callback);
  const std::uint64_t before = cell->block.filled.fetch_or(
      std::uint64_t{1} << cell->index, std::memory_order_acq_rel);
  return must_wake || (before & kAwaited) != 0;
}

// The loop's processor has the cell that is filled soon: ask for it in time.
void RemoteCallbacks::prefetch_behind(const Cell& cell) noexcept {
  constexpr std::size_t kAhead = 4;
  if (cell.index + kAhead < kBlockSize) {
    __builtin_prefetch(&cell.block.cells[cell.index + kAhead], 1);
  }
}

RemoteCallbacks::Cell RemoteCallbacks::reserve() {
  if (reserved_in_last_ == kBlockSize) {
    if (spare_.empty()) {
      spare_.emplace_back();
    }
    blocks_.splice(blocks_.end(), spare_, spare_.begin());
    reserved_in_last_ = 0;
  }
  reserved_.store(reserved_.load(std::memory_order_relaxed) + 1,
                  std::memory_order_relaxed);
  const Cell cell{blocks_.back(), reserved_in_last_++};
  prefetch_behind(cell);
  return cell;
}

void RemoteCallbacks::begin_batch() noexcept {
  batch_end_ = reserved_.load(std::memory_order_relaxed);
  if (std::exchange(awaits_, false)) {
    block_->filled.fetch_and(~kAwaited, std::memory_order_relaxed);
  }
  if (std::exchange(has_rested_, false)) {
    const std::lock_guard lock(mutex_);
    resting_ = false;
  }
}

Callback<void()>* RemoteCallbacks::next_in_batch() noexcept {
  if (taken_ == batch_end_ || (next_cell_ == filled_end_ && !find_filled())) {
    return nullptr;
  }
  ++taken_;
  return &block_->cells[next_cell_++];
}

// Whoever is still filling the next cell wakes the loop then; whoever fills a
// later one before that does so in vain.
bool RemoteCallbacks::rest() noexcept {
  if (empty()) {
    const std::lock_guard lock(mutex_);
    if (empty()) {
      resting_ = has_rested_ = true;
      return true;
    }
  }
  if (next_cell_ != filled_end_ || find_filled()) {
    return false;
  }
  awaits_ = true;
  const std::uint64_t before =
      block_->filled.fetch_or(kAwaited, std::memory_order_acq_rel);
  return ((before >> next_cell_) & 1) == 0;
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

// False if the next cell is not filled yet. Requires: it has been reserved.
bool RemoteCallbacks::find_filled() noexcept {
  if (next_cell_ == kBlockSize) {
    next_block();
  }
  const std::uint64_t filled =
      block_->filled.load(std::memory_order_acquire) & ~kAwaited;
  filled_end_ = static_cast<std::size_t>(std::countr_one(filled));
  return next_cell_ < filled_end_;
}

void RemoteCallbacks::next_block() noexcept {
  std::list<Block> dying;  // outlives the lock
  const std::lock_guard lock(mutex_);
  if (block_ != nullptr) {
    block_->filled.store(0, std::memory_order_relaxed);
    std::list<Block>& target = spare_.size() < kKeptBlocks ? spare_ : dying;
    target.splice(target.begin(), blocks_, blocks_.begin());
  }
  block_ = &blocks_.front();
  next_cell_ = 0;
}

}  // namespace waterspout
