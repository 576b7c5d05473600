// RemoteCallbacks: hands callbacks from any thread to the loop, in the order of
// adding.

#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <list>

#include "waterspout/callback.h"

#include "base/brief_mutex.h"

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
  static constexpr std::size_t kBlockSize = 63;
  static constexpr std::size_t kKeptBlocks = 16;

  // Each cell is a cache line, and what tells which are filled is beside them:
  // it travels between the threads once for many cells.
  struct alignas(64) Block {
    std::array<Callback<void()>, kBlockSize> cells;
    std::atomic<std::uint64_t> filled = 0;  // a bit for each cell, and kAwaited
  };
  // The loop rests until the next cell is filled.
  static constexpr std::uint64_t kAwaited = std::uint64_t{1} << kBlockSize;

  /// A cell that has been reserved.
  struct Cell {
    Block& block;
    std::size_t index;
  };

  Cell reserve();
  static void prefetch_behind(const Cell& cell) noexcept;
  bool find_filled() noexcept;
  void next_block() noexcept;

  // The loop's.
  std::size_t taken_ = 0;
  std::size_t batch_end_ = 0;
  bool has_rested_ = true;               // since the batch before
  bool awaits_ = false;                  // kAwaited is set in block_
  Block* block_ = nullptr;               // the front one of blocks_
  std::size_t next_cell_ = kBlockSize;   // in block_
  std::size_t filled_end_ = kBlockSize;  // of what is known to be filled there

  // Apart from what is the loop's, which it changes with every callback.
  alignas(64) BriefMutex mutex_;
  std::list<Block> blocks_;                    // under mutex_
  std::list<Block> spare_;                     // under mutex_
  std::size_t reserved_in_last_ = kBlockSize;  // under mutex_
  std::atomic<std::size_t> reserved_ = 0;      // changes under mutex_
  bool resting_ = true;                        // under mutex_
  bool closed_ = false;                        // under mutex_
};

}  // namespace waterspout
