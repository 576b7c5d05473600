// RemoteCallbacks: hands callbacks from any thread to the loop, in the order of
// adding.

#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <list>
#include <mutex>

#include "waterspout/callback.h"

namespace waterspout {

/// A chain of blocks of cells. Who adds reserves the next cell under the lock
/// and fills it after that, since to move a callback may run user code. The
/// loop takes the cells in their order, and a callback runs where it lies.
class RemoteCallbacks {
 public:
  /// True if the loop must be woken; false, and `callback` untouched, once
  /// closed. Thread: any; of all that follows, the loop's.
  [[nodiscard]] bool add(Callback<void()>&& callback);

  [[nodiscard]] bool empty() const noexcept { return size() == 0; }

  /// Those that are still being added count.
  [[nodiscard]] std::size_t size() const noexcept {
    return reserved_.load(std::memory_order_relaxed) - taken_;
  }

  /// Begins a batch with all that is here now. Nobody need wake the loop until
  /// it rests.
  void begin_batch() noexcept;

  /// The batch's next callback, to be emptied before the one after it is asked
  /// for; null at its end. A callback that is still being added ends it early.
  [[nodiscard]] Callback<void()>* next_in_batch() noexcept;

  /// After a batch: the loop may wait, and is woken by what is added next.
  /// False if there is something for it already.
  [[nodiscard]] bool rest() noexcept;

  /// Destroys everything, and adds nothing any more.
  void close() noexcept;

 private:
  static constexpr std::size_t kBlockSize = 64;
  static constexpr std::size_t kKeptBlocks = 16;

  enum class State : unsigned char {
    empty,
    awaited,  // empty, and the loop rests until it is filled
    filled,
  };

  struct Cell {
    Callback<void()> callback;
    std::atomic<State> state = State::empty;
  };

  using Block = std::array<Cell, kBlockSize>;

  Cell& reserve();
  [[nodiscard]] Cell& next_cell() noexcept;
  void next_block() noexcept;

  // The loop's.
  std::size_t taken_ = 0;
  std::size_t batch_end_ = 0;
  bool has_rested_ = true;              // since the batch before
  Block* block_ = nullptr;              // the front one of blocks_
  std::size_t next_cell_ = kBlockSize;  // in block_

  std::mutex mutex_;
  std::list<Block> blocks_;                    // under mutex_
  std::list<Block> spare_;                     // under mutex_
  std::size_t reserved_in_last_ = kBlockSize;  // under mutex_
  std::atomic<std::size_t> reserved_ = 0;      // changes under mutex_
  bool resting_ = true;                        // under mutex_
  bool closed_ = false;                        // under mutex_
};

}  // namespace waterspout
