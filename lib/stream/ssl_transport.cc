#include "stream/ssl_transport.h"

#include <algorithm>
#include <array>
#include <new>
#include <system_error>
#include <utility>

#include "stream/socket_transport.h"

namespace waterspout::detail {
namespace {

using Step = TLSSession::Step;
using Outcome = Transfer::Outcome;

// Ciphertext received at once.
constexpr std::size_t kReceived = 65536;

// A record at its largest, with what TLS puts around it.
constexpr std::size_t kRecord = 16384 + 256 + 5;

// Ciphertext that is gathered before it leaves.
constexpr std::size_t kBatch = 65536;

constexpr std::size_t kPieces = 64;

// Flights of a handshake taken in a row before others get their turn.
constexpr int kFlightsPerEvent = 16;

Transfer failed(std::error_code error) { return Transfer::failure(error); }

Transfer no_memory() {
  return failed(std::make_error_code(std::errc::not_enough_memory));
}

// Where ciphertext lies until OpenSSL has read it, within one call; one for all
// streams of the thread, since the loop's own has the plain text.
char* scratch() {
  thread_local std::unique_ptr<char[]> bytes;
  if (!bytes) {
    bytes = std::make_unique_for_overwrite<char[]>(kReceived);
  }
  return bytes.get();
}

bool is_alert(std::error_code error) {
  return error.category() == ssl_category() &&
         error.value() >=
             static_cast<int>(SSLErrc::alert_handshake_failure) - 40;
}

}  // namespace

SSLTransport::SSLTransport(std::unique_ptr<TLSSession> session) noexcept
    : Transport(true), session_(std::move(session)) {}

// A client that has read nothing may not have read its tickets either: closing
// then would reset the connection, under the data that is still on its way.
SSLTransport::~SSLTransport() {
  if (begun_ && !has_read_ && session_->is_client()) {
    static_cast<void>(receive(kRecord));
  }
}

void SSLTransport::stand_on(std::unique_ptr<Transport> below) noexcept {
  below_ = std::move(below);
  take_place_of(*below_);
}

Transfer SSLTransport::connect(const Address& address) noexcept {
  return below_->connect(address);
}

std::error_code SSLTransport::connect_result() noexcept {
  return below_->connect_result();
}

// Nagle's algorithm would hold the handshake's second flight against the peer's
// delayed acknowledgement.
void SSLTransport::begin() noexcept {
  begun_ = true;
  static_cast<void>(set_tcp_nodelay(fd(), true));
  if (!session_->may_resume()) {
    return;
  }
  try {
    session_->set_peer_address(Address::peer_of(fd()).to_string());
  } catch (const std::exception&) {
    return;  // it has gone, which the handshake finds out
  }
}

Transfer SSLTransport::handshake() noexcept {
  if (!begun_) {
    begin();
  }
  Transfer sent{Outcome::done};
  for (int budget = kFlightsPerEvent; budget > 0; --budget) {
    const Step step = session_->handshake().step;
    if (sent.outcome != Outcome::failed) {
      sent = flush();  // an answer, or the alert that says why not
    }
    if (step == Step::failed) {
      return session_failed();
    }
    if (step == Step::done && sent.outcome == Outcome::failed) {
      return sent;
    }
    if (step == Step::done) {
      return keep_rest({Outcome::done}, false);
    }
    // Where sending has failed, the peer may have said why.
    const Transfer received = receive(kReceived);
    if (received.outcome == Outcome::end) {
      session_->feed_end();
    } else if (received.outcome != Outcome::done) {
      return sent.outcome == Outcome::failed ? sent : received;
    }
  }
  return {};
}

Transfer SSLTransport::read_otherwise(std::span<char> into) noexcept {
  std::size_t filled = 0;
  bool drained = false;  // the last receive was short
  bool more = false;     // or it was not
  for (;;) {
    TLSSession::Result got;
    if (session_->has_input()) {
      got = session_->read(into.subspan(filled));
    }
    filled += got.bytes;
    const Transfer so_far{filled != 0 ? Outcome::done : Outcome::would_block,
                          filled};
    if (got.step == Step::done && filled < into.size()) {
      continue;
    }
    if (got.step == Step::ended && filled == 0) {
      return {Outcome::end};
    }
    if (got.step == Step::failed && filled == 0) {
      static_cast<void>(flush());  // the alert
      return session_failed();
    }
    // No more is received than there is room for, but for a record.
    const bool full = filled != 0 && into.size() - filled < kRecord;
    if (got.step != Step::wants_input || drained || full) {
      return keep_rest(so_far, more);
    }
    const std::size_t size =
        std::clamp(into.size() - filled, kRecord, kReceived);
    const Transfer received = receive(size);
    more = received.bytes == size;
    drained = !more;
    if (received.outcome == Outcome::end) {
      session_->feed_end();
    } else if (received.outcome == Outcome::failed && filled == 0) {
      return received;
    } else if (received.outcome == Outcome::failed) {
      read_error_ = received.error();
    }
  }
}

// The end of a read: the thread's buffer is needed by others.
Transfer SSLTransport::keep_rest(Transfer result, bool more) noexcept {
  try {
    session_->keep_input();
  } catch (const std::bad_alloc&) {
    return no_memory();
  }
  has_read_ = has_read_ || result.bytes != 0;
  // What OpenSSL answers by itself, as when keys are changed.
  if (!session_->output().empty() && !holds_output_) {
    const Transfer sent = flush();
    if (sent.outcome == Outcome::failed && !session_->failure() &&
        result.bytes == 0) {
      return sent;
    }
  }
  const bool gave = result.outcome == Outcome::done;
  holds_input_ = gave && (session_->has_input() || more || read_error_);
  return result;
}

// Into the session, `size` bytes at the most.
Transfer SSLTransport::receive(std::size_t size) noexcept {
  if (read_error_) {
    return failed(read_error_);
  }
  try {
    session_->keep_input();  // the buffer is about to be filled anew
    const Transfer received = below_->read({scratch(), size});
    if (received.outcome == Outcome::done) {
      session_->feed({scratch(), received.bytes});
    }
    return received;
  } catch (const std::bad_alloc&) {
    return no_memory();
  }
}

Transfer SSLTransport::write(std::span<const iovec> pieces) noexcept {
  const iovec& piece = pieces.front();
  const TLSSession::Result taken = session_->write(
      {static_cast<const char*>(piece.iov_base), piece.iov_len});
  if (taken.step == Step::failed) {
    return session_failed();
  }
  if (taken.step != Step::done) {
    return {};
  }
  holds_output_ = true;
  if (session_->output().size() >= kBatch) {
    const Transfer sent = flush();
    if (sent.outcome == Outcome::failed) {
      return sent;
    }
  }
  return {Outcome::done, taken.bytes};
}

// While the kernel is full, OpenSSL takes nothing more.
Transfer SSLTransport::flush() noexcept {
  ChunkDeque& output = session_->output();
  Transfer sent{Outcome::done};
  while (!output.empty() && sent.outcome == Outcome::done) {
    // NOLINTNEXTLINE(cppcoreguidelines-pro-type-member-init): gather fills it
    std::array<iovec, kPieces> pieces;
    const std::size_t count = output.gather(pieces);
    std::size_t offered = 0;
    for (std::size_t i = 0; i < count; ++i) {
      offered += pieces[i].iov_len;
    }
    sent = below_->write({pieces.data(), count});
    output.consume(sent.bytes);
    if (sent.bytes < offered && sent.outcome == Outcome::done) {
      sent.outcome = Outcome::would_block;  // it would only say so once more
    }
  }
  // An alert is tried once: why it was made is told, not how it fared.
  if (sent.outcome == Outcome::failed || session_->failure()) {
    output.clear();
  }
  holds_output_ = !output.empty();
  session_->let_write(output.empty());
  if (sent.outcome == Outcome::done && !holds_input_) {
    holds_input_ = begun_ && session_->has_input();
  }
  if (sent.outcome == Outcome::failed) {
    return with_reason(sent);
  }
  return {sent.outcome};
}

// A peer that refuses us says so and goes; then our next write fails before its
// words were read.
Transfer SSLTransport::with_reason(Transfer failed) noexcept {
  if (session_->failure() || !session_->established()) {
    return failed;
  }
  const Transfer received = receive(kRecord);
  if (received.outcome != Outcome::done) {
    return failed;
  }
  std::array<char, 4096> lost{};
  while (session_->read(lost).step == Step::done) {
  }
  session_->feed({});
  return is_alert(session_->failure().code) ? session_failed() : failed;
}

void SSLTransport::finish() noexcept { static_cast<void>(end_output()); }

// Where the peer has gone, the next read tells, after what it has sent.
Transfer SSLTransport::end_output() noexcept {
  if (session_->close().step == Step::failed) {
    return session_failed();
  }
  const Transfer sent = flush();
  const bool untold = sent.outcome == Outcome::failed &&
                      sent.error() == std::errc::not_enough_memory;
  return untold ? sent : Transfer(Outcome::done);
}

Transfer SSLTransport::session_failed() const noexcept {
  return failed(session_->failure().code);
}

std::string SSLTransport::failure_detail() const {
  return session_->failure().detail;
}

}  // namespace waterspout::detail
