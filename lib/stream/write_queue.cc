#include "stream/write_queue.h"

#include <algorithm>
#include <array>
#include <new>
#include <utility>

namespace waterspout {
namespace {

// Pieces in one gathering write; more chunks than this wait for the next.
constexpr std::size_t kPieces = 64;

// What a transport that freezes writes is offered at once: a TLS record.
constexpr std::size_t kFrozenPiece = 16384;

}  // namespace

WriteQueue::WriteQueue(WriteQueue&& other) noexcept
    : backlog_(std::move(other.backlog_)),
      written_(std::exchange(other.written_, other.sent_)),
      sent_(other.sent_),
      reported_(other.reported_),
      blocked_(other.blocked_),
      ended_(other.ended_) {}

// What was gathered in the input cannot grow there but by what follows it.
void WriteQueue::gather_copy(std::string_view data, Scratch& scratch) {
  char* const output = scratch.output().data();
  if (gathered_.data() != output) {
    std::copy(gathered_.begin(), gathered_.end(), output);
  }
  std::copy(data.begin(), data.end(), output + gathered_.size());
  gathered_ = {output, gathered_.size() + data.size()};
  written_ += data.size();
}

BaseIOStream::WriteCallback& WriteQueue::gather_copy_to_tell(
    std::string_view data, StreamPools& pools) {
  gather_copy(data, pools.scratch);
  return link_completion(pools.completions);
}

// As send_plain(), for what is gathered or a large write, by itself.
inline Transfer WriteQueue::send_alone(Transport& transport, StreamPools& pools,
                                       std::string_view data) {
  gathered_ = {};
  const Transfer sent = transport.write(data);
  sent_ += sent.bytes;
  if (sent.bytes != data.size()) {
    return kept_back(sent, data.substr(sent.bytes), pools);
  }
  return all_sent();
}

Transfer WriteQueue::send(Transport& transport, StreamPools& pools,
                          std::string_view data) {
  if (transport.freezes_writes()) {
    append(data, pools);
    return send_frozen(transport, backlog(pools));
  }
  written_ += data.size();
  if (queued() == 0 && gathered_.empty() != data.empty()) {
    return send_alone(transport, pools, gathered_.empty() ? data : gathered_);
  }
  return send_plain(transport, pools, data);
}

Transfer WriteQueue::send_plain(Transport& transport, StreamPools& pools,
                                std::string_view data) {
  while (queued() + gathered_.size() + data.size() != 0) {
    std::size_t offered = 0;
    const Transfer sent = attempt(transport, data, offered);
    consume(sent.bytes, data);
    // Less than was offered: it is full, and would only say so once more.
    if (sent.bytes < offered) {
      return kept_back(sent, data, pools);
    }
  }
  return all_sent();
}

Transfer WriteQueue::all_sent() noexcept {
  backlog_.reset();
  blocked_ = false;
  return Transfer::Outcome::done;
}

// What was not taken must outlive this event. Where it cannot, the stream of
// bytes has a gap, and nothing more may be sent.
Transfer WriteQueue::kept_back(Transfer sent, std::string_view data,
                               StreamPools& pools) noexcept {
  blocked_ = true;
  try {
    keep(data, pools);
  } catch (const std::bad_alloc&) {
    return Transfer::failure(
        std::make_error_code(std::errc::not_enough_memory));
  }
  if (sent.outcome == Transfer::Outcome::done) {
    sent.outcome = Transfer::Outcome::would_block;
  }
  return sent;
}

void WriteQueue::consume(std::size_t size, std::string_view& data) noexcept {
  sent_ += size;
  const std::size_t from_queue = std::min(size, queued());
  if (backlog_) {
    backlog_->unsent.consume(from_queue);
  }
  const std::size_t gathered = std::min(size - from_queue, gathered_.size());
  gathered_.remove_prefix(gathered);
  data.remove_prefix(size - from_queue - gathered);
}

void WriteQueue::keep(std::string_view data, StreamPools& pools) {
  ChunkDeque& unsent = backlog(pools).unsent;
  unsent.append(gathered_);
  gathered_ = {};
  unsent.append(data);
}

// One piece at a time, and the same one again until it is taken.
Transfer WriteQueue::send_frozen(Transport& transport, Backlog& waiting) {
  blocked_ = true;
  if (transport.holds_output()) {
    const Transfer flushed = flush(transport);
    if (flushed.outcome != Transfer::Outcome::done) {
      return flushed;
    }
  }
  while (!waiting.unsent.empty()) {
    const std::string_view piece = frozen_piece(waiting);
    const iovec vector{const_cast<char*>(piece.data()), piece.size()};
    const Transfer taken = transport.write({&vector, 1});
    if (taken.outcome != Transfer::Outcome::done) {
      return taken;
    }
    waiting.frozen = 0;
    waiting.unsent.consume(taken.bytes);
    waiting.held += taken.bytes;
    if (!transport.holds_output()) {
      sent_ += std::exchange(waiting.held, 0);
    }
  }
  const Transfer flushed = flush(transport);
  return flushed.outcome == Transfer::Outcome::done ? all_sent() : flushed;
}

// Done once the kernel has all that was taken.
Transfer WriteQueue::flush(Transport& transport) noexcept {
  const Transfer flushed = transport.flush();
  if (flushed.outcome == Transfer::Outcome::done && backlog_) {
    sent_ += std::exchange(backlog_->held, 0);
  }
  return flushed;
}

Transfer WriteQueue::attempt(Transport& transport, std::string_view data,
                             std::size_t& offered) noexcept {
  // NOLINTNEXTLINE(cppcoreguidelines-pro-type-member-init): gather fills it
  std::array<iovec, kPieces> pieces;
  std::size_t count =
      backlog_ ? backlog_->unsent.gather({pieces.data(), kPieces - 2}) : 0;
  for (std::size_t i = 0; i < count; ++i) {
    offered += pieces[i].iov_len;
  }
  for (const std::string_view more : {gathered_, data}) {
    if (!more.empty() && offered >= queued()) {
      pieces[count++] = {const_cast<char*>(more.data()), more.size()};
      offered += more.size();
    }
  }
  return transport.write({pieces.data(), count});
}

std::string_view WriteQueue::frozen_piece(Backlog& waiting) {
  ChunkDeque& unsent = waiting.unsent;
  if (waiting.frozen == 0) {
    waiting.frozen = std::min(unsent.size(), kFrozenPiece);
    if (unsent.front().size() < waiting.frozen) {
      unsent.merge_prefix(waiting.frozen);
    }
  }
  return unsent.front().substr(0, waiting.frozen);
}

std::size_t WriteQueue::reported_unsent() const noexcept {
  return reported_ > sent_ ? static_cast<std::size_t>(reported_ - sent_) : 0;
}

WriteQueue WriteQueue::take_reported() noexcept {
  const std::size_t reported = reported_unsent();
  if (backlog_) {
    const std::size_t held = backlog_->held;
    const std::size_t rest = reported - std::min(held, reported);
    backlog_->unsent.truncate(std::max(rest, backlog_->frozen));
    written_ = sent_ + held + backlog_->unsent.size();
  }
  return std::move(*this);
}

void WriteQueue::drop_unsent_completions() noexcept {
  Completion** end = &first_;
  while (*end != nullptr && (*end)->position <= sent_) {
    last_ = *end;
    end = &(*end)->next;
  }
  destroy(std::exchange(*end, nullptr));
}

void WriteQueue::drop_completions() noexcept {
  destroy(std::exchange(first_, nullptr));
}

// Of completions that are out of the queue: their destructors may run user
// code, which may look at it.
void WriteQueue::destroy(Completion* first) noexcept {
  while (first != nullptr) {
    Completion* const next = first->next;
    const CompletionPool::Owner dying(first);
    first = next;
  }
}

void WriteQueue::clear() noexcept {
  backlog_.reset();
  gathered_ = {};
  written_ = sent_;
}

}  // namespace waterspout
