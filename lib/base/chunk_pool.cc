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
  const bool keepable = size_class < kClasses;
  if (keepable && free_[size_class] != nullptr) {
    return pop(size_class);
  }
  const std::size_t capacity = keepable ? kSmallest << size_class : size;
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
}

std::size_t ChunkPool::class_of(std::size_t size) noexcept {
  return size <= kSmallest ? 0 : std::bit_width((size - 1) / kSmallest);
}

// For one more of this size, chunks of other sizes go, the largest first: what
// comes back is what is used now.
bool ChunkPool::make_room(std::size_t size_class) noexcept {
  std::size_t other = kClasses;
  while ((kSmallest << size_class) > kKeptBytes - kept_) {
    while (other == kClasses || other == size_class ||
           free_[other] == nullptr) {
      if (other == 0) {
        return false;
      }
      --other;
    }
    destroy(pop(other));
  }
  return true;
}

Chunk* ChunkPool::pop(std::size_t size_class) noexcept {
  Chunk* const chunk = free_[size_class];
  free_[size_class] = chunk->next;
  chunk->next = nullptr;
  kept_ -= chunk->capacity;
  return chunk;
}

}  // namespace waterspout
