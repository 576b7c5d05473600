#include "base/chunk_deque.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

namespace waterspout {
namespace {

// New chunks grow with the buffer, from what the data needs up to this.
constexpr std::size_t kLargestStep = std::size_t{64} * 1024;

// The last `size` bytes of `carry` + `text`, kept in `carry`.
void keep_tail(std::string& carry, std::string_view text, std::size_t size) {
  if (text.size() >= size) {
    carry.assign(text.substr(text.size() - size));
    return;
  }
  const std::size_t kept = std::min(carry.size(), size - text.size());
  carry.erase(0, carry.size() - kept);
  carry.append(text);
}

}  // namespace

// memmem(3) makes a table first, which costs more than to search most messages
// for the needle's first byte. Where that is everywhere, the table is worth it.
std::size_t find_sequence(std::string_view text, std::string_view needle,
                          std::size_t from) noexcept {
  constexpr int kFalseHits = 16;
  const auto offset_of = [&](const void* hit) {
    return hit == nullptr ? ChunkDeque::npos
                          : static_cast<std::size_t>(
                                static_cast<const char*>(hit) - text.data());
  };
  for (int hits = 0; from + needle.size() <= text.size(); ++hits, ++from) {
    const char* const begin = text.data() + from;
    const std::size_t left = text.size() - from;
    if (hits == kFalseHits) {
      return offset_of(::memmem(begin, left, needle.data(), needle.size()));
    }
    from =
        offset_of(std::memchr(begin, needle.front(), left - needle.size() + 1));
    if (from == ChunkDeque::npos) {
      break;
    }
    const char* const hit = text.data() + from;
    if (hit[needle.size() - 1] == needle.back() &&
        std::memcmp(hit, needle.data(), needle.size()) == 0) {
      return from;
    }
  }
  return ChunkDeque::npos;
}

ChunkDeque::ChunkDeque(ChunkDeque&& other) noexcept
    : first_(std::exchange(other.first_, nullptr)),
      last_(std::exchange(other.last_, nullptr)),
      size_(std::exchange(other.size_, 0)),
      pool_(other.pool_) {}

ChunkDeque& ChunkDeque::operator=(ChunkDeque&& other) noexcept {
  std::swap(first_, other.first_);
  std::swap(last_, other.last_);
  std::swap(size_, other.size_);
  std::swap(pool_, other.pool_);
  return *this;
}

void ChunkDeque::append(std::string_view data) {
  if (data.empty()) {
    return;
  }
  const std::size_t room = last_ != nullptr ? last_->spare().size() : 0;
  const std::string_view head = data.substr(0, room);
  const std::string_view rest = data.substr(head.size());
  Chunk* const added =
      rest.empty() ? nullptr : pool_->take(next_capacity(rest.size()));
  if (!head.empty()) {
    std::memcpy(last_->spare().data(), head.data(), head.size());
    commit(head.size());
  }
  if (added != nullptr) {
    link_back(added);
    std::memcpy(added->memory(), rest.data(), rest.size());
    commit(rest.size());
  }
}

void ChunkDeque::append_chunk(std::string_view data) {
  link_back(pool_->take(data.size()));
  if (!data.empty()) {
    std::memcpy(last_->memory(), data.data(), data.size());
    commit(data.size());
  }
}

std::span<char> ChunkDeque::reserve(std::size_t size) {
  if (last_ == nullptr || last_->spare().size() < size) {
    link_back(pool_->take(size));
  }
  return last_->spare();
}

void ChunkDeque::commit(std::size_t size) noexcept {
  last_->end += size;
  size_ += size;
}

std::string_view ChunkDeque::front() const noexcept {
  return first_ != nullptr ? first_->filled() : std::string_view();
}

void ChunkDeque::merge_prefix(std::size_t size) {
  if (first_ == nullptr) {
    link_back(pool_->take(0));
    return;
  }
  const std::size_t wanted = std::min(size, size_);
  if (first_->size() == wanted) {
    return;
  }
  merge_front(wanted, wanted);
}

std::string_view ChunkDeque::prefix(std::size_t size) {
  if (front().size() < size) {
    merge_prefix(size);
  }
  return front().substr(0, size);
}

std::span<char> ChunkDeque::make_contiguous(std::size_t capacity) {
  if (first_ == nullptr) {
    return reserve(std::max(capacity, std::size_t{1}));
  }
  const std::size_t wanted = std::max(capacity, size_ + 1);
  if (first_ != last_ || first_->begin + wanted > first_->capacity) {
    merge_front(size_, std::max(wanted, 2 * size_));
  }
  return last_->spare();
}

void ChunkDeque::consume(std::size_t size) noexcept {
  size_ -= size;
  while (first_ != nullptr && first_->size() <= size) {
    size -= first_->size();
    drop_front();
  }
  if (size != 0) {
    first_->begin += size;
  }
}

std::string_view ChunkDeque::pin_prefix(std::size_t size) {
  const std::string_view view = prefix(size);
  pinned_ = first_;
  consume(size);
  return view;
}

void ChunkDeque::let_go_of_pinned() noexcept {
  Chunk* const chunk = std::exchange(pinned_, nullptr);
  if (std::exchange(pinned_left_, false)) {
    pool_->give_back(chunk);
  }
}

void ChunkDeque::truncate(std::size_t size) noexcept {
  std::size_t surplus = size_ - size;
  size_ = size;
  while (last_ != nullptr && last_->size() <= surplus) {
    surplus -= last_->size();
    drop_back();
  }
  if (surplus != 0) {
    last_->end -= surplus;
  }
}

void ChunkDeque::clear() noexcept {
  while (first_ != nullptr) {
    drop_front();
  }
  size_ = 0;
}

std::size_t ChunkDeque::find(std::string_view needle, std::size_t from) const {
  if (from >= size_ || size_ - from < needle.size()) {
    return npos;
  }
  const std::size_t reach = needle.size() - 1;
  std::string carry;  // the bytes before `chunk` that a match may begin in
  auto [chunk, begin] = place_of(from);
  std::size_t skip = from - begin;
  for (; chunk != nullptr; chunk = chunk->next) {
    const std::string_view text = chunk->filled().substr(skip);
    if (!carry.empty()) {
      const std::size_t before = carry.size();
      carry.append(text.substr(0, reach));
      if (const std::size_t hit = find_bytes(carry, needle); hit != npos) {
        return begin - before + hit;
      }
      carry.resize(before);
    }
    if (const std::size_t hit = find_bytes(text, needle); hit != npos) {
      return begin + skip + hit;
    }
    if (reach != 0) {
      keep_tail(carry, text, reach);
    }
    begin += chunk->size();
    skip = 0;
  }
  return npos;
}

std::size_t ChunkDeque::gather(std::span<iovec> pieces) const noexcept {
  std::size_t count = 0;
  for (Chunk* chunk = first_; chunk != nullptr && count < pieces.size();
       chunk = chunk->next) {
    if (chunk->size() != 0) {
      pieces[count++] = {chunk->memory() + chunk->begin, chunk->size()};
    }
  }
  return count;
}

// Walks from the back: searches resume near the end of a long buffer.
ChunkDeque::Place ChunkDeque::place_of(std::size_t offset) const noexcept {
  Chunk* chunk = last_;
  std::size_t begin = size_ - last_->size();
  while (begin > offset) {
    chunk = chunk->previous;
    begin -= chunk->size();
  }
  return {chunk, begin};
}

void ChunkDeque::link_back(Chunk* chunk) noexcept {
  chunk->previous = last_;
  chunk->next = nullptr;
  (last_ != nullptr ? last_->next : first_) = chunk;
  last_ = chunk;
}

void ChunkDeque::link_front(Chunk* chunk) noexcept {
  chunk->previous = nullptr;
  chunk->next = first_;
  (first_ != nullptr ? first_->previous : last_) = chunk;
  first_ = chunk;
}

void ChunkDeque::drop_front() noexcept {
  Chunk* const chunk = first_;
  first_ = chunk->next;
  (first_ != nullptr ? first_->previous : last_) = nullptr;
  retire(chunk);
}

void ChunkDeque::drop_back() noexcept {
  Chunk* const chunk = last_;
  last_ = chunk->previous;
  (last_ != nullptr ? last_->next : first_) = nullptr;
  retire(chunk);
}

void ChunkDeque::retire(Chunk* chunk) noexcept {
  if (chunk == pinned_) {
    pinned_left_ = true;
  } else {
    pool_->give_back(chunk);
  }
}

void ChunkDeque::merge_front(std::size_t size, std::size_t capacity) {
  Chunk* const merged = pool_->take(capacity);
  while (merged->end < size) {
    const std::string_view piece = front().substr(0, size - merged->end);
    std::memcpy(merged->memory() + merged->end, piece.data(), piece.size());
    merged->end += piece.size();
    consume(piece.size());
  }
  link_front(merged);
  size_ += size;
}

std::size_t ChunkDeque::next_capacity(std::size_t wanted) const noexcept {
  return std::max(wanted, std::min(size_, kLargestStep));
}

}  // namespace waterspout
