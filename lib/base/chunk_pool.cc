#include "base/chunk_pool.h"

#include <bit>
#include <cstdlib>
#include <limits>
#include <new>

namespace waterspout {
namespace {

constexpr auto kAlignment = std::align_val_t(alignof(Chunk));

}  // namespace

ChunkPool::~ChunkPool() {
  for (Chunk* chunk : free_) {
    while (chunk != nullptr) {
      Chunk* const next = chunk->next;
      ::operator delete(chunk, kAlignment);
      chunk = next;
    }
  }
}

std::size_t ChunkPool::class_of(std::size_t block_size) noexcept {
  if (block_size <= kSmallest) {
    return 0;
  }
  return std::bit_width((block_size - 1) / kSmallest);
}

Chunk* ChunkPool::take(std::size_t size) {
  if (size > std::numeric_limits<std::size_t>::max() - sizeof(Chunk)) {
    throw std::bad_alloc();
  }
  std::size_t block_size = size + sizeof(Chunk);
  const std::size_t size_class = class_of(block_size);
  if (size_class < kClasses) {
    block_size = kSmallest << size_class;
    if (Chunk* const chunk = free_[size_class]; chunk != nullptr) {
      free_[size_class] = chunk->next;
      kept_ -= block_size;
      chunk->next = nullptr;
      return chunk;
    }
  }
  auto* const chunk = new (::operator new(block_size, kAlignment)) Chunk();
  chunk->capacity = block_size - sizeof(Chunk);
  return chunk;
}

void ChunkPool::give_back(Chunk* chunk) noexcept {
  const std::size_t block_size = chunk->capacity + sizeof(Chunk);
  const std::size_t size_class = class_of(block_size);
  if (size_class >= kClasses || kept_ + block_size > kKeptBytes) {
    ::operator delete(chunk, kAlignment);
    return;
  }
  chunk->begin = 0;
  chunk->end = 0;
  chunk->previous = nullptr;
  chunk->next = free_[size_class];
  free_[size_class] = chunk;
  kept_ += block_size;
}

}  // namespace waterspout
