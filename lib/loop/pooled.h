// Pooled: objects whose memory comes from the pool of the loop whose turn it
// is, and goes to it. Outside of turns it is operator new's, which is the same.

#pragma once

#include <cstddef>

#include "loop/loop_core.h"

namespace waterspout {

[[nodiscard]] inline void* take_block(std::size_t size) {
  detail::LoopCore* const core = detail::current_turn;
  return core != nullptr ? core->blocks().take(size)
                         : ::operator new(BlockPool::rounded(size));
}

inline void give_block_back(void* block, std::size_t size) noexcept {
  if (detail::LoopCore* const core = detail::current_turn; core != nullptr) {
    core->blocks().give_back(block, size);
  } else {
    ::operator delete(block);
  }
}

/// A base of classes that are made by new, and destroyed as what they are or
/// by a virtual destructor.
struct Pooled {
  static void* operator new(std::size_t size) { return take_block(size); }
  static void operator delete(void* block, std::size_t size) noexcept {
    give_block_back(block, size);
  }
};

/// For std::allocate_shared.
template <class T>
struct PooledAllocator {
  static_assert(alignof(T) <= alignof(std::max_align_t));
  using value_type = T;

  PooledAllocator() = default;
  template <class Other>
  // NOLINTNEXTLINE(google-explicit-constructor): as every allocator converts
  PooledAllocator(const PooledAllocator<Other>& /*other*/) noexcept {}

  [[nodiscard]] T* allocate(std::size_t count) {
    return static_cast<T*>(take_block(count * sizeof(T)));
  }
  void deallocate(T* block, std::size_t count) noexcept {
    give_block_back(block, count * sizeof(T));
  }

  friend bool operator==(PooledAllocator /*one*/,
                         PooledAllocator /*other*/) noexcept {
    return true;
  }
};

}  // namespace waterspout
