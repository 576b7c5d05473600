#include "base/chunk_pool.h"

#include <bit>
#include <cstdlib>
#include <limits>
#include <new>
#include <utility>

namespace waterspout {
namespace {

constexpr auto kAlignment = std::align_val_t(alignof(Chunk));

void destroy(Chunk* chunk) noexcept { ::operator delete(chunk, kAlignment); }

}  // namespace

ChunkPool::~ChunkPool() {
  for (Chunk* chunk : free_) {
    while (chunk != nullptr) {
      destroy(std::exchange(chunk, chunk->next));
    }
  }
}

Chunk* ChunkPool::take(std::size_t size) {
  if (size > std::numeric_limits<std::size_t>::max() - sizeof(Chunk)) {
    throw std::bad_alloc();
  }
  const std::size_t size_class = class_of(size);
  std::size_t capacity = size;
  if (size_class < kClasses) {
    wanted_at_[size_class] = ++takes_;
    if (free_[size_class] != nullptr) {
      return pop(size_class);
    }
    capacity = kSmallest << size_class;
  }
  auto* const chunk =
      new (::operator new(sizeof(Chunk) + capacity, kAlignment)) Chunk();
  chunk->capacity = capacity;
  return chunk;
}

void ChunkPool::give_back(Chunk* chunk) noexcept {
  const std::size_t size_class = class_of(chunk->capacity);
  if (size_class >= kClasses || !make_room(size_class)) {
    destroy(chunk);
    return;
  }
  chunk->begin = 0;
  chunk->end = 0;
  chunk->previous = nullptr;
  chunk->next = free_[size_class];
  free_[size_class] = chunk;
  kept_ += chunk->capacity;
  kept_of_[size_class] += chunk->capacity;
}

std::size_t ChunkPool::class_of(std::size_t size) noexcept {
  return size <= kSmallest ? 0 : std::bit_width((size - 1) / kSmallest);
}

// For one more of this size, others go: what comes back is what is used now.
bool ChunkPool::make_room(std::size_t size_class) noexcept {
  const std::size_t wanted = kSmallest << size_class;
  if (wanted > kKeptBytes - kept_of_[size_class]) {
    return false;
  }
  while (wanted > kKeptBytes - kept_) {
    destroy(pop(longest_unused(size_class)));
  }
  return true;
}

// The size that was wanted longest ago, of the others that are kept. Requires:
// there is one.
std::size_t ChunkPool::longest_unused(std::size_t size_class) const noexcept {
  std::size_t found = size_class;
  for (std::size_t other = 0; other < kClasses; ++other) {
    if (other != size_class && free_[other] != nullptr &&
        (found == size_class || wanted_at_[other] < wanted_at_[found])) {
      found = other;
    }
  }
  return found;
}

Chunk* ChunkPool::pop(std::size_t size_class) noexcept {
  Chunk* const chunk = free_[size_class];
  free_[size_class] = chunk->next;
  chunk->next = nullptr;
  kept_ -= chunk->capacity;
  kept_of_[size_class] -= chunk->capacity;
  return chunk;
}

}  // namespace waterspout
