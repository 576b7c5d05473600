// ReadBuffer: what a stream has received and nobody has read.

#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "base/chunk_deque.h"
#include "loop/pooled.h"

namespace waterspout {

/// Bytes in order: those that are stored, and behind them those that have just
/// come, which lie where they were received until they are read or store() is
/// called. Most are read there, and then a stream needs no memory for them: it
/// has some only while something is stored.
class ReadBuffer {
 public:
  [[nodiscard]] std::size_t size() const noexcept {
    return stored_size() + incoming_.size();
  }
  [[nodiscard]] bool empty() const noexcept {
    return incoming_.empty() && !has_stored();
  }

  [[nodiscard]] bool has_stored() const noexcept {
    return stored_ && !stored_->chunks.empty();
  }
  [[nodiscard]] std::size_t stored_size() const noexcept {
    return stored_ ? stored_->chunks.size() : 0;
  }
  /// Requires: has_stored().
  [[nodiscard]] ChunkDeque& stored() noexcept { return stored_->chunks; }

  /// What has just come and is not stored.
  [[nodiscard]] std::string_view incoming() const noexcept { return incoming_; }

  /// `data` has come. It stays where it is until store(). Requires: what came
  /// before is stored.
  void receive(std::string_view data) noexcept { incoming_ = data; }

  /// Errors: throws std::bad_alloc; what has just come is lost then.
  void store(ChunkPool& pool) {
    if (!incoming_.empty()) {
      const std::string_view coming = std::exchange(incoming_, {});
      chunks(pool).append(coming);
    }
  }

  /// Room behind what is stored, which is then in one piece, for a read that
  /// wants `size` bytes more: filled, and then committed or given back.
  [[nodiscard]] std::span<char> reserve(std::size_t size, ChunkPool& pool) {
    ChunkDeque& all = chunks(pool);
    return all.make_contiguous(all.size() + size).first(size);
  }
  void commit(std::size_t size) noexcept { stored_->chunks.commit(size); }
  void give_room_back() noexcept { free_if_empty(); }

  /// Takes the first `size` bytes out, in one piece, which lives until
  /// end_view(). Requires: size <= size(), and where anything is stored,
  ///   everything is.
  [[nodiscard]] std::string_view take(std::size_t size) {
    if (has_stored()) [[unlikely]] {
      return stored_->chunks.pin_prefix(size);
    }
    return take_incoming(size);
  }
  void end_view() noexcept {
    if (stored_) [[unlikely]] {
      stored_->chunks.unpin();
      free_if_empty();
    }
  }

  /// As take(), for a view that lives as long as what has come is not stored.
  /// Requires: !has_stored(); size <= incoming().size().
  [[nodiscard]] std::string_view take_incoming(std::size_t size) noexcept {
    const std::string_view view(incoming_.data(), size);
    incoming_.remove_prefix(size);
    return view;
  }

  [[nodiscard]] std::string take_all();

  void clear() noexcept {
    stored_.reset();
    incoming_ = {};
  }

 private:
  struct Stored : Pooled {
    explicit Stored(ChunkPool& pool) noexcept : chunks(pool) {}
    ChunkDeque chunks;
  };

  [[nodiscard]] ChunkDeque& chunks(ChunkPool& pool) {
    if (!stored_) {
      stored_ = std::make_unique<Stored>(pool);
    }
    return stored_->chunks;
  }
  void free_if_empty() noexcept {
    if (stored_ && stored_->chunks.empty()) {
      stored_.reset();
    }
  }

  std::unique_ptr<Stored> stored_;
  std::string_view incoming_;
};

}  // namespace waterspout
