// What the loop calls, and what comes of it: input, the callbacks, output. Most
// events come to little, and that is kept together so that the compiler sees
// all of it.

#include <utility>

#include "waterspout/error.h"
#include "waterspout/ssl.h"

#include "stream/stream_core.h"

namespace waterspout::detail {
namespace {

// Callbacks that one stream may run before others get their turn.
constexpr int kCallbacksPerTurn = 256;

// Receives in a row before others get their turn.
constexpr int kReadsPerEvent = 16;

}  // namespace

inline void StreamCore::deliver_result(std::size_t size) {
  const char* const operation = read_.operation();
  // May throw, and the read is still pending then.
  const std::string_view result = unread_.take(size);
  call_once(read_.finish(), operation, result);
  unread_.end_view();
}

inline bool StreamCore::deliver_read() {
  const ReadRequest::Verdict verdict = search();
  if (verdict.kind != ReadRequest::Verdict::Kind::found || read_.streaming())
      [[unlikely]] {
    return deliver_otherwise(verdict);
  }
  deliver_result(verdict.size);
  return true;
}

inline void StreamCore::deliver_written() {
  if (write_.can_lend_done()) [[likely]] {
    call_once(write_.lend_done(), "write");
    return;
  }
  const CompletionPool::Owner done = write_.take_done();
  call_once(done.callback(), "write");
}

// A read_until on what has just come, and nothing before it.
inline bool StreamCore::deliver_line() {
  const ReadRequest::Verdict verdict =
      read_.search_delimiter(unread_.incoming());
  if (verdict.kind != ReadRequest::Verdict::Kind::found) [[unlikely]] {
    return deliver_otherwise(verdict);
  }
  call_once(read_.finish(), "read_until", unread_.take_incoming(verdict.size));
  return true;
}

// What deliver_one() does while there can be nothing but reads and writes, and
// everything that was written counts as such.
inline bool StreamCore::deliver_plainly() {
  if (write_.has_completions()) {
    deliver_written();
    return true;
  }
  if (read_.awaits_delimiter() && !unread_.has_stored()) [[likely]] {
    return !unread_.incoming().empty() && deliver_line();
  }
  return read_.pending() && may_satisfy_read() && deliver_read();
}

// The trampoline: one callback after the other, none inside another, so that a
// chain of any length uses the stack of one.
inline void StreamCore::run_callbacks() {
  for (int budget = kCallbacksPerTurn; budget > 0; --budget) {
    if (!(plain_ ? deliver_plainly() : deliver_one())) {
      return;
    }
  }
  store_incoming();
  post_task();
}

void StreamCore::deliver() { run_callbacks(); }

// Runs what has become due, in the order in which a chain of operations would
// expect it; the close callback comes when nothing else can.
bool StreamCore::deliver_one() {
  bool delivered = false;
  if (extra_) {
    delivered = deliver_connected();
    delivered |= deliver_handshake();
  }
  if (has_written_due()) {
    deliver_written();
    delivered = true;
  }
  if (read_.pending() && may_satisfy_read()) {
    delivered |= deliver_read();
  }
  return delivered || deliver_end();
}

// A piece, or why there is no result.
bool StreamCore::deliver_otherwise(ReadRequest::Verdict verdict) {
  switch (verdict.kind) {
    case ReadRequest::Verdict::Kind::found:
      if (verdict.size != 0) {
        deliver_piece(verdict.size);
      } else {
        const auto streaming = read_.take_streaming_callback();
        deliver_result(0);
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
  const std::uint32_t dropped = read_.dropped();
  const char* const operation = read_.operation();
  const std::string_view piece = unread_.take(size);
  auto callback = read_.take_streaming_callback();
  read_.count_piece(size);
  call(callback, operation, piece);
  unread_.end_view();
  if (read_.pending() && read_.dropped() == dropped) {
    read_.put_back(std::move(callback));
  }
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

bool StreamCore::deliver_closed() {
  if (!closed() || !watched_for_close()) {
    return false;
  }
  call_once(extra_->close_callback, "set_close_callback");
  return true;
}

// True if there may be more.
inline bool StreamCore::receive_once() {
  const std::size_t missing = read_.missing(unread_.stored_size());
  if (unread_.has_stored() || missing >= kDirectAtLeast) {
    return receive_more(missing);
  }
  const std::span<char> room =
      loop_->pools().scratch.input().first(read_chunk_size_);
  const Transfer received = transport_->read(room);
  if (received.outcome != Transfer::Outcome::done) [[unlikely]] {
    nothing_received(received);
    return false;
  }
  unread_.receive({room.data(), received.bytes});
  if (received.bytes > max_buffer_size_) [[unlikely]] {
    overflow();
    return false;
  }
  return received.bytes == room.size() || transport_->holds_input();
}

inline void StreamCore::receive_input() {
  // A read that the buffer satisfies, and that waits for its turn, comes first.
  if (!plain_ && has_task()) [[unlikely]] {
    deliver();
  }
  if (!(plain_ && read_.pending()) && !wants_input()) [[unlikely]] {
    readable_.remove();
    return;
  }
  // A short read has drained the socket, and a result leaves the rest to the
  // next read: no attempt is made only to hear that it would block.
  for (int budget = kReadsPerEvent; budget > 0; --budget) {
    const bool more = receive_once();
    run_callbacks();
    store_incoming();
    if (!more) [[likely]] {
      break;
    }
    send_what_is_gathered();  // from where the next bytes will lie
    if (!open() || !read_.pending()) {
      break;
    }
  }
}

// Every way in from the loop: holds the stream, whatever the callbacks let go
// of. What is thrown here is want of memory, since exceptions of callbacks do
// not come this far.
template <class Step>
inline void StreamCore::handle(Step step) noexcept {
  if (!kept_) {
    kept_ = shared();
  }
  set_dispatching(true);
  try {
    step();
    send_what_is_gathered();
    if (plain_ && read_.pending()) [[likely]] {
      set_dispatching(false);
      return;  // it listens, and is kept
    }
    end_handling();
  } catch (...) {
    if (!closed()) {
      shut_without_memory();
    }
    post_task();
  }
  set_dispatching(false);
  if (!has_something_to_report()) {
    let_itself_go();  // Last: may destroy *this.
  }
}

inline void StreamCore::on_readable(IOLoop::Events /*ready*/) noexcept {
  handle([this]() __attribute__((always_inline)) {
    if (!plain_ && phase_ == Phase::shaking_hands) [[unlikely]] {
      shake_hands();
      deliver();
    } else {
      receive_input();
    }
  });
}

void StreamCore::on_writable(IOLoop::Events /*ready*/) noexcept {
  handle([this] {
    if (phase_ == Phase::connecting) {
      finish_connecting();
    } else if (phase_ == Phase::shaking_hands) {
      shake_hands();
    } else {
      send_now({});
    }
    deliver();
  });
}

void StreamCore::run_task() noexcept {
  if (input_waits()) {
    looks_for_input_ = false;
    on_readable(IOLoop::READ);
    return;
  }
  handle([this] {
    if (phase_ == Phase::shaking_hands) {
      shake_hands();
    }
    deliver();
  });
}

// As every event ends. Callbacks of what is done by that wait for the next
// turn: the loop is sending the output of this one.
void StreamCore::send_gathered() noexcept {
  handle([] {});
}

void StreamCore::handshake_is_late() noexcept {
  handle([this] {
    fail("handshake", SSLErrc::handshake_timeout);
    deliver();
  });
}

void StreamCore::listen_for_input() noexcept {
  if (!readable_.assigned()) {
    readable_.assign(*loop_, transport_->fd(), IOLoop::READ,
                     Event::calling<&StreamCore::on_readable>(*this));
  }
  add(readable_);
}

// A stream that cannot is closed: nothing would ever be sent.
void StreamCore::listen_for_output() noexcept {
  try {
    std::unique_ptr<Event>& writable = extra().writable;
    if (!writable) {
      writable = std::make_unique<Event>(
          *loop_, transport_->fd(), IOLoop::WRITE,
          Event::calling<&StreamCore::on_writable>(*this));
    }
    add(*writable);
  } catch (const std::bad_alloc&) {
    shut_without_memory();
  }
}

void StreamCore::stop_listening_for_output() noexcept {
  if (extra_ && extra_->writable) {
    extra_->writable->remove();
  }
}

void StreamCore::stop_listening() noexcept {
  readable_.clear();
  if (extra_) {
    extra_->writable.reset();
  }
}

}  // namespace waterspout::detail
