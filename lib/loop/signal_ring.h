// SignalRing: hands callbacks from signal handlers to the loop.

#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <utility>

#include "waterspout/callback.h"

namespace waterspout {

/// A bounded queue with many producers and one consumer, without locks or
/// allocation: a producer may be a signal handler that has interrupted another
/// producer, or the consumer. Each cell's turn number says whose it is: equal
/// to a position, free for the producer of that position; one more, ready for
/// its consumer. (D. Vyukov's bounded queue.)
class SignalRing {
 public:
  static constexpr std::size_t kCapacity = 64;

  SignalRing() noexcept {
    for (std::size_t i = 0; i < kCapacity; ++i) {
      cells_[i].turn.store(i, std::memory_order_relaxed);
    }
  }

  /// False, and `callback` untouched, if the ring is full. Thread: any; signal
  /// handlers.
  bool push(Callback<void()>& callback) noexcept {
    std::size_t position = tail_.load(std::memory_order_relaxed);
    for (;;) {
      Cell& cell = cells_[position % kCapacity];
      const std::size_t turn = cell.turn.load(std::memory_order_acquire);
      if (turn == position) {
        if (tail_.compare_exchange_weak(position, position + 1,
                                        std::memory_order_relaxed)) {
          cell.callback = std::move(callback);
          cell.turn.store(position + 1, std::memory_order_release);
          return true;
        }
      } else if (turn < position) {
        return false;
      } else {
        position = tail_.load(std::memory_order_relaxed);
      }
    }
  }

  /// The oldest callback; empty if there is none. Thread: the consumer's.
  Callback<void()> pop() noexcept {
    Cell& cell = cells_[head_ % kCapacity];
    if (cell.turn.load(std::memory_order_acquire) != head_ + 1) {
      return {};
    }
    Callback<void()> callback = std::move(cell.callback);
    cell.turn.store(head_ + kCapacity, std::memory_order_release);
    ++head_;
    return callback;
  }

  /// How many wait, also those that are still being added. Thread: the
  /// consumer's.
  [[nodiscard]] std::size_t size() const noexcept {
    return tail_.load(std::memory_order_relaxed) - head_;
  }

 private:
  struct Cell {
    std::atomic<std::size_t> turn;
    Callback<void()> callback;
  };

  std::array<Cell, kCapacity> cells_;
  std::atomic<std::size_t> tail_ = 0;
  std::size_t head_ = 0;
};

}  // namespace waterspout
