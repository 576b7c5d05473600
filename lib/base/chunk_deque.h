// ChunkDeque: the read and the write buffer of a stream, a deque of chunks.
//
// Appending copies into the last chunk's spare room or into new chunks, and
// never moves what is there. Consuming drops chunks from the front. What must
// be contiguous is made so by merge_prefix, at a cost of the bytes merged.

#pragma once

#include <cstddef>
#include <cstring>
#include <span>
#include <string_view>

#include <sys/uio.h>

#include "base/chunk_pool.h"

namespace waterspout {

/// The offset of the first `needle` in `text` that begins at `from` or later;
/// npos if there is none. Linear, whatever the bytes. Requires: `needle` has
/// two bytes or more.
[[nodiscard]] std::size_t find_sequence(std::string_view text,
                                        std::string_view needle,
                                        std::size_t from) noexcept;

/// The same for any `needle` that is not empty.
[[nodiscard]] inline std::size_t find_bytes(std::string_view text,
                                            std::string_view needle,
                                            std::size_t from = 0) noexcept {
  if (needle.size() != 1) {
    return find_sequence(text, needle, from);
  }
  if (from >= text.size()) {
    return std::string_view::npos;
  }
  const void* const hit =
      std::memchr(text.data() + from, needle.front(), text.size() - from);
  return hit == nullptr ? std::string_view::npos
                        : static_cast<std::size_t>(
                              static_cast<const char*>(hit) - text.data());
}

/// Owns its chunks; they go back to the pool. Views of its bytes live until
/// the bytes are consumed or merged, or the deque is cleared or destroyed.
class ChunkDeque {
 public:
  explicit ChunkDeque(ChunkPool& pool) noexcept : pool_(&pool) {}
  ChunkDeque(ChunkDeque&& other) noexcept;
  ChunkDeque& operator=(ChunkDeque&& other) noexcept;
  ~ChunkDeque() {
    if (first_ != nullptr) {
      clear();
    }
    unpin();
  }

  ChunkDeque(const ChunkDeque&) = delete;
  ChunkDeque& operator=(const ChunkDeque&) = delete;

  /// Bytes in all.
  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  [[nodiscard]] bool empty() const noexcept { return size_ == 0; }

  /// Throws std::bad_alloc and has then appended nothing.
  void append(std::string_view data);

  /// Appends `data` as a chunk of its own, whatever room there was before.
  void append_chunk(std::string_view data);

  /// Contiguous spare room of at least `size` bytes behind the last byte, to
  /// be filled and then committed before anything else is done.
  [[nodiscard]] std::span<char> reserve(std::size_t size);
  void commit(std::size_t size) noexcept;

  /// The first chunk's bytes.
  [[nodiscard]] std::string_view front() const noexcept;

  /// Makes the first chunk hold exactly the first `size` bytes, or all there
  /// are: joins chunks, and splits the last one when needed. Nothing changes
  /// where one chunk holds all and no more than `size`; an empty deque gets one
  /// empty chunk. Costs at most a copy of the prefix. (Tornado: _merge_prefix.)
  void merge_prefix(std::size_t size);

  /// The first `size` bytes in one piece, merged only where they are not.
  /// Requires: size <= size().
  [[nodiscard]] std::string_view prefix(std::size_t size);

  /// All bytes in one chunk that has room for `capacity` bytes in all, and at
  /// least one more than there are; returns the room, as reserve does. The
  /// chunk grows by doubling, so that doing this after every append costs
  /// amortised constant time a byte.
  [[nodiscard]] std::span<char> make_contiguous(std::size_t capacity = 0);

  /// Drops the first `size` bytes. Requires: size <= size().
  void consume(std::size_t size) noexcept;

  /// The first `size` bytes in one piece, and drops them; the view lives until
  /// unpin(), whatever is done to the deque meanwhile. Requires: size <=
  /// size(); nothing is pinned.
  [[nodiscard]] std::string_view pin_prefix(std::size_t size);
  void unpin() noexcept {
    if (pinned_ != nullptr) {
      let_go_of_pinned();
    }
  }

  /// Drops everything behind the first `size` bytes. Requires: size <= size().
  void truncate(std::size_t size) noexcept;

  void clear() noexcept;

  static constexpr std::size_t npos = static_cast<std::size_t>(-1);

  /// The offset of the first occurrence of `needle` that begins at `from` or
  /// later; npos if there is none. Linear in the bytes behind `from`, however
  /// many lie before it.
  [[nodiscard]] std::size_t find(std::string_view needle,
                                 std::size_t from) const;

  /// Fills `pieces` with the first chunks for a gathering write; returns how
  /// many were filled.
  std::size_t gather(std::span<iovec> pieces) const noexcept;

  /// The chunks in order, for tests and for those who need the pieces.
  [[nodiscard]] const Chunk* first() const noexcept { return first_; }

 private:
  struct Place {
    Chunk* chunk;
    std::size_t begin;  // offset of the chunk's first byte in the deque
  };

  [[nodiscard]] Place place_of(std::size_t offset) const noexcept;
  void link_back(Chunk* chunk) noexcept;
  void link_front(Chunk* chunk) noexcept;
  void drop_front() noexcept;
  void drop_back() noexcept;
  void retire(Chunk* chunk) noexcept;
  void let_go_of_pinned() noexcept;
  void merge_front(std::size_t size, std::size_t capacity);
  [[nodiscard]] std::size_t next_capacity(std::size_t wanted) const noexcept;

  Chunk* first_ = nullptr;
  Chunk* last_ = nullptr;
  Chunk* pinned_ = nullptr;   // kept for a view
  bool pinned_left_ = false;  // pinned_ is in the deque no more
  std::size_t size_ = 0;
  ChunkPool* pool_;
};

}  // namespace waterspout
