// WriteQueue: what a stream has been given to write and has not sent, and whom
// to tell.

#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <utility>

#include "waterspout/iostream.h"

#include "base/chunk_deque.h"
#include "loop/pooled.h"
#include "loop/scratch.h"
#include "loop/stream_pools.h"
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
  WriteQueue() noexcept = default;
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

  // `pools` are the loop's, the same ones each time.

  /// Behind all that was written before.
  /// Errors: throws std::bad_alloc, and `data` is not written then.
  void append(std::string_view data, StreamPools& pools) {
    keep(data, pools);
    written_ += data.size();
  }

  /// As append(), for bytes that send() will be called for before the loop
  /// handles another event or receives more: they are kept in the scratch
  /// memory, and where they lie in its input already, they stay there.
  /// Requires: no more than Scratch::kOutputSize bytes are gathered by it.
  void gather(std::string_view data, StreamPools& pools) {
    if (!gather_where_it_lies(data, pools.scratch)) {
      gather_copy(data, pools.scratch);
    }
  }

  /// Sends what is queued, what is gathered and then `data`, until all is
  /// taken, the transport would block (blocked() from then on), or it fails.
  /// What is not taken is queued; nothing is gathered any more. The outcome is
  /// done (of all), would_block or failed, also where there is no memory to
  /// queue the rest of something.
  /// Errors: throws std::bad_alloc, and `data` is not written then.
  Transfer send(Transport& transport, StreamPools& pools,
                std::string_view data = {});

  /// In bytes.
  [[nodiscard]] std::size_t gathered() const noexcept {
    return gathered_.size();
  }

  /// As send(), where that is only what is gathered, as most times.
  /// Requires: something is, and nothing is queued; the transport does not
  ///   freeze writes.
  Transfer send_gathered(Transport& transport, StreamPools& pools) {
    const Transfer sent = transport.write(gathered_);
    sent_ += sent.bytes;
    gathered_.remove_prefix(sent.bytes);
    return gathered_.empty() ? Transfer::Outcome::done
                             : kept_back(sent, {}, pools);
  }

  /// True from an attempt that was not taken whole to one that was.
  [[nodiscard]] bool blocked() const noexcept { return blocked_; }

  /// Nothing more will be appended.
  void end() noexcept { ended_ = true; }
  [[nodiscard]] bool ended() const noexcept { return ended_; }

  /// `callback` is to be told when all that was written so far is done.
  void add_completion(BaseIOStream::WriteCallback&& callback,
                      StreamPools& pools) {
    callback.set_operation("write");
    Completion* const added = pools.completions.take(written_);
    added->callback = std::move(callback);
    link(added);
  }

  /// gather() and add_completion(), for a callback that the caller makes where
  /// this says, at once. Requires: the pool of completions keeps_any().
  [[nodiscard]] BaseIOStream::WriteCallback& gather_to_tell(
      std::string_view data, StreamPools& pools) {
    return gather_where_it_lies(data, pools.scratch)
               ? link_completion(pools.completions)
               : gather_copy_to_tell(data, pools);
  }

  /// Whether the oldest callback's write is done. `gathering`: bytes in the
  /// queue count as done, since they leave at the end of this event.
  [[nodiscard]] bool has_done(bool gathering) const noexcept {
    return first_ != nullptr && (gathering || first_->position <= sent_);
  }

  /// The oldest callback, taken out; its write is reported from now on.
  /// Requires: there is one.
  [[nodiscard]] CompletionPool::Owner take_done() noexcept {
    return CompletionPool::Owner(unlink_done());
  }

  /// The same for a callback that the caller calls once, before anything else.
  /// Requires: there is one, and can_lend_done().
  [[nodiscard]] BaseIOStream::WriteCallback& lend_done() noexcept {
    Completion* const done = unlink_done();
    done->pool.put_back(done);
    return done->callback;
  }
  [[nodiscard]] bool can_lend_done() const noexcept {
    return first_->pool.keeps_all();
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
  /// What waits for the kernel, as little does for long.
  struct Backlog : Pooled {
    explicit Backlog(ChunkPool& pool) noexcept : unsent(pool) {}
    ChunkDeque unsent;
    std::size_t held = 0;    // bytes that the transport holds back
    std::size_t frozen = 0;  // length of the attempt to be repeated
  };
  [[nodiscard]] Backlog& backlog(StreamPools& pools) {
    if (!backlog_) {
      backlog_ = std::make_unique<Backlog>(pools.chunks);
    }
    return *backlog_;
  }
  [[nodiscard]] std::size_t queued() const noexcept {
    return backlog_ ? backlog_->unsent.size() : 0;
  }

  void link(Completion* added) noexcept {
    (first_ == nullptr ? first_ : last_->next) = added;
    last_ = added;
  }
  Completion* unlink_done() noexcept {
    Completion* const done = first_;
    first_ = done->next;
    reported_ = done->position;
    return done;
  }
  // In the input, as the answers to a row of lines that are echoed. False, and
  // nothing is done, where that cannot be.
  bool gather_where_it_lies(std::string_view data,
                            const Scratch& scratch) noexcept {
    if (gathered_.data() + gathered_.size() == data.data()) {
      gathered_ = {gathered_.data(), gathered_.size() + data.size()};
    } else if (gathered_.empty() && scratch.holds_input(data)) {
      gathered_ = data;
    } else {
      return false;
    }
    written_ += data.size();
    return true;
  }
  BaseIOStream::WriteCallback& link_completion(
      CompletionPool& completions) noexcept {
    Completion* const added = completions.take_kept(written_);
    link(added);
    return added->callback;
  }
  Transfer all_sent() noexcept;
  [[gnu::always_inline]] Transfer send_alone(Transport& transport,
                                             StreamPools& pools,
                                             std::string_view data);
  void gather_copy(std::string_view data, Scratch& scratch);
  BaseIOStream::WriteCallback& gather_copy_to_tell(std::string_view data,
                                                   StreamPools& pools);
  Transfer send_plain(Transport& transport, StreamPools& pools,
                      std::string_view data);
  Transfer send_frozen(Transport& transport, Backlog& waiting);
  Transfer flush(Transport& transport) noexcept;
  [[nodiscard]] static std::string_view frozen_piece(Backlog& waiting);
  Transfer attempt(Transport& transport, std::string_view data,
                   std::size_t& offered) noexcept;
  void consume(std::size_t size, std::string_view& data) noexcept;
  [[gnu::noinline]] Transfer kept_back(Transfer sent, std::string_view data,
                                       StreamPools& pools) noexcept;
  void keep(std::string_view data, StreamPools& pools);
  static void destroy(Completion* first) noexcept;

  std::unique_ptr<Backlog> backlog_;
  std::string_view gathered_;  // behind the backlog, in a Scratch
  Completion* first_ = nullptr;
  Completion* last_ = nullptr;  // where first_ is not null
  std::uint64_t written_ = 0;   // position behind the last byte
  std::uint64_t sent_ = 0;      // position behind the last byte taken
  std::uint64_t reported_ = 0;  // position behind the last byte reported
  bool blocked_ = false;
  bool ended_ = false;
};

}  // namespace waterspout
