#include <algorithm>
#include <new>
#include <stdexcept>
#include <string>
#include <utility>

#include "waterspout/error.h"

#include "stream/stream_core.h"

namespace waterspout::detail {
namespace {

// Receives in a row before others get their turn.
constexpr int kReadsPerEvent = 16;

// A read that still misses this much is received where it will be delivered.
constexpr std::size_t kDirectAtLeast = 16384;

// Room made at once for such a read: what a peer only announces costs no
// memory.
constexpr std::size_t kDirectRoom = std::size_t{1024} * 1024;

}  // namespace

void StreamCore::check_can_read(const char* operation,
                                bool has_callback) const {
  if (!has_callback) {
    throw std::invalid_argument(std::string(operation) +
                                ": callback: is empty");
  }
  if (read_.pending()) {
    throw std::logic_error(std::string(operation) + ": " + read_.operation() +
                           " is pending; one read at a time");
  }
}

void StreamCore::read_until(std::string_view delimiter, std::size_t max_bytes,
                            BaseIOStream::ReadCallback callback) {
  check_can_read("read_until", static_cast<bool>(callback));
  if (delimiter.empty()) {
    throw std::invalid_argument("read_until: delimiter: is empty");
  }
  read_.start_until(delimiter, max_bytes, std::move(callback));
  read_started();
}

void StreamCore::read_until_regex(std::string_view pattern,
                                  std::size_t max_bytes,
                                  BaseIOStream::ReadCallback callback) {
  check_can_read("read_until_regex", static_cast<bool>(callback));
  read_.start_regex(pattern, max_bytes, std::move(callback));
  read_started();
}

void StreamCore::read_bytes(std::size_t count,
                            BaseIOStream::ReadBytesOptions options,
                            BaseIOStream::ReadCallback callback) {
  check_can_read("read_bytes", static_cast<bool>(callback));
  if (options.partial && options.streaming_callback) {
    throw std::invalid_argument(
        "read_bytes: options: partial and streaming_callback exclude each "
        "other");
  }
  read_.start_bytes(count, std::move(options), std::move(callback));
  read_started();
}

void StreamCore::read_until_close(BaseIOStream::ReadUntilCloseOptions options,
                                  BaseIOStream::ReadCallback callback) {
  check_can_read("read_until_close", static_cast<bool>(callback));
  read_.start_until_close(std::move(options.streaming_callback),
                          std::move(callback));
  read_started();
}

// What is buffered is looked at from the loop, unless nothing more can come:
// then a read that it cannot satisfy is refused here and now.
void StreamCore::read_started() {
  if (nothing_more_comes()) {
    const char* const operation = read_.operation();
    if (read_.lacks(unread_bytes())) {
      drop_read();
    } else {
      drop_unsatisfied_read();
    }
    if (!read_.pending()) {
      throw StreamClosedError(operation, "stream", error());
    }
  }
  settle_outside();
}

// Where nothing more can come.
void StreamCore::drop_unsatisfied_read() noexcept {
  bool satisfied = false;
  try {
    satisfied = read_.pending() && loop_ != nullptr &&
                search().kind == ReadRequest::Verdict::Kind::found;
  } catch (const std::bad_alloc&) {
    satisfied = false;
  }
  if (!satisfied) {
    drop_read();
  }
}

// Out of the stream first: destroying a callback may run user code.
void StreamCore::drop_read() noexcept {
  const auto streaming = read_.take_streaming_callback();
  const auto callback = read_.finish();
}

bool StreamCore::wants_input() const noexcept {
  const bool watched = close_callback_ || read_end_callback_;
  return open() && !read_ended_ &&
         (read_.pending() || (watched && unread_bytes() == 0));
}

void StreamCore::receive_input() {
  // A read that the buffer satisfies, and that waits for its turn, comes first.
  if (static_cast<const TaskHook&>(*this).linked()) {
    deliver();
  }
  if (!wants_input()) {
    if (readable_) {
      readable_->remove();
    }
    return;
  }
  // A short read has drained the socket, and a result leaves the rest to the
  // next read: no attempt is made only to hear that it would block.
  for (int budget = kReadsPerEvent; budget > 0; --budget) {
    if (!receive_once() || !open() || !read_.pending()) {
      break;
    }
  }
  deliver();
}

// Where the next bytes go: into the loop's scratch buffer, or straight into the
// read buffer where many bytes are wanted in one piece. Never more than
// max_buffer_size allows, but for the one byte that shows that it is passed.
std::span<char> StreamCore::input_room(bool direct, std::size_t missing) {
  const std::size_t allowed =
      std::max(options_.max_buffer_size - unread_.size(), std::size_t{1});
  if (!direct) {
    return loop_->scratch().first(std::min(options_.read_chunk_size, allowed));
  }
  const std::size_t more = std::min({missing, kDirectRoom, allowed});
  return unread_.make_contiguous(unread_.size() + more).first(more);
}

// True if there may be more.
bool StreamCore::receive_once() {
  const std::size_t missing = read_.missing(unread_.size());
  const bool direct = missing >= kDirectAtLeast;
  const std::span<char> room = input_room(direct, missing);
  const Transfer received = transport_->read(room);
  switch (received.outcome) {
    case Transfer::Outcome::done:
      if (direct) {
        unread_.commit(received.bytes);
      } else {
        incoming_ = {room.data(), received.bytes};
      }
      if (unread_bytes() > options_.max_buffer_size) {
        overflow();
      }
      deliver();
      store_incoming();
      return received.bytes == room.size() ||
             (open() && transport_->holds_input());
    case Transfer::Outcome::end:
      end_reading();
      return false;
    case Transfer::Outcome::failed:
      fail("read", received.error);
      return false;
    case Transfer::Outcome::would_block:
      break;
  }
  if (unread_.empty()) {
    unread_.clear();  // the room that was made
  }
  return false;
}

// Only a read_until_close still completes: it does whatever the reason.
void StreamCore::overflow() {
  if (!read_.until_close()) {
    drop_read();
  }
  fail("read", StreamErrc::read_buffer_full);
}

// Called when the callbacks that could use the bytes in place have run.
void StreamCore::store_incoming() {
  unread_.append(incoming_);
  incoming_ = {};
}

ReadRequest::Verdict StreamCore::search() {
  if (unread_.empty()) {
    return read_.search(incoming_, nothing_more_comes());
  }
  if (!incoming_.empty()) {
    store_incoming();
  }
  return read_.search(unread_, nothing_more_comes());
}

bool StreamCore::deliver_read() {
  if (!read_.pending()) {
    return false;
  }
  const ReadRequest::Verdict verdict = search();
  switch (verdict.kind) {
    case ReadRequest::Verdict::Kind::found:
      if (read_.streaming() && verdict.size != 0) {
        deliver_piece(verdict.size);
      } else {
        deliver_result(verdict.size);
      }
      return true;
    case ReadRequest::Verdict::Kind::more:
      if (nothing_more_comes()) {
        drop_read();  // its last pieces have been delivered
      }
      break;
    case ReadRequest::Verdict::Kind::unsatisfiable:
    case ReadRequest::Verdict::Kind::too_costly:
      refuse_read(verdict.kind);
      break;
  }
  return false;
}

// A streaming callback lives through its own call, also if that closes the
// stream.
void StreamCore::deliver_piece(std::size_t size) {
  const std::uint64_t generation = read_.generation();
  const char* const operation = read_.operation();
  auto callback = read_.take_streaming_callback();
  read_.count_piece(size);
  call(*callback, operation, take_unread(size));
  unread_.unpin();
  if (read_.pending() && read_.generation() == generation) {
    read_.put_back(std::move(callback));
  }
}

void StreamCore::deliver_result(std::size_t size) {
  const char* const operation = read_.operation();
  const auto streaming = read_.take_streaming_callback();
  BaseIOStream::ReadCallback callback = read_.finish();
  call(callback, operation, take_unread(size));
  unread_.unpin();
}

void StreamCore::refuse_read(ReadRequest::Verdict::Kind kind) {
  if (closed()) {
    return;
  }
  const StreamErrc code = kind == ReadRequest::Verdict::Kind::unsatisfiable
                              ? StreamErrc::unsatisfiable_read
                              : StreamErrc::regex_limit;
  fail(read_.operation(), code);
}

// The view lives until unpin(); the bytes are read.
std::string_view StreamCore::take_unread(std::size_t size) {
  if (unread_.empty()) {
    const std::string_view view = incoming_.substr(0, size);
    incoming_.remove_prefix(size);
    return view;
  }
  return unread_.pin_prefix(size);
}

}  // namespace waterspout::detail
