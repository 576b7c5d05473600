#include "loop/timeout_queue.h"

#include <utility>

namespace waterspout::detail {

TimeoutHandle TimeoutQueue::add(TimePoint deadline, Callback<void()> callback) {
  const std::uint32_t index = allocate_slot();
  Slot& slot = slots_[index];
  slot.deadline = deadline;
  slot.sequence = ++last_sequence_;
  push(index);
  slot.callback = std::move(callback);
  slot.id = ++last_id_;
  ++pending_;
  return {index, slot.id};
}

Callback<void()> TimeoutQueue::remove(TimeoutHandle timeout) noexcept {
  Slot* const slot = find(timeout);
  if (slot == nullptr) {
    return {};
  }
  if (slot->heap_index != kNone) {
    erase(slot->heap_index);
  }
  return free_slot(timeout.slot_);
}

bool TimeoutQueue::move(TimeoutHandle timeout, TimePoint deadline) {
  Slot* const slot = find(timeout);
  if (slot == nullptr) {
    return false;
  }
  const bool in_heap = slot->heap_index != kNone;
  const bool later = in_heap && deadline >= heap_[slot->heap_index].deadline;
  slot->deadline = deadline;
  slot->sequence = ++last_sequence_;
  if (!later) {
    if (in_heap) {
      erase(slot->heap_index);
    }
    push(timeout.slot_);
  }
  return true;
}

std::optional<TimePoint> TimeoutQueue::next_deadline() {
  refresh_top();
  if (heap_.empty()) {
    return std::nullopt;
  }
  return heap_.front().deadline;
}

void TimeoutQueue::collect_due(TimePoint now) {
  for (refresh_top(); !heap_.empty() && heap_.front().deadline <= now;
       refresh_top()) {
    due_.push_back(heap_.front());
    erase(0);
  }
}

Callback<void()> TimeoutQueue::take_due() {
  while (next_due_ < due_.size()) {
    const Key key = due_[next_due_++];
    // A slot that was freed, reused or moved meanwhile has another sequence.
    const bool current = key.slot < slots_.size() && slots_[key.slot].id != 0 &&
                         slots_[key.slot].sequence == key.sequence;
    if (current) {
      return free_slot(key.slot);
    }
  }
  if (due_.capacity() > kKeptSlots) {
    due_ = std::vector<Key>();
  }
  due_.clear();
  next_due_ = 0;
  return {};
}

std::vector<Callback<void()>> TimeoutQueue::clear() {
  std::vector<Callback<void()>> callbacks;
  callbacks.reserve(pending_);
  for (Slot& slot : slots_) {
    if (slot.id != 0) {
      callbacks.push_back(std::move(slot.callback));
    }
  }
  slots_ = std::vector<Slot>();
  heap_ = std::vector<Key>();
  due_ = std::vector<Key>();
  next_due_ = 0;
  pending_ = 0;
  first_free_ = kNone;
  return callbacks;
}

TimeoutQueue::Slot* TimeoutQueue::find(TimeoutHandle timeout) noexcept {
  const bool found = timeout.id_ != 0 && timeout.slot_ < slots_.size() &&
                     slots_[timeout.slot_].id == timeout.id_;
  return found ? &slots_[timeout.slot_] : nullptr;
}

std::uint32_t TimeoutQueue::allocate_slot() {
  if (first_free_ == kNone) {
    slots_.emplace_back();
    slots_.back().next_free = first_free_;
    first_free_ = static_cast<std::uint32_t>(slots_.size() - 1);
  }
  // The heap has room for every slot, so pushing cannot fail half-way.
  heap_.reserve(slots_.capacity());
  return std::exchange(first_free_, slots_[first_free_].next_free);
}

Callback<void()> TimeoutQueue::free_slot(std::uint32_t index) noexcept {
  Slot& slot = slots_[index];
  Callback<void()> callback = std::move(slot.callback);
  slot.id = 0;
  slot.heap_index = kNone;
  slot.next_free = std::exchange(first_free_, index);
  if (--pending_ == 0 && slots_.capacity() > kKeptSlots) {
    slots_ = std::vector<Slot>();
    heap_ = std::vector<Key>();
    first_free_ = kNone;
  }
  return callback;
}

void TimeoutQueue::push(std::uint32_t slot) {
  heap_.push_back({slots_[slot].deadline, slots_[slot].sequence, slot});
  sift_up(static_cast<std::uint32_t>(heap_.size() - 1));
}

void TimeoutQueue::erase(std::uint32_t heap_index) noexcept {
  slots_[heap_[heap_index].slot].heap_index = kNone;
  const Key last = heap_.back();
  heap_.pop_back();
  if (heap_index < heap_.size()) {
    place(heap_index, last);
    sift_up(heap_index);
    sift_down(slots_[last.slot].heap_index);
  }
}

// Brings keys whose timeouts have moved later up to date, until the top is.
void TimeoutQueue::refresh_top() noexcept {
  while (!heap_.empty()) {
    const std::uint32_t index = heap_.front().slot;
    const Slot& slot = slots_[index];
    if (slot.sequence == heap_.front().sequence) {
      return;
    }
    place(0, {slot.deadline, slot.sequence, index});
    sift_down(0);
  }
}

void TimeoutQueue::sift_up(std::uint32_t index) noexcept {
  const Key key = heap_[index];
  while (index != 0 && key < heap_[(index - 1) / 2]) {
    place(index, heap_[(index - 1) / 2]);
    index = (index - 1) / 2;
  }
  place(index, key);
}

void TimeoutQueue::sift_down(std::uint32_t index) noexcept {
  const Key key = heap_[index];
  const auto size = static_cast<std::uint32_t>(heap_.size());
  for (std::uint32_t child = 2 * index + 1; child < size;
       child = 2 * index + 1) {
    if (child + 1 < size && heap_[child + 1] < heap_[child]) {
      ++child;
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
  slots_[key.slot].heap_index = index;
}

}  // namespace waterspout::detail
