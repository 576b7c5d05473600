// Running the callbacks. What most events come to is short, and kept together
// so that the compiler sees all of it.

#include <utility>

#include "waterspout/error.h"

#include "stream/stream_core.h"

namespace waterspout::detail {
namespace {

// Callbacks that one stream may run before others get their turn.
constexpr int kCallbacksPerTurn = 256;

}  // namespace

// The view lives until unpin(); the bytes are read.
inline std::string_view StreamCore::take_unread(std::size_t size) {
  if (unread_.empty()) {
    const std::string_view view(incoming_.data(), size);
    incoming_.remove_prefix(size);
    return view;
  }
  return unread_.pin_prefix(size);
}

inline void StreamCore::deliver_result(std::size_t size) {
  const char* const operation = read_.operation();
  call_once(read_.finish(), operation, take_unread(size));
  unread_.unpin();
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
  const CompletionPool::Owner done = write_.take_done();
  call_once(done.callback(), "write");
}

// What deliver_one() does while there can be nothing but reads and writes, and
// everything that was written counts as such.
inline bool StreamCore::deliver_plainly() {
  if (write_.has_completions()) {
    deliver_written();
    return true;
  }
  return read_.pending() && may_satisfy_read() && deliver_read();
}

// The trampoline: one callback after the other, none inside another, so that a
// chain of any length uses the stack of one.
void StreamCore::deliver() {
  for (int budget = kCallbacksPerTurn; budget > 0; --budget) {
    if (!(plain_ ? deliver_plainly() : deliver_one())) {
      return;
    }
  }
  store_incoming();
  loop_->post_task(*this);
}

// Runs what has become due, in the order in which a chain of operations would
// expect it; the close callback comes when nothing else can.
bool StreamCore::deliver_one() {
  bool delivered = false;
  if (connecting_ || handshake_) {
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
  return delivered || deliver_read_ended() || deliver_closed();
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
  const std::uint32_t generation = read_.generation();
  const char* const operation = read_.operation();
  auto callback = read_.take_streaming_callback();
  read_.count_piece(size);
  call(*callback, operation, take_unread(size));
  unread_.unpin();
  if (read_.pending() && read_.generation() == generation) {
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
  call_once(watchers_->closed, "set_close_callback");
  return true;
}

}  // namespace waterspout::detail
