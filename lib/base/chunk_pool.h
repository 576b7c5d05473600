// Chunks: the blocks of memory that buffers are made of, kept for reuse.

#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

namespace waterspout {

/// A block of memory with a filled part inside, linked into a ChunkDeque.
///
///   [ consumed | filled: begin to end | spare, up to capacity ]
///
/// It begins at a cache line, where the kernel copies to and from it faster.
/// Its memory never moves: what was appended stays at its address until it is
/// consumed or merged, which a frozen write relies on.
struct alignas(64) Chunk {
  Chunk* previous = nullptr;
  Chunk* next = nullptr;
  std::size_t begin = 0;
  std::size_t end = 0;
  std::size_t capacity = 0;

  [[nodiscard]] char* memory() noexcept {
    return reinterpret_cast<char*>(this + 1);
  }
  [[nodiscard]] std::size_t size() const noexcept { return end - begin; }
  [[nodiscard]] std::string_view filled() noexcept {
    return {memory() + begin, size()};
  }
  [[nodiscard]] std::span<char> spare() noexcept {
    return {memory() + end, capacity - end};
  }
};

/// Makes chunks and keeps up to kKeptBytes of returned ones, so that a stream
/// in its steady state allocates nothing and an idle one holds no memory. That
/// matters most for large ones: malloc(3) asks the kernel for those each time,
/// and every page of them costs more than the bytes that are copied into it.
///
/// One for each loop; not for several threads. Outlives its chunks.
class ChunkPool {
 public:
  static constexpr std::size_t kKeptBytes = std::size_t{768} * 1024;

  ChunkPool() = default;
  ~ChunkPool();

  ChunkPool(const ChunkPool&) = delete;
  ChunkPool& operator=(const ChunkPool&) = delete;

  /// An empty chunk with room for at least `size` bytes. Throws
  /// std::bad_alloc.
  [[nodiscard]] Chunk* take(std::size_t size);

  void give_back(Chunk* chunk) noexcept;

  [[nodiscard]] std::size_t kept_bytes() const noexcept { return kept_; }

 private:
  // Capacities are powers of two from 512 bytes to 512 KiB; larger chunks are
  // made to measure and not kept.
  static constexpr std::size_t kSmallest = 512;
  static constexpr std::size_t kClasses =
      std::bit_width(kKeptBytes / kSmallest);

  static std::size_t class_of(std::size_t size) noexcept;
  bool make_room(std::size_t size_class) noexcept;
  [[nodiscard]] std::size_t longest_unused(
      std::size_t size_class) const noexcept;
  Chunk* pop(std::size_t size_class) noexcept;

  std::array<Chunk*, kClasses> free_{};
  std::array<std::size_t, kClasses> kept_of_{};      // bytes
  std::array<std::uint64_t, kClasses> wanted_at_{};  // in takes_
  std::uint64_t takes_ = 0;
  std::size_t kept_ = 0;
};

}  // namespace waterspout
