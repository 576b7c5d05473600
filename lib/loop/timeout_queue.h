// TimeoutQueue: the timeouts of a loop in the order (deadline, order of
// adding). Pure logic: it neither reads a clock nor waits.

#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "waterspout/ioloop.h"

namespace waterspout::detail {

/// A heap of keys and a table of slots. A handle names a slot and the unique id
/// of the timeout in it, so that a stale one names nothing.
///
/// A deadline that moves later changes the slot alone; the heap learns of it
/// when the old key comes up. What the heap has to know of its keys' slots lies
/// apart from them, close together: with a million timeouts every look at a
/// slot is a miss of all caches.
class TimeoutQueue {
 public:
  TimeoutHandle add(TimePoint deadline, Callback<void()>&& callback);

  /// The callback of a pending timeout, taken out; empty if it is not pending.
  /// The caller destroys it: that may run user code.
  Callback<void()> remove(TimeoutHandle timeout) noexcept;

  /// Behind others with the same deadline; false if it is not pending.
  bool move(TimeoutHandle timeout, TimePoint deadline);

  /// The earliest deadline.
  [[nodiscard]] std::optional<TimePoint> next_deadline() noexcept;

  /// Marks as due what is due at `now`: all of it, or where there is no memory
  /// for that the earliest.
  void collect_due(TimePoint now) noexcept;

  /// The next callback that was marked due and neither removed nor moved since;
  /// empty if there is none. Its timeout is pending no more.
  Callback<void()> take_due() noexcept;

  /// How many are pending.
  [[nodiscard]] std::size_t size() const noexcept { return pending_; }

  /// Some callback, taken out for the caller to destroy; empty once there is
  /// none. Until then nothing is added or moved.
  [[nodiscard]] Callback<void()> take_any() noexcept;

 private:
  static constexpr std::uint32_t kNone = 0xffffffff;
  static constexpr std::uint32_t kArity = 4;
  static constexpr std::uint32_t kBlockSize = 64;
  // Tables that grew past this are freed when the last timeout goes.
  static constexpr std::size_t kKeptSlots = 1024;

  struct Slot {
    Callback<void()> callback;
    TimePoint deadline;
    std::uint64_t id = 0;        // 0: free
    std::uint64_t sequence = 0;  // order among equal deadlines
    std::uint32_t next_free = kNone;
  };

  /// Of a slot's key.
  struct Place {
    std::uint32_t heap_index = kNone;  // kNone: due, or free
    bool outdated = false;             // the slot's deadline has moved later
  };

  struct Key {
    TimePoint deadline;
    std::uint64_t sequence = 0;
    std::uint32_t slot = kNone;

    bool operator<(const Key& other) const noexcept {
      return deadline != other.deadline ? deadline < other.deadline
                                        : sequence < other.sequence;
    }
  };

  [[nodiscard]] Slot& slot_at(std::uint32_t index) noexcept {
    return blocks_[index / kBlockSize][index % kBlockSize];
  }
  [[nodiscard]] Slot* find(TimeoutHandle timeout) noexcept;
  std::uint32_t allocate_slot();
  void add_block();
  template <class T>
  static void make_small(std::vector<T>& table) noexcept;
  void free_tables() noexcept;
  Callback<void()> free_slot(std::uint32_t index) noexcept;
  void push(std::uint32_t slot) noexcept;
  void erase(std::uint32_t heap_index) noexcept;
  void find_ripe(TimePoint now);
  void collect_earliest(TimePoint now) noexcept;
  void take_ripe(std::uint32_t heap_index, TimePoint now) noexcept;
  [[nodiscard]] bool refresh(std::uint32_t heap_index) noexcept;
  void fetch_ahead() noexcept;
  void sift_up(std::uint32_t index) noexcept;
  void sift_down(std::uint32_t index) noexcept;
  void place(std::uint32_t index, Key key) noexcept;

  std::vector<std::unique_ptr<Slot[]>> blocks_;  // slots that stay in place
  std::vector<Place> places_;                    // as many as slots in use
  std::vector<Key> heap_;
  std::vector<std::uint32_t> ripe_;  // indices of the heap
  std::vector<Key> due_;             // with room for some while any is pending
  std::size_t next_due_ = 0;
  std::size_t pending_ = 0;
  std::uint64_t last_id_ = 0;
  std::uint64_t last_sequence_ = 0;
  std::uint32_t first_free_ = kNone;
};

}  // namespace waterspout::detail
