// StreamCore: the inside of every stream. The buffers, the one pending read,
// the queue of writes, one phase, and the dispatch that runs the callbacks.
//
// stream_core.cc has its life and its end; stream_events.cc the ways in from
// the loop, and runs the callbacks; stream_opening.cc has how it comes to be
// open; stream_reading.cc and stream_writing.cc the two directions.

#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>

#include "waterspout/iostream.h"

#include "loop/event.h"
#include "loop/loop_core.h"
#include "stream/read_buffer.h"
#include "stream/read_request.h"
#include "stream/transport.h"
#include "stream/write_queue.h"

namespace waterspout::detail {

/// Says which one is outside its bounds.
[[noreturn]] void refuse_stream_options(const BaseIOStream::Options& options);

/// Errors: throws std::invalid_argument for options outside their bounds.
inline void check_stream_options(const BaseIOStream::Options& options) {
  if (options.max_buffer_size == 0 || options.read_chunk_size == 0 ||
      options.read_chunk_size > Scratch::kInputSize) [[unlikely]] {
    refuse_stream_options(options);
  }
}

/// A base of every stream that is made, see OwnedStream. Every way in from the
/// loop holds the stream for its duration, so a callback may drop the last
/// reference; the functions that run user code say so.
class StreamCore : public LoopClient {
 public:
  /// What an adopted or a new transport is. One that is connected and has to
  /// shake hands begins that in the loop's next turn. open_with_input: its
  /// first input is likely there, and is looked for before it is polled for.
  enum class Start { unconnected, connected, open, open_with_input };

  /// Errors: throws std::invalid_argument for options outside their bounds.
  StreamCore(LoopCore& loop, std::unique_ptr<Transport> transport, Start start,
             const BaseIOStream::Options& options);

  /// The stream that this is the inside of.
  /// Errors: throws std::bad_weak_ptr while it is made or destroyed.
  [[nodiscard]] virtual std::shared_ptr<BaseIOStream> shared() = 0;

  // The operations of BaseIOStream and IOStream.
  void read_until(std::string_view delimiter, std::size_t max_bytes,
                  BaseIOStream::ReadCallback&& callback);
  void read_until_regex(std::string_view pattern, std::size_t max_bytes,
                        BaseIOStream::ReadCallback&& callback);
  void read_bytes(std::size_t count, BaseIOStream::ReadBytesOptions&& options,
                  BaseIOStream::ReadCallback&& callback);
  void read_until_close(BaseIOStream::ReadUntilCloseOptions&& options,
                        BaseIOStream::ReadCallback&& callback);
  void write(std::string_view data);
  void write(std::string_view data, BaseIOStream::WriteCallback&& callback);
  // See BaseIOStream.
  BaseIOStream::ReadCallback* begin_read_until(
      std::string_view delimiter) noexcept {
    return can_begin_read() ? read_.repeat_until(delimiter) : nullptr;
  }
  BaseIOStream::ReadCallback* begin_read_bytes(std::size_t count) noexcept {
    return can_begin_read() ? &read_.start_bytes(count) : nullptr;
  }
  BaseIOStream::WriteCallback* begin_write(std::string_view data) {
    if (!can_gather(data.size()) || !captures_nothing() ||
        !loop_->pools().completions.keeps_any()) [[unlikely]] {
      return nullptr;
    }
    return &write_.gather_to_tell(data, loop_->pools());
  }
  void connect(const Address& address, IOStream::ConnectCallback callback);
  void set_close_callback(BaseIOStream::CloseCallback callback);
  void close(std::error_code error);
  void close_after_writing();
  void set_read_end_callback(Callback<void()> callback);
  void shutdown_write();

  // What protected streams need.

  /// The connection is not open before its transport has shaken hands, for
  /// which it has `limit`; zero is no limit. Called once, before anything else.
  void expect_handshake(Duration limit, bool as_client);
  void keep_handshake_quiet() noexcept { extra_->handshake->quiet = true; }
  void wait_for_handshake(Callback<void()> callback);

  /// Lets the transport go, for another stream: this one is closed, without an
  /// error, and calls nobody. Output that was merely gathered leaves first.
  /// Errors: check_can_let_go throws StreamClosedError, or std::logic_error
  ///   unless the stream is open and nothing is pending, unread or unsent.
  void check_can_let_go(const char* operation);
  void check_nothing_pending(const char* operation);
  [[nodiscard]] std::unique_ptr<Transport> let_go() noexcept;
  [[nodiscard]] BaseIOStream::CloseCallback take_close_callback() noexcept {
    return extra_ ? std::move(extra_->close_callback) : nullptr;
  }

  // What handing connections over needs.

  /// Bytes that somebody else has received from this connection.
  void take_in(std::string_view received);
  [[nodiscard]] std::string take_all_unread() { return unread_.take_all(); }

  /// Null once closed.
  [[nodiscard]] Transport* transport() const noexcept {
    return transport_.get();
  }
  [[nodiscard]] BaseIOStream::Options options() const noexcept {
    return {max_buffer_size_, max_write_buffer_size_, read_chunk_size_,
            half_close_};
  }

  [[nodiscard]] bool open() const noexcept { return phase_ == Phase::open; }
  [[nodiscard]] bool closed() const noexcept { return phase_ == Phase::closed; }
  [[nodiscard]] bool read_ended() const noexcept { return read_ended_; }
  [[nodiscard]] bool reading() const noexcept { return read_.pending(); }
  [[nodiscard]] bool writing() const noexcept { return write_.size() != 0; }
  [[nodiscard]] std::size_t unsent_bytes() const noexcept {
    return write_.size();
  }
  [[nodiscard]] std::size_t unread_bytes() const noexcept {
    return unread_.size();
  }
  [[nodiscard]] std::error_code error() const noexcept {
    return failure() != nullptr ? failure()->error : std::error_code();
  }
  [[nodiscard]] std::string error_message() const;
  [[nodiscard]] std::exception_ptr exception() const noexcept {
    return failure() != nullptr ? failure()->exception : nullptr;
  }
  [[nodiscard]] int fd() const noexcept;
  [[nodiscard]] LoopCore* loop() const noexcept { return loop_; }
  [[nodiscard]] LoopCore& loop_core() noexcept { return *loop_; }

  // LoopClient.
  void run_task() noexcept override;
  void send_gathered() noexcept override;
  void loop_closed() noexcept override;

 protected:
  ~StreamCore();

 private:
  enum class Phase : std::uint8_t {
    unconnected,
    connecting,
    shaking_hands,
    open,
    closed,
  };

  /// Why it closed, where that is not in order.
  struct Failure {
    std::error_code error;
    std::string message;  ///< empty: no more than the code says
    std::exception_ptr exception;
  };
  /// How it closed: in order or with a Failure of its own, or in one of the
  /// ways in which nothing is allocated.
  enum class End : std::uint8_t { usual, out_of_memory, loop_closed };

  /// A connection under way.
  struct Connecting {
    Address address;
    IOStream::ConnectCallback callback;
  };

  /// A handshake to come or under way; later, who waits to hear of it.
  struct Handshake {
    Duration limit = Duration::zero();
    TimeoutHandle timeout = {};
    Callback<void()> callback = {};
    bool as_client = false;
    bool quiet = false;  // somebody else tells of its failure
    bool begun = false;
  };

  /// What most streams do without most of the time.
  struct Extra : Pooled {
    std::unique_ptr<Event> writable;         // made when first waited for
    std::unique_ptr<Connecting> connecting;  // until its callback has begun
    std::unique_ptr<Handshake> handshake;    // the same; with TLS alone
    std::unique_ptr<const Failure> failure;
    BaseIOStream::CloseCallback close_callback;
    Callback<void()> read_end_callback;
  };

  // stream_core.cc
  static Phase initial_phase(Start start) noexcept;
  [[gnu::always_inline]] void on_readable(IOLoop::Events ready) noexcept;
  void on_writable(IOLoop::Events ready) noexcept;
  template <class Step>
  [[gnu::always_inline]] void handle(Step step) noexcept;
  [[gnu::noinline]] void end_handling();
  [[nodiscard]] bool has_something_to_report() const noexcept {
    return (open() && read_.pending()) || has_otherwise_to_report();
  }
  [[nodiscard]] bool has_otherwise_to_report() const noexcept;
  [[gnu::noinline]] void let_itself_go() noexcept;
  [[nodiscard]] bool has_due() const noexcept;
  void settle();
  void settle_outside();
  void listen_for_input() noexcept;
  void listen_for_output() noexcept;
  void stop_listening_for_output() noexcept;
  void stop_listening() noexcept;
  void add(Event& event) noexcept;
  [[nodiscard]] Extra& extra();
  // Null where there is none.
  [[nodiscard]] Connecting* connecting() const noexcept {
    return extra_ ? extra_->connecting.get() : nullptr;
  }
  [[nodiscard]] Handshake* handshake() const noexcept {
    return extra_ ? extra_->handshake.get() : nullptr;
  }
  [[nodiscard]] bool watched_for_close() const noexcept {
    return extra_ && extra_->close_callback;
  }
  [[nodiscard]] bool watched_for_read_end() const noexcept {
    return extra_ && extra_->read_end_callback;
  }
  [[nodiscard]] bool watched() const noexcept {
    return watched_for_close() || watched_for_read_end();
  }
  [[nodiscard]] bool sails_plainly() const noexcept;
  void post_task() noexcept {
    set_plain(false);
    loop_->post_task(*this);
  }
  void set_plain(bool plain) noexcept {
    plain_ = plain;
    in_plain_callback_ = plain && dispatching_;
  }
  void set_dispatching(bool dispatching) noexcept {
    dispatching_ = dispatching;
    in_plain_callback_ = dispatching && plain_;
  }
  void deliver();
  [[gnu::always_inline]] void run_callbacks();
  [[gnu::noinline]] bool deliver_one();
  bool deliver_plainly();
  void deliver_written();
  // Nothing is written before there is a connection, not even nothing.
  [[nodiscard]] bool has_written_due() const noexcept {
    return write_.has_completions() && (open() || closed()) &&
           write_.has_done(gathering());
  }
  bool deliver_end() {
    return extra_ && (deliver_read_ended() || deliver_closed());
  }
  bool deliver_read_ended();
  bool deliver_closed();
  template <class... Args>
  void call(Callback<void(Args...)>& callback, const char* operation,
            Args... args) {
    if (const auto exception = loop_->call(callback, operation, args...))
        [[unlikely]] {
      callback_failed(exception, operation, callback.origin(),
                      callback.context());
    }
  }
  template <class... Args>
  [[gnu::noinline]] void call_once_in_context(Callback<void(Args...)>& callback,
                                              const char* operation,
                                              Args... args) {
    Callback<void(Args...)> taken(std::move(callback));
    call(taken, operation, args...);
  }
  // The callback is empty afterwards, or registered anew by what it did.
  template <class... Args>
  void call_once(Callback<void(Args...)>& callback, const char* operation,
                 Args... args) {
    if (callback.context() != nullptr) [[unlikely]] {
      call_once_in_context(callback, operation, args...);
      return;
    }
    const Origin origin = callback.origin();
    if (const auto exception = loop_->call_once(callback, operation, args...))
        [[unlikely]] {
      callback_failed(exception, operation, origin, nullptr);
    }
  }
  [[gnu::cold]] void callback_failed(const std::exception_ptr& exception,
                                     const char* operation, Origin origin,
                                     const ContextLink* context);
  void fail(std::string_view operation, std::error_code error) noexcept;
  void shut_with(Failure failure);
  void shut_for(const std::exception_ptr& exception,
                const char* operation) noexcept;
  void shut_without_memory() noexcept;
  void shut() noexcept;
  [[nodiscard]] const Failure* failure() const noexcept;  // null if none
  void let_go_of_output(bool orderly) noexcept;
  [[nodiscard]] bool is_worth_telling(std::error_code error) const noexcept;
  [[nodiscard]] LogLevel level_of(std::error_code error) const noexcept;
  [[nodiscard]] std::string peer() const;

  // stream_opening.cc
  void finish_connecting();
  void shake_hands();
  void begin_handshake();
  void handshake_is_late() noexcept;
  void opened();
  bool deliver_connected();
  bool deliver_handshake();
  [[nodiscard]] bool has_handshake_due() const noexcept {
    return open() && handshake() != nullptr && handshake()->callback;
  }

  // stream_ends.cc
  [[nodiscard]] bool nothing_more_comes() const noexcept {
    return closed() || read_ended_;
  }
  void end_reading();
  void finish_writing();

  // stream_reading.cc
  // A read that still misses this much is received where it will be delivered.
  static constexpr std::size_t kDirectAtLeast = 16384;
  void check_can_read(const char* operation, bool has_callback) const {
    if (!has_callback || read_.pending()) [[unlikely]] {
      refuse_to_read(operation, has_callback);
    }
  }
  [[noreturn]] void refuse_to_read(const char* operation,
                                   bool has_callback) const;
  [[nodiscard]] bool can_begin_read() const noexcept {
    return in_plain_callback_ && !read_.pending() && captures_nothing();
  }
  void read_started() {
    if (!in_plain_callback_) {
      look_at_read();
    }
  }
  void look_at_read();
  void drop_unsatisfied_read() noexcept;
  void drop_read() noexcept;
  void overflow();
  [[gnu::always_inline]] void receive_input();
  [[nodiscard]] bool wants_input() const noexcept {
    if (!open() || read_ended_) {
      return false;
    }
    return read_.pending() || (watched() && unread_.empty());
  }
  // Whether it is worth to look at what is unread.
  [[nodiscard]] bool may_satisfy_read() const noexcept {
    return !unread_.empty() || nothing_more_comes() || read_.needs_nothing();
  }
  [[nodiscard]] bool input_waits() const noexcept {
    return wants_input() && (looks_for_input_ || transport_->holds_input());
  }
  [[gnu::always_inline]] bool receive_once();
  bool receive_more(std::size_t missing);
  void nothing_received(Transfer received);
  [[nodiscard]] std::span<char> input_room(bool direct, std::size_t missing);
  // Called when the callbacks that could use the bytes in place have run.
  void store_incoming() { unread_.store(loop_->pools().chunks); }
  [[nodiscard]] ReadRequest::Verdict search() {
    if (!unread_.has_stored()) {
      return read_.search(unread_.incoming(), nothing_more_comes());
    }
    store_incoming();
    return read_.search(unread_.stored(), nothing_more_comes());
  }
  bool deliver_read();
  bool deliver_line();
  [[gnu::noinline]] bool deliver_otherwise(ReadRequest::Verdict verdict);
  void deliver_piece(std::size_t size);
  void deliver_result(std::size_t size);
  void refuse_read(ReadRequest::Verdict::Kind kind);

  // stream_writing.cc
  void check_can_write(std::string_view data) const;
  [[nodiscard]] std::size_t write_room() const noexcept;
  // From here on sending from the caller's memory is cheaper than a copy.
  static constexpr std::size_t kLargeWrite = 16384;
  // Output gathered within one event; more leaves at once.
  static constexpr std::size_t kGatheredAtMost = Scratch::kOutputSize;

  // Whether what is queued counts as written: it leaves at the end of this
  // event.
  [[nodiscard]] bool gathering() const noexcept {
    return open() && !write_.blocked() && write_.size() <= kGatheredAtMost;
  }
  // What most writes are: some bytes more, by a callback of this very stream.
  [[nodiscard]] bool can_gather(std::size_t more) const noexcept {
    return in_plain_callback_ && more < kLargeWrite &&
           more + write_.gathered() <= kGatheredAtMost;
  }
  [[gnu::noinline]] void write_otherwise(
      std::string_view data, BaseIOStream::WriteCallback&& callback);
  void make_room_for(const BaseIOStream::WriteCallback& callback);
  void send_or_queue(std::string_view data);
  void send_now(std::string_view data);
  void has_sent(Transfer sent);
  // What is gathered was gathered in plain callbacks: nothing is queued.
  void send_what_is_gathered() {
    if (write_.gathered() != 0) [[likely]] {
      const Transfer sent = write_.send_gathered(*transport_, loop_->pools());
      if (!plain_ || sent.outcome != Transfer::Outcome::done) [[unlikely]] {
        has_sent(sent);
      }
    } else if (open() && !write_.blocked() && write_.size() != 0) {
      send_now({});
    }
  }

  // What is small lies in the padding of what stands before it.
  Phase phase_;
  bool read_ended_ = false;     // by the peer, on a half-closed stream
  bool write_ended_ = false;    // by us
  bool shutting_down_ = false;  // our side ends when all is sent
  bool dispatching_ = false;    // callbacks are run, or about to be; or it dies
  bool in_plain_callback_ = false;      // that, and plain_
  LoopCore* loop_;                      // null once the loop is closed
  std::shared_ptr<BaseIOStream> kept_;  // while there is something to report
  std::unique_ptr<Transport> transport_;
  [[no_unique_address]] Event readable_;  // gone before transport_ is
  // Nothing is out of the ordinary: it is open both ways, is watched for input,
  // the kernel takes what it is given, no output waits but what is gathered, no
  // task is posted, and only reads and writes can become due. So most streams
  // are most of the time, and then few questions are asked.
  bool plain_ = false;
  const bool half_close_;
  End end_ = End::usual;
  const std::uint32_t read_chunk_size_;
  const std::size_t max_buffer_size_;
  const std::size_t max_write_buffer_size_;

  [[no_unique_address]] ReadRequest read_;
  ReadBuffer unread_;
  [[no_unique_address]] WriteQueue write_;
  bool looks_for_input_;          // before that is polled for
  std::unique_ptr<Extra> extra_;  // gone before transport_ is
};

}  // namespace waterspout::detail
