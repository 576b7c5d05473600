// WriteQueue: what a stream has been given to write and has not sent, and whom
// to tell.

#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>

#include "waterspout/iostream.h"

#include "base/chunk_deque.h"
#include "loop/completion_pool.h"
#include "loop/scratch.h"
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
  /// stay behind. Requires: nothing is gathered.
  WriteQueue(WriteQueue&& other) noexcept;

  WriteQueue(const WriteQueue&) = delete;
  WriteQueue& operator=(const WriteQueue&) = delete;

  /// Bytes that the kernel has not taken.
  [[nodiscard]] std::size_t size() const noexcept {
    return static_cast<std::size_t>(written_ - sent_);
  }

  /// Requires: nothing is gathered.
  void append(std::string_view data) {
    unsent_.append(data);
    written_ += data.size();
  }

  /// As append(), for bytes that send() will be called for before the loop
  /// handles another event or receives more: they are kept in `scratch`, and
  /// where they lie in its input already, they stay there.
  /// Requires: no more than Scratch::kOutputSize bytes are gathered by it.
  void gather(std::string_view data, Scratch& scratch) {
    if (scratch.holds_input(data) &&
        (gathered_.empty() || gathered_.end() == data.begin())) {
      gathered_ = {data.data() - gathered_.size(),
                   gathered_.size() + data.size()};
    } else {
      gather_copy(data, scratch);
    }
    written_ += data.size();
  }

  /// Sends what is queued, what is gathered and then `data`, until all is
  /// taken, the transport would block (blocked() from then on), or it fails.
  /// What is not taken is queued; nothing is gathered any more. The outcome is
  /// done (of all), would_block or failed.
  Transfer send(Transport& transport, std::string_view data = {});

  [[nodiscard]] bool only_gathers() const noexcept {
    return !gathered_.empty() && unsent_.empty();
  }

  /// As send(), where that is only what is gathered, as most times.
  /// Requires: only_gathers(); not blocked(); the transport does not freeze
  ///   writes.
  Transfer send_gathered(Transport& transport) {
    const Transfer sent = transport.write(gathered_);
    sent_ += sent.bytes;
    gathered_.remove_prefix(sent.bytes);
    return gathered_.empty() ? sent : kept_back(sent, {});
  }

  /// True from an attempt that was not taken whole to one that was.
  [[nodiscard]] bool blocked() const noexcept { return blocked_; }

  /// Nothing more will be appended.
  void end() noexcept { ended_ = true; }
  [[nodiscard]] bool ended() const noexcept { return ended_; }

  /// `callback` is to be told when all that was written so far is done.
  void add_completion(BaseIOStream::WriteCallback&& callback) {
    callback.set_operation("write");
    Completion* const added = completions_.take(std::move(callback), written_);
    (last_ != nullptr ? last_->next : first_) = added;
    last_ = added;
  }

  /// Whether the oldest callback's write is done. `gathering`: bytes in the
  /// queue count as done, since they leave at the end of this event.
  [[nodiscard]] bool has_done(bool gathering) const noexcept {
    return first_ != nullptr && (gathering || first_->position <= sent_);
  }

  /// The oldest callback, taken out; its write is reported from now on.
  /// Requires: there is one.
  [[nodiscard]] CompletionPool::Owner take_done() noexcept {
    Completion* const done = first_;
    first_ = done->next;
    last_ = first_ != nullptr ? last_ : nullptr;
    reported_ = done->position;
    return CompletionPool::Owner(completions_, done);
  }

  [[nodiscard]] bool has_completions() const noexcept {
    return first_ != nullptr;
  }

  /// Bytes in the queue that a callback was told of.
  [[nodiscard]] std::size_t reported_unsent() const noexcept;

  /// Drops what no callback was told of, but for what is frozen; the rest comes
  /// back. The callbacks stay. Requires: nothing is gathered.
  [[nodiscard]] WriteQueue take_reported() noexcept;

  /// Destroys the callbacks of writes that the kernel has not taken.
  void drop_unsent_completions() noexcept;
  void drop_completions() noexcept;

  void clear() noexcept;

 private:
  void gather_copy(std::string_view data, Scratch& scratch);
  Transfer send_plain(Transport& transport, std::string_view data);
  Transfer send_frozen(Transport& transport);
  Transfer flush(Transport& transport) noexcept;
  [[nodiscard]] std::string_view frozen_piece();
  Transfer attempt(Transport& transport, std::string_view data,
                   std::size_t& offered) noexcept;
  void consume(std::size_t size, std::string_view& data) noexcept;
  [[gnu::noinline]] Transfer kept_back(Transfer sent, std::string_view data);
  void keep(std::string_view data);
  void destroy(Completion* first) noexcept;

  ChunkDeque unsent_;
  std::string_view gathered_;  // behind unsent_, in a Scratch
  CompletionPool& completions_;
  Completion* first_ = nullptr;
  Completion* last_ = nullptr;
  std::uint64_t written_ = 0;   // position behind the last byte
  std::uint64_t sent_ = 0;      // position behind the last byte taken
  std::uint64_t reported_ = 0;  // position behind the last byte reported
  std::size_t held_ = 0;        // bytes that the transport holds back
  std::size_t frozen_ = 0;      // length of the attempt to be repeated
  bool blocked_ = false;
  bool ended_ = false;
};

}  // namespace waterspout
