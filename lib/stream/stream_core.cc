#include "stream/stream_core.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <new>
#include <stdexcept>
#include <utility>

#include "waterspout/error.h"
#include "waterspout/ssl.h"

#include "base/throw_errno.h"
#include "stream/linger.h"

namespace waterspout::detail {
namespace {

// Ends that peers and networks cause every day: told by error(), not logged.
bool is_quiet(std::error_code error) {
  constexpr std::array kQuiet = {ECONNRESET, ECONNABORTED, EPIPE, ETIMEDOUT};
  if (error.category() == ssl_category()) {
    return error == SSLErrc::truncated || error == SSLErrc::closed_in_handshake;
  }
  return error.category() == std::generic_category() &&
         std::find(kQuiet.begin(), kQuiet.end(), error.value()) != kQuiet.end();
}

// A chunk must not fill the buffer past its bound by itself.
std::uint32_t chunk_size(const BaseIOStream::Options& options) {
  const std::size_t half =
      std::max(options.max_buffer_size / 2, std::size_t{1});
  return static_cast<std::uint32_t>(std::min(options.read_chunk_size, half));
}

void log_lost_output(const Logger& logger, const char* why) noexcept {
  try {
    logger.log(LogLevel::warning, LogCategory::general,
               std::string("close: output is lost: ") + why);
  } catch (const std::bad_alloc&) {
    logger.log(LogLevel::warning, LogCategory::general,
               "close: output is lost: out of memory");
  }
}

}  // namespace

const StreamCore::Failure* StreamCore::failure() const noexcept {
  static const Failure out_of_memory{
      std::make_error_code(std::errc::not_enough_memory), {}, nullptr};
  static const Failure loop_closed{StreamErrc::loop_closed, {}, nullptr};
  switch (end_) {
    case End::out_of_memory:
      return &out_of_memory;
    case End::loop_closed:
      return &loop_closed;
    case End::usual:
      break;
  }
  return extra_ ? extra_->failure.get() : nullptr;
}

void refuse_stream_options(const BaseIOStream::Options& options) {
  if (options.max_buffer_size == 0) {
    throw std::invalid_argument("IOStream: max_buffer_size: is 0");
  }
  throw std::invalid_argument("IOStream: read_chunk_size: not 1 to 131072");
}

StreamCore::Phase StreamCore::initial_phase(Start start) noexcept {
  switch (start) {
    case Start::unconnected:
      return Phase::unconnected;
    case Start::connected:
      return Phase::shaking_hands;
    case Start::open:
    case Start::open_with_input:
      break;
  }
  return Phase::open;
}

StreamCore::StreamCore(LoopCore& loop, std::unique_ptr<Transport> transport,
                       Start start, const BaseIOStream::Options& options)
    : phase_(initial_phase(start)),
      loop_(&loop),
      transport_(std::move(transport)),
      half_close_(options.half_close),
      read_chunk_size_(chunk_size(options)),
      max_buffer_size_(options.max_buffer_size),
      max_write_buffer_size_(options.max_write_buffer_size),
      looks_for_input_(start == Start::open_with_input) {
  check_stream_options(options);
  if (loop.closed()) {
    throw std::logic_error("IOStream: the loop is closed");
  }
  loop.add_client(*this);
  loop.count_stream(true);
}

StreamCore::~StreamCore() {
  dispatching_ = true;  // shared() is no more
  if (!closed()) {
    shut();
  }
}

void StreamCore::end_handling() {
  if ((closed() || write_.has_completions()) && has_due()) {
    post_task();
  }
  if (closed()) {
    return;
  }
  settle();
  set_plain(sails_plainly());
}

bool StreamCore::sails_plainly() const noexcept {
  return open() && write_.size() == 0 && !write_.blocked() && !write_.ended() &&
         !read_ended_ && connecting() == nullptr && handshake() == nullptr &&
         !has_task() && max_write_buffer_size_ >= kGatheredAtMost &&
         !transport_->freezes_writes() && readable_.added();
}

// Interest follows what is wanted now. Interest in reading is only ever added
// here: it is dropped when an event comes that nobody wants, so that a stream
// in its steady state does not change it. A connection that ends with what it
// brought, as those of busy servers do, is never polled.
void StreamCore::settle() {
  if (!open()) {
    return;
  }
  if (wants_input() && !looks_for_input_) {
    listen_for_input();
  }
  if (open() && input_waits()) {
    post_task();
  }
  if (open() && transport_->holds_output()) {
    listen_for_output();
  }
}

void StreamCore::let_itself_go() noexcept {
  const std::shared_ptr<BaseIOStream> dying = std::move(kept_);
}

// The end of an operation that users call: inside a callback of this stream the
// dispatch settles it; else it is held until that is done here, and what has
// become due is left to the loop. Nothing may follow it.
void StreamCore::settle_outside() {
  if (dispatching_ || loop_ == nullptr) {
    return;
  }
  // Also while it is kept: settling may end in closing, and that in letting go.
  std::shared_ptr<BaseIOStream> held = kept_ ? kept_ : shared();
  settle();
  set_plain(sails_plainly());
  if (has_due()) {
    post_task();
  }
  if (!has_something_to_report()) {
    let_itself_go();
  } else if (!kept_) {
    kept_ = std::move(held);
  }
}

bool StreamCore::has_otherwise_to_report() const noexcept {
  switch (phase_) {
    case Phase::unconnected:
      return read_.needs_nothing();
    case Phase::connecting:
      return true;
    case Phase::shaking_hands:
    case Phase::open:
      return connecting() != nullptr ||
             (handshake() != nullptr && handshake()->callback) ||
             read_.pending() || write_.size() != 0 ||
             write_.has_completions() || watched();
    case Phase::closed:
      return has_due();
  }
  return false;
}

// Whether deliver() would run anything. A pending read may turn out to need
// more than there is; looking does no harm.
bool StreamCore::has_due() const noexcept {
  const bool readable = read_.pending() && may_satisfy_read();
  const bool ended = read_ended_ && watched_for_read_end();
  const bool connected = connecting() != nullptr && open();
  return connected || has_handshake_due() || readable || has_written_due() ||
         ended || (closed() && watched_for_close());
}

void StreamCore::add(Event& event) noexcept {
  if (const std::error_code error = event.add()) {
    fail("poll", error);
  }
}

StreamCore::Extra& StreamCore::extra() {
  if (!extra_) {
    extra_ = std::make_unique<Extra>();
  }
  return *extra_;
}

void StreamCore::shut_for(const std::exception_ptr& exception,
                          const char* operation) noexcept {
  const std::error_code code = StreamErrc::uncaught_exception;
  try {
    std::string message = describe_error(operation, peer(), code) + ": " +
                          describe_exception(exception);
    shut_with({code, std::move(message), exception});
  } catch (const std::bad_alloc&) {
    shut_without_memory();
  }
}

// An exception that no context handled: the stream closes with it, and the loop
// is told.
void StreamCore::callback_failed(const std::exception_ptr& exception,
                                 const char* operation, Origin origin,
                                 const ContextLink* context) {
  if (!closed()) {
    shut_for(exception, operation);
  }
  loop_->report(exception, operation, origin, context);
}

void StreamCore::set_close_callback(BaseIOStream::CloseCallback callback) {
  if (loop_ == nullptr || (!callback && !extra_)) {
    return;  // nobody is left to call it, or there is none to take back
  }
  callback.set_operation("set_close_callback");
  // The old one is destroyed last: that may run user code.
  const BaseIOStream::CloseCallback old =
      std::exchange(extra().close_callback, std::move(callback));
  settle_outside();
}

void StreamCore::close(std::error_code error) {
  if (closed()) {
    return;
  }
  if (error) {
    shut_with({error, describe_error("close", peer(), error), nullptr});
  } else {
    shut();
  }
}

bool StreamCore::is_worth_telling(std::error_code error) const noexcept {
  if (phase_ == Phase::shaking_hands) {
    const bool as_client = handshake()->as_client;
    return !handshake()->quiet && (as_client || !is_quiet(error));
  }
  return phase_ == Phase::connecting || !is_quiet(error);
}

// What a peer did is for information, unless it keeps a client from where it
// wants to go.
LogLevel StreamCore::level_of(std::error_code error) const noexcept {
  const bool by_peer = error.category() == stream_category() ||
                       error.category() == ssl_category();
  const bool refused = phase_ == Phase::shaking_hands && handshake()->as_client;
  return by_peer && !refused ? LogLevel::info : LogLevel::warning;
}

// The connection failed, the peer passed a limit, or the system refused
// something.
void StreamCore::fail(std::string_view operation,
                      std::error_code error) noexcept {
  const bool told = is_worth_telling(error);
  const LogLevel level = level_of(error);
  Logger& logger = loop_->logger();
  std::string message;
  try {
    message = describe_error(operation, peer(), error);
    if (const std::string detail = transport_->failure_detail();
        !detail.empty()) {
      message += " (" + detail + ")";
    }
    shut_with({error, message, nullptr});
  } catch (const std::bad_alloc&) {
    shut_without_memory();
  }
  // Last: the log function may do anything, and *this may be gone.
  if (told) {
    logger.log(level, LogCategory::general,
               message.empty() ? std::string_view("out of memory") : message);
  }
}

void StreamCore::shut_with(Failure failure) {
  extra().failure = std::make_unique<const Failure>(std::move(failure));
  shut();
}

void StreamCore::shut_without_memory() noexcept {
  end_ = End::out_of_memory;
  shut();
}

// The one way to be closed. Events go before the descriptor; callbacks that can
// run no more are destroyed last, when the stream is consistent, since their
// destructors may call it. Where no event holds it, they may be all that does.
void StreamCore::shut() noexcept {
  const std::shared_ptr<BaseIOStream> held = dispatching_ ? nullptr : shared();
  const bool was_open = open();
  phase_ = Phase::closed;
  set_plain(false);
  stop_listening();
  if (was_open) {
    let_go_of_output(failure() == nullptr);
  }
  transport_.reset();
  write_.clear();
  loop_->count_stream(false);
  std::unique_ptr<Connecting> dropped;
  std::unique_ptr<Handshake> dropped_too;
  if (extra_) {
    dropped = std::move(extra_->connecting);
    dropped_too = std::move(extra_->handshake);
  }
  if (dropped_too) {
    loop_->remove_timeout(dropped_too->timeout);
  }
  if (was_open) {
    write_.drop_unsent_completions();
  } else {
    write_.drop_completions();
  }
  const Callback<void()> never_due = !read_ended_ && watched_for_read_end()
                                         ? std::move(extra_->read_end_callback)
                                         : nullptr;
  drop_unsatisfied_read();
  settle_outside();
}

// Output that was gathered leaves now, as it would have at the end of the
// event. What the kernel has no room for, and was reported, leaves in the
// background; the rest is dropped.
void StreamCore::let_go_of_output(bool orderly) noexcept {
  try {
    if (write_.size() != 0 && !write_.blocked() &&
        write_.send(*transport_, loop_->pools()).outcome ==
            Transfer::Outcome::failed) {
      return;
    }
    if (write_.size() == 0 && orderly) {
      transport_->finish();
    }
    const bool finished = write_.size() == 0 && orderly;
    if (write_.reported_unsent() != 0 ||
        (finished && transport_->holds_output())) {
      send_in_background(*loop_, std::move(transport_), write_.take_reported(),
                         orderly);
    }
  } catch (const std::exception& error) {
    log_lost_output(loop_->logger(), error.what());
  }
}

// One that is not kept may be held by nobody but its own callbacks.
void StreamCore::loop_closed() noexcept {
  const std::shared_ptr<BaseIOStream> held =
      kept_ ? std::move(kept_) : shared();
  if (!closed()) {
    phase_ = Phase::closed;
    end_ = End::loop_closed;
    stop_listening();
    transport_.reset();
    loop_->count_stream(false);
  }
  loop_ = nullptr;
  unread_.clear();
  write_.clear();
  write_.drop_completions();
  drop_read();
  Extra dying;
  if (extra_) {
    dying = std::move(*extra_);
    extra_->failure = std::move(dying.failure);
  }
}

std::string StreamCore::error_message() const {
  if (failure() == nullptr) {
    return {};
  }
  return failure()->message.empty() ? "stream: " + failure()->error.message()
                                    : failure()->message;
}

int StreamCore::fd() const noexcept {
  return transport_ ? transport_->fd() : -1;
}

std::string StreamCore::peer() const {
  if (connecting() != nullptr) {
    return connecting()->address.to_string();
  }
  std::string name = "fd " + std::to_string(fd());
  try {
    const Address address = Address::peer_of(fd());
    return address.named() ? address.to_string() : name;
  } catch (const std::system_error&) {
    return name;  // its peer has gone
  }
}

}  // namespace waterspout::detail
