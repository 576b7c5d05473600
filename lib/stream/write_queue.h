// WriteQueue: what a stream has been given to write and has not sent, and whom
// to tell.

#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "waterspout/iostream.h"

#include "base/chunk_deque.h"
#include "loop/completion_pool.h"
#include "stream/transport.h"

namespace waterspout {

/// Bytes in order, and completions in order, each at the position in the
/// stream of bytes where its write ends.
///
/// Frozen write: once a transport that freezes_writes() would block, the next
/// attempt presents the same bytes at the same address and of the same length,
/// whatever was appended since: chunks never move, and the length is kept. Such
/// a transport may hold back what it has taken: that counts as unsent.
class WriteQueue {
 public:
  WriteQueue(ChunkPool& pool, CompletionPool& completions) noexcept
      : unsent_(pool), completions_(completions) {}
  ~WriteQueue() { drop_completions(); }

  /// Takes the bytes over, and what is frozen stays as it is; the callbacks
  /// stay behind.
  WriteQueue(WriteQueue&& other) noexcept;

  WriteQueue(const WriteQueue&) = delete;
  WriteQueue& operator=(const WriteQueue&) = delete;

  /// Bytes that the kernel has not taken.
  [[nodiscard]] std::size_t size() const noexcept {
    return held_ + unsent_.size();
  }

  void append(std::string_view data) { unsent_.append(data); }

  /// How sending went.
  struct Sent {
    bool failed = false;
    std::size_t of_data = 0;  ///< bytes of `data` that were taken
    std::error_code error;
  };

  /// Sends what is queued and then `data`, which is not queued, until all is
  /// taken, the transport would block (blocked() from then on), or it fails.
  /// `data` must be empty for a transport that freezes writes.
  Sent send(Transport& transport, std::string_view data = {});

  /// True from an attempt that was not taken whole to one that was.
  [[nodiscard]] bool blocked() const noexcept { return blocked_; }

  /// Nothing more will be appended.
  void end() noexcept { ended_ = true; }
  [[nodiscard]] bool ended() const noexcept { return ended_; }

  /// `callback` is to be told when all that was written so far is done.
  void add_completion(BaseIOStream::WriteCallback callback);

  /// Whether the oldest callback's write is done. `gathering`: bytes in the
  /// queue count as done, since they leave at the end of this event.
  [[nodiscard]] bool has_done(bool gathering) const noexcept;

  /// The oldest callback, taken out; its write is reported from now on.
  /// Requires: there is one.
  BaseIOStream::WriteCallback take_done() noexcept;

  [[nodiscard]] bool has_completions() const noexcept {
    return first_ != nullptr;
  }

  /// Bytes in the queue that a callback was told of.
  [[nodiscard]] std::size_t reported_unsent() const noexcept;

  /// Drops what no callback was told of, but for what is frozen; the rest comes
  /// back. The callbacks stay.
  [[nodiscard]] WriteQueue take_reported() noexcept;

  /// Destroys the callbacks of writes that the kernel has not taken.
  void drop_unsent_completions() noexcept;
  void drop_completions() noexcept;

  void clear() noexcept;

 private:
  Sent send_frozen(Transport& transport);
  bool flush(Transport& transport, Sent& sent) noexcept;
  [[nodiscard]] std::string_view frozen_piece();
  Transfer attempt(Transport& transport, std::string_view data,
                   std::size_t& offered) noexcept;
  void destroy(Completion* first) noexcept;
  [[nodiscard]] std::uint64_t written() const noexcept {
    return sent_ + size();
  }

  ChunkDeque unsent_;
  CompletionPool& completions_;
  Completion* first_ = nullptr;
  Completion* last_ = nullptr;
  std::uint64_t sent_ = 0;      // position behind the last byte taken
  std::uint64_t reported_ = 0;  // position behind the last byte reported
  std::size_t held_ = 0;        // bytes that the transport holds back
  std::size_t frozen_ = 0;      // length of the attempt to be repeated
  bool blocked_ = false;
  bool ended_ = false;
};

}  // namespace waterspout
