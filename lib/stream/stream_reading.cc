#include <algorithm>
#include <new>
#include <stdexcept>
#include <string>
#include <utility>

#include "waterspout/error.h"

#include "stream/stream_core.h"

namespace waterspout::detail {
namespace {

// What is received at once for such a read, and the room that it gets until
// half of that has come: what a peer only announces costs no memory.
constexpr std::size_t kDirectRoom = std::size_t{1024} * 1024;

}  // namespace

void StreamCore::refuse_to_read(const char* operation,
                                bool has_callback) const {
  if (!has_callback) {
    throw std::invalid_argument(std::string(operation) +
                                ": callback: is empty");
  }
  throw std::logic_error(std::string(operation) + ": " + read_.operation() +
                         " is pending; one read at a time");
}

void StreamCore::read_until(std::string_view delimiter, std::size_t max_bytes,
                            BaseIOStream::ReadCallback&& callback) {
  check_can_read("read_until", static_cast<bool>(callback));
  if (delimiter.empty()) {
    throw std::invalid_argument("read_until: delimiter: is empty");
  }
  read_.start_until(delimiter, max_bytes, std::move(callback));
  read_started();
}

void StreamCore::read_until_regex(std::string_view pattern,
                                  std::size_t max_bytes,
                                  BaseIOStream::ReadCallback&& callback) {
  check_can_read("read_until_regex", static_cast<bool>(callback));
  read_.start_regex(pattern, max_bytes, std::move(callback));
  read_started();
}

void StreamCore::read_bytes(std::size_t count,
                            BaseIOStream::ReadBytesOptions&& options,
                            BaseIOStream::ReadCallback&& callback) {
  check_can_read("read_bytes", static_cast<bool>(callback));
  if (options.partial && options.streaming_callback) {
    throw std::invalid_argument(
        "read_bytes: options: partial and streaming_callback exclude each "
        "other");
  }
  read_.start_bytes(count, std::move(options), std::move(callback));
  read_started();
}

void StreamCore::read_until_close(BaseIOStream::ReadUntilCloseOptions&& options,
                                  BaseIOStream::ReadCallback&& callback) {
  check_can_read("read_until_close", static_cast<bool>(callback));
  read_.start_until_close(std::move(options.streaming_callback),
                          std::move(callback));
  read_started();
}

// What is buffered is looked at from the loop, unless nothing more can come:
// then a read that it cannot satisfy is refused here and now.
void StreamCore::look_at_read() {
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
  if (!read_.pending()) {
    return;
  }
  bool satisfied = false;
  try {
    satisfied =
        loop_ != nullptr && search().kind == ReadRequest::Verdict::Kind::found;
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
  const BaseIOStream::ReadCallback callback(std::move(read_.drop()));
}

// Where the next bytes go: into the loop's scratch buffer, or straight into the
// read buffer where many bytes are wanted in one piece. Never more than
// max_buffer_size allows, but for the one byte that shows that it is passed.
std::span<char> StreamCore::input_room(bool direct, std::size_t missing) {
  const std::size_t allowed =
      std::max(max_buffer_size_ - unread_.size(), std::size_t{1});
  if (!direct) {
    return loop_->pools().scratch.input().first(
        std::min<std::size_t>(read_chunk_size_, allowed));
  }
  const std::size_t stored = unread_.stored_size();
  std::size_t wanted = std::min(missing, allowed);
  if (stored < kDirectRoom / 2) {
    wanted = std::min(wanted, kDirectRoom - stored);
  }
  return unread_.reserve(wanted, loop_->pools().chunks)
      .first(std::min(wanted, kDirectRoom));
}

// As receive_once(), behind what is buffered or for a read of many bytes.
bool StreamCore::receive_more(std::size_t missing) {
  // What one receive may bring whole needs no place of its own.
  const bool direct = missing >= kDirectAtLeast &&
                      (unread_.has_stored() || missing > read_chunk_size_ / 2);
  const std::span<char> room = input_room(direct, missing);
  const Transfer received = transport_->read(room);
  if (received.outcome != Transfer::Outcome::done) [[unlikely]] {
    nothing_received(received);
    return false;
  }
  if (direct) {
    unread_.commit(received.bytes);
  } else {
    unread_.receive({room.data(), received.bytes});
  }
  if (unread_.size() > max_buffer_size_) [[unlikely]] {
    overflow();
    return false;
  }
  // Where a result has come to its last byte and no further, nothing shows that
  // there is more, and most times there is not.
  const bool filled =
      received.bytes == room.size() && (!direct || received.bytes != missing);
  return filled || transport_->holds_input();
}

void StreamCore::nothing_received(Transfer received) {
  unread_.give_room_back();
  switch (received.outcome) {
    case Transfer::Outcome::done:
    case Transfer::Outcome::end:
      end_reading();
      return;
    case Transfer::Outcome::failed:
      fail("read", received.error());
      return;
    case Transfer::Outcome::would_block:
      return;
  }
}

// Only a read_until_close still completes: it does whatever the reason.
void StreamCore::overflow() {
  if (!read_.until_close()) {
    drop_read();
  }
  fail("read", StreamErrc::read_buffer_full);
}

}  // namespace waterspout::detail
