#include "loop/timeout_queue.h"

#include <algorithm>
#include <new>
#include <utility>

namespace waterspout::detail {

TimeoutHandle TimeoutQueue::add(TimePoint deadline,
                                Callback<void()>&& callback) {
  const std::uint32_t index = allocate_slot();
  Slot& slot = slot_at(index);
  slot.deadline = deadline;
  slot.sequence = ++last_sequence_;
  push(index);
  slot.callback = std::move(callback);
  slot.id = ++last_id_;
  ++pending_;
  return {index, slot.id};
}

Callback<void()> TimeoutQueue::remove(TimeoutHandle timeout) noexcept {
  if (find(timeout) == nullptr) {
    return {};
  }
  const Place place = places_[timeout.slot_];
  if (place.heap_index != kNone) {
    erase(place.heap_index);
  }
  return free_slot(timeout.slot_);
}

bool TimeoutQueue::move(TimeoutHandle timeout, TimePoint deadline) {
  Slot* const slot = find(timeout);
  if (slot == nullptr) {
    return false;
  }
  slot->deadline = deadline;
  slot->sequence = ++last_sequence_;
  Place& place = places_[timeout.slot_];
  if (place.heap_index == kNone) {
    push(timeout.slot_);
  } else if (deadline >= heap_[place.heap_index].deadline) {
    place.outdated = true;
  } else {
    erase(place.heap_index);
    push(timeout.slot_);
  }
  return true;
}

std::optional<TimePoint> TimeoutQueue::next_deadline() noexcept {
  while (!heap_.empty() && refresh(0)) {
    sift_down(0);
  }
  if (heap_.empty()) {
    return std::nullopt;
  }
  return heap_.front().deadline;
}

// From the last to the first: what fills a gap sinks from there, and not from
// the top, and the keys above the gap are still to come.
void TimeoutQueue::collect_due(TimePoint now) noexcept {
  const auto collected = static_cast<std::ptrdiff_t>(due_.size());
  try {
    find_ripe(now);
    due_.reserve(due_.size() + ripe_.size());
  } catch (const std::bad_alloc&) {
    ripe_.clear();
    collect_earliest(now);
    return;
  }
  for (; !ripe_.empty(); ripe_.pop_back()) {
    take_ripe(ripe_.back(), now);
  }
  if (ripe_.capacity() > kKeptSlots) {
    ripe_ = std::vector<std::uint32_t>();
  }
  std::sort(due_.begin() + collected, due_.end());
}

// As many as there is room for.
void TimeoutQueue::collect_earliest(TimePoint now) noexcept {
  while (due_.size() < due_.capacity()) {
    const std::optional<TimePoint> deadline = next_deadline();
    if (!deadline || *deadline > now) {
      return;
    }
    due_.push_back(heap_.front());
    erase(0);
  }
}

// In rising order. The keys that are ripe hang together, since none is later
// than those below it.
void TimeoutQueue::find_ripe(TimePoint now) {
  const auto add_if_ripe = [&](std::uint32_t index) {
    if (index < heap_.size() && heap_[index].deadline <= now) {
      ripe_.push_back(index);
    }
  };
  add_if_ripe(0);
  for (std::size_t next = 0; next < ripe_.size();) {
    const std::uint32_t first_child = kArity * ripe_[next++] + 1;
    for (std::uint32_t child = 0; child < kArity; ++child) {
      add_if_ripe(first_child + child);
    }
  }
}

void TimeoutQueue::take_ripe(std::uint32_t heap_index, TimePoint now) noexcept {
  if (!refresh(heap_index) || heap_[heap_index].deadline <= now) {
    due_.push_back(heap_[heap_index]);
    places_[heap_[heap_index].slot].heap_index = kNone;
    heap_[heap_index] = heap_.back();
    heap_.pop_back();
  }
  if (heap_index < heap_.size()) {
    sift_down(heap_index);
  }
}

Callback<void()> TimeoutQueue::take_due() noexcept {
  while (next_due_ < due_.size()) {
    fetch_ahead();
    const Key key = due_[next_due_++];
    // A slot that was freed, reused or moved meanwhile has another sequence.
    if (key.slot < places_.size() && slot_at(key.slot).id != 0 &&
        slot_at(key.slot).sequence == key.sequence) {
      return free_slot(key.slot);
    }
  }
  due_.clear();
  next_due_ = 0;
  make_small(due_);
  return {};
}

// Frees the memory of a table that has become large and is empty.
template <class T>
void TimeoutQueue::make_small(std::vector<T>& table) noexcept {
  if (table.capacity() <= kKeptSlots) {
    return;
  }
  try {
    std::vector<T> small;
    small.reserve(kBlockSize);
    table = std::move(small);
  } catch (const std::bad_alloc&) {
    return;  // the next time, then
  }
}

// Slots come up in no order that the processor could guess.
void TimeoutQueue::fetch_ahead() noexcept {
  constexpr std::size_t kAhead = 8;
  if (next_due_ + kAhead < due_.size()) {
    const std::uint32_t index = due_[next_due_ + kAhead].slot;
    if (index < places_.size()) {
      __builtin_prefetch(&slot_at(index));
      __builtin_prefetch(&slot_at(index).deadline);
    }
  }
}

Callback<void()> TimeoutQueue::take_any() noexcept {
  due_.clear();
  next_due_ = 0;
  while (!heap_.empty()) {
    places_[heap_.back().slot].heap_index = kNone;
    heap_.pop_back();
  }
  while (!places_.empty()) {
    const auto index = static_cast<std::uint32_t>(places_.size() - 1);
    places_.pop_back();
    if (slot_at(index).id != 0) {
      return free_slot(index);
    }
  }
  free_tables();
  return {};
}

TimeoutQueue::Slot* TimeoutQueue::find(TimeoutHandle timeout) noexcept {
  const bool found = timeout.id_ != 0 && timeout.slot_ < places_.size() &&
                     slot_at(timeout.slot_).id == timeout.id_;
  return found ? &slot_at(timeout.slot_) : nullptr;
}

std::uint32_t TimeoutQueue::allocate_slot() {
  if (first_free_ != kNone) {
    return std::exchange(first_free_, slot_at(first_free_).next_free);
  }
  if (places_.size() == blocks_.size() * kBlockSize) {
    add_block();
  }
  places_.emplace_back();
  return static_cast<std::uint32_t>(places_.size() - 1);
}

// The heap gets room for every slot, so pushing cannot fail half-way.
void TimeoutQueue::add_block() {
  const std::size_t slots = (blocks_.size() + 1) * kBlockSize;
  if (heap_.capacity() < slots) {
    heap_.reserve(std::max(slots, 2 * heap_.capacity()));
  }
  due_.reserve(kBlockSize);
  blocks_.push_back(std::make_unique<Slot[]>(kBlockSize));
}

void TimeoutQueue::free_tables() noexcept {
  blocks_ = std::vector<std::unique_ptr<Slot[]>>();
  places_ = std::vector<Place>();
  heap_ = std::vector<Key>();
  first_free_ = kNone;
}

Callback<void()> TimeoutQueue::free_slot(std::uint32_t index) noexcept {
  Slot& slot = slot_at(index);
  Callback<void()> callback = std::move(slot.callback);
  slot.id = 0;
  slot.next_free = std::exchange(first_free_, index);
  if (--pending_ == 0 && places_.size() > kKeptSlots) {
    free_tables();
  }
  return callback;
}

// Requires: the slot has no key.
void TimeoutQueue::push(std::uint32_t slot) noexcept {
  heap_.push_back({slot_at(slot).deadline, slot_at(slot).sequence, slot});
  places_[slot].outdated = false;
  sift_up(static_cast<std::uint32_t>(heap_.size() - 1));
}

void TimeoutQueue::erase(std::uint32_t heap_index) noexcept {
  places_[heap_[heap_index].slot].heap_index = kNone;
  const Key last = heap_.back();
  heap_.pop_back();
  if (heap_index < heap_.size()) {
    heap_[heap_index] = last;
    sift_up(heap_index);
    sift_down(places_[last.slot].heap_index);
  }
}

// Brings a key up to date, which may be too high in the heap then; false if it
// was.
bool TimeoutQueue::refresh(std::uint32_t heap_index) noexcept {
  Key& key = heap_[heap_index];
  if (!std::exchange(places_[key.slot].outdated, false)) {
    return false;
  }
  key.deadline = slot_at(key.slot).deadline;
  key.sequence = slot_at(key.slot).sequence;
  return true;
}

void TimeoutQueue::sift_up(std::uint32_t index) noexcept {
  const Key key = heap_[index];
  while (index != 0 && key < heap_[(index - 1) / kArity]) {
    place(index, heap_[(index - 1) / kArity]);
    index = (index - 1) / kArity;
  }
  place(index, key);
}

void TimeoutQueue::sift_down(std::uint32_t index) noexcept {
  const Key key = heap_[index];
  const auto size = static_cast<std::uint32_t>(heap_.size());
  for (std::uint32_t child = kArity * index + 1; child < size;
       child = kArity * index + 1) {
    const auto end = std::min(child + kArity, size);
    for (std::uint32_t other = child + 1; other < end; ++other) {
      child = heap_[other] < heap_[child] ? other : child;
    }
    if (!(heap_[child] < key)) {
      break;
    }
    place(index, heap_[child]);
    index = child;
  }
  place(index, key);
}

void TimeoutQueue::place(std::uint32_t index, Key key) noexcept {
  heap_[index] = key;
  places_[key.slot].heap_index = index;
}

}  // namespace waterspout::detail
