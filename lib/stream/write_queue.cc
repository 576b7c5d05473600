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
      sent_(other.sent_),
      reported_(other.reported_),
      held_(std::exchange(other.held_, 0)),
      frozen_(std::exchange(other.frozen_, 0)),
      blocked_(other.blocked_),
      ended_(other.ended_) {}

WriteQueue::Sent WriteQueue::send(Transport& transport, std::string_view data) {
  if (transport.freezes_writes()) {
    return send_frozen(transport);
  }
  const std::size_t given = data.size();
  while (unsent_.size() + data.size() != 0) {
    std::size_t offered = 0;
    const std::size_t queued = unsent_.size();
    const Transfer sent = attempt(transport, data, offered);
    if (sent.outcome == Transfer::Outcome::failed) {
      return {true, given - data.size(), sent.error};
    }
    unsent_.consume(std::min(sent.bytes, queued));
    data.remove_prefix(sent.bytes - std::min(sent.bytes, queued));
    sent_ += sent.bytes;
    // Less than was offered: it is full, and would only say so once more.
    if (sent.bytes < offered) {
      blocked_ = true;
      return {false, given - data.size(), {}};
    }
  }
  blocked_ = false;
  return {false, given, {}};
}

// One piece at a time, and the same one again until it is taken.
WriteQueue::Sent WriteQueue::send_frozen(Transport& transport) {
  Sent sent;
  blocked_ = true;
  if (transport.holds_output() && !flush(transport, sent)) {
    return sent;
  }
  while (!unsent_.empty()) {
    const std::string_view piece = frozen_piece();
    const iovec vector{const_cast<char*>(piece.data()), piece.size()};
    const Transfer taken = transport.write({&vector, 1});
    if (taken.outcome != Transfer::Outcome::done) {
      sent.failed = taken.outcome == Transfer::Outcome::failed;
      sent.error = taken.error;
      return sent;
    }
    frozen_ = 0;
    unsent_.consume(taken.bytes);
    held_ += taken.bytes;
    if (!transport.holds_output()) {
      sent_ += std::exchange(held_, 0);
    }
  }
  blocked_ = !flush(transport, sent);
  return sent;
}

// True once the kernel has all that was taken.
bool WriteQueue::flush(Transport& transport, Sent& sent) noexcept {
  const Transfer flushed = transport.flush();
  if (flushed.outcome == Transfer::Outcome::done) {
    sent_ += std::exchange(held_, 0);
    return true;
  }
  sent.failed = flushed.outcome == Transfer::Outcome::failed;
  sent.error = flushed.error;
  return false;
}

Transfer WriteQueue::attempt(Transport& transport, std::string_view data,
                             std::size_t& offered) noexcept {
  // NOLINTNEXTLINE(cppcoreguidelines-pro-type-member-init): gather fills it
  std::array<iovec, kPieces> pieces;
  std::size_t count = unsent_.gather({pieces.data(), kPieces - 1});
  for (std::size_t i = 0; i < count; ++i) {
    offered += pieces[i].iov_len;
  }
  if (!data.empty() && offered == unsent_.size()) {
    pieces[count++] = {const_cast<char*>(data.data()), data.size()};
    offered += data.size();
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

void WriteQueue::add_completion(BaseIOStream::WriteCallback callback) {
  callback.set_operation("write");
  Completion* const added = completions_.take(std::move(callback), written());
  (last_ != nullptr ? last_->next : first_) = added;
  last_ = added;
}

bool WriteQueue::has_done(bool gathering) const noexcept {
  return first_ != nullptr &&
         first_->position <= (gathering ? written() : sent_);
}

BaseIOStream::WriteCallback WriteQueue::take_done() noexcept {
  Completion* const done = first_;
  first_ = done->next;
  last_ = first_ != nullptr ? last_ : nullptr;
  reported_ = done->position;
  return completions_.give_back(done);
}

std::size_t WriteQueue::reported_unsent() const noexcept {
  return reported_ > sent_ ? static_cast<std::size_t>(reported_ - sent_) : 0;
}

WriteQueue WriteQueue::take_reported() noexcept {
  const std::size_t reported = reported_unsent();
  const std::size_t queued = reported - std::min(held_, reported);
  unsent_.truncate(std::max(queued, frozen_));
  return std::move(*this);
}

void WriteQueue::drop_unsent_completions() noexcept {
  Completion** end = &first_;
  last_ = nullptr;
  while (*end != nullptr && (*end)->position <= sent_) {
    last_ = *end;
    end = &(*end)->next;
  }
  destroy(std::exchange(*end, nullptr));
}

void WriteQueue::drop_completions() noexcept {
  last_ = nullptr;
  destroy(std::exchange(first_, nullptr));
}

// Of completions that are out of the queue: their destructors may run user
// code, which may look at it.
void WriteQueue::destroy(Completion* first) noexcept {
  while (first != nullptr) {
    Completion* const next = first->next;
    const auto dying = completions_.give_back(first);
    first = next;
  }
}

void WriteQueue::clear() noexcept {
  unsent_.clear();
  frozen_ = 0;
  held_ = 0;
}

}  // namespace waterspout
