#include "stream/write_queue.h"

#include <algorithm>
#include <array>
#include <utility>

namespace waterspout {
namespace {

// Pieces in one gathering write; more chunks than this wait for the next.
constexpr std::size_t kPieces = 64;

// What a transport that freezes writes is offered at once: a TLS record.
constexpr std::size_t kFrozenPiece = 16384;

}  // namespace

WriteQueue::WriteQueue(WriteQueue&& other) noexcept
    : unsent_(std::move(other.unsent_)),
      completions_(other.completions_),
      written_(std::exchange(other.written_, other.sent_)),
      sent_(other.sent_),
      reported_(other.reported_),
      held_(std::exchange(other.held_, 0)),
      frozen_(std::exchange(other.frozen_, 0)),
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
    std::string_view data, Scratch& scratch) {
  gather_copy(data, scratch);
  return link_completion();
}

Transfer WriteQueue::send(Transport& transport, std::string_view data) {
  written_ += data.size();
  if (transport.freezes_writes()) {
    keep(data);
    return send_frozen(transport);
  }
  if (unsent_.empty() && gathered_.empty() != data.empty()) {
    return send_alone(transport, gathered_.empty() ? data : gathered_);
  }
  return send_plain(transport, data);
}

// As send_plain(), for what is gathered or a large write, by itself.
Transfer WriteQueue::send_alone(Transport& transport, std::string_view data) {
  gathered_ = {};
  const Transfer sent = transport.write(data);
  sent_ += sent.bytes;
  if (sent.bytes != data.size()) {
    return kept_back(sent, data.substr(sent.bytes));
  }
  blocked_ = false;
  return Transfer::Outcome::done;
}

Transfer WriteQueue::send_plain(Transport& transport, std::string_view data) {
  while (unsent_.size() + gathered_.size() + data.size() != 0) {
    std::size_t offered = 0;
    const Transfer sent = attempt(transport, data, offered);
    consume(sent.bytes, data);
    // Less than was offered: it is full, and would only say so once more.
    if (sent.bytes < offered) {
      return kept_back(sent, data);
    }
  }
  blocked_ = false;
  return Transfer::Outcome::done;
}

// What was not taken must outlive this event.
Transfer WriteQueue::kept_back(Transfer sent, std::string_view data) {
  blocked_ = true;
  keep(data);
  if (sent.outcome == Transfer::Outcome::done) {
    sent.outcome = Transfer::Outcome::would_block;
  }
  return sent;
}

void WriteQueue::consume(std::size_t size, std::string_view& data) noexcept {
  sent_ += size;
  const std::size_t queued = std::min(size, unsent_.size());
  unsent_.consume(queued);
  const std::size_t gathered = std::min(size - queued, gathered_.size());
  gathered_.remove_prefix(gathered);
  data.remove_prefix(size - queued - gathered);
}

void WriteQueue::keep(std::string_view data) {
  unsent_.append(std::exchange(gathered_, {}));
  unsent_.append(data);
}

// One piece at a time, and the same one again until it is taken.
Transfer WriteQueue::send_frozen(Transport& transport) {
  blocked_ = true;
  if (transport.holds_output()) {
    const Transfer flushed = flush(transport);
    if (flushed.outcome != Transfer::Outcome::done) {
      return flushed;
    }
  }
  while (!unsent_.empty()) {
    const std::string_view piece = frozen_piece();
    const iovec vector{const_cast<char*>(piece.data()), piece.size()};
    const Transfer taken = transport.write({&vector, 1});
    if (taken.outcome != Transfer::Outcome::done) {
      return taken;
    }
    frozen_ = 0;
    unsent_.consume(taken.bytes);
    held_ += taken.bytes;
    if (!transport.holds_output()) {
      sent_ += std::exchange(held_, 0);
    }
  }
  const Transfer flushed = flush(transport);
  blocked_ = flushed.outcome != Transfer::Outcome::done;
  return flushed;
}

// Done once the kernel has all that was taken.
Transfer WriteQueue::flush(Transport& transport) noexcept {
  const Transfer flushed = transport.flush();
  if (flushed.outcome == Transfer::Outcome::done) {
    sent_ += std::exchange(held_, 0);
  }
  return flushed;
}

Transfer WriteQueue::attempt(Transport& transport, std::string_view data,
                             std::size_t& offered) noexcept {
  // NOLINTNEXTLINE(cppcoreguidelines-pro-type-member-init): gather fills it
  std::array<iovec, kPieces> pieces;
  std::size_t count = unsent_.gather({pieces.data(), kPieces - 2});
  for (std::size_t i = 0; i < count; ++i) {
    offered += pieces[i].iov_len;
  }
  for (const std::string_view more : {gathered_, data}) {
    if (!more.empty() && offered >= unsent_.size()) {
      pieces[count++] = {const_cast<char*>(more.data()), more.size()};
      offered += more.size();
    }
  }
  return transport.write({pieces.data(), count});
}

std::string_view WriteQueue::frozen_piece() {
  if (frozen_ == 0) {
    frozen_ = std::min(unsent_.size(), kFrozenPiece);
    if (unsent_.front().size() < frozen_) {
      unsent_.merge_prefix(frozen_);
    }
  }
  return unsent_.front().substr(0, frozen_);
}

std::size_t WriteQueue::reported_unsent() const noexcept {
  return reported_ > sent_ ? static_cast<std::size_t>(reported_ - sent_) : 0;
}

WriteQueue WriteQueue::take_reported() noexcept {
  const std::size_t reported = reported_unsent();
  const std::size_t queued = reported - std::min(held_, reported);
  unsent_.truncate(std::max(queued, frozen_));
  written_ = sent_ + held_ + unsent_.size();
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
    const CompletionPool::Owner dying(completions_, first);
    first = next;
  }
}

void WriteQueue::clear() noexcept {
  unsent_.clear();
  gathered_ = {};
  written_ = sent_;
  frozen_ = 0;
  held_ = 0;
}

}  // namespace waterspout
