// A stream against a model of it, driven by bytes: by a fuzzer's or by random
// ones.
//
// The model is all that the peer has sent and how much of it was read; for the
// other direction, all that was written, reported and received. The same bytes
// always run the same operations, so a failure can be repeated.

#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "waterspout/ioloop.h"
#include "waterspout/iostream.h"

struct event_base;

namespace waterspout::test {

/// Runs the operations that `input` spells on a stream and on the model: what
/// the peer sends and how it ends, turns of the loop, every kind of read and
/// write, closing, throwing and letting go, outside of callbacks and inside.
/// Returns what the stream did wrong, or "".
[[nodiscard]] std::string run_stream_model(std::span<const std::uint8_t> input);

namespace model {

// The operations' bytes; zeros when they are used up.
class Input {
 public:
  explicit Input(std::span<const std::uint8_t> bytes) : bytes_(bytes) {}

  [[nodiscard]] bool empty() const { return bytes_.empty(); }

  std::uint8_t byte() {
    if (bytes_.empty()) {
      return 0;
    }
    const std::uint8_t first = bytes_.front();
    bytes_ = bytes_.subspan(1);
    return first;
  }

  std::size_t below(std::size_t bound) { return byte() % bound; }

  template <class Value, std::size_t N>
  Value one_of(const Value (&values)[N]) {
    return values[below(N)];
  }

 private:
  std::span<const std::uint8_t> bytes_;
};

// Counts what no context handled, and logs nothing.
class QuietLoop final : public IOLoop {
 public:
  using IOLoop::IOLoop;
  int failures = 0;

 protected:
  void handle_callback_exception(const CallbackFailure& /*failure*/) override {
    failures += 1;
  }
};

// Of the base that the loop borrows.
struct FreeBase {
  void operator()(event_base* base) const noexcept;
};

enum class Kind { until, bytes, partial, streaming, until_close, draining };

// The read that is pending.
struct Read {
  Kind kind = Kind::until;
  std::string delimiter;
  std::size_t count = 0;                         // bytes still to come
  std::size_t max_bytes = IOStream::kUnlimited;  // until
  bool after_close = false;                      // asked for on a closed one

  // Whether `unread` is enough for it.
  [[nodiscard]] bool satisfied_by(std::string_view unread) const {
    switch (kind) {
      case Kind::until: {
        const auto hit = unread.find(delimiter);
        return hit != std::string_view::npos &&
               hit + delimiter.size() <= max_bytes;
      }
      case Kind::bytes:
      case Kind::streaming:
        return unread.size() >= count;
      case Kind::partial:
        return count == 0 || !unread.empty();
      case Kind::until_close:
      case Kind::draining:
        return false;
    }
    return false;
  }
};

/// One run: the stream, its peer, and what should be true of them.
class StreamModel {
 public:
  explicit StreamModel(std::span<const std::uint8_t> input);
  ~StreamModel() { close_peer(); }

  StreamModel(const StreamModel&) = delete;
  StreamModel& operator=(const StreamModel&) = delete;

  /// Returns what the stream did wrong, or "".
  std::string run();

 private:
  // What a callback is in the middle of.
  class InCallback {
   public:
    explicit InCallback(StreamModel& model) : model_(model) {
      model_.expect(!model_.in_call_, "a callback ran inside a call");
      model_.expect(!model_.in_callback_, "callbacks nest");
      model_.in_callback_ = true;
    }
    ~InCallback() { model_.in_callback_ = false; }
    InCallback(const InCallback&) = delete;
    InCallback& operator=(const InCallback&) = delete;

   private:
    StreamModel& model_;
  };

  void expect(bool holds, std::string_view what) {
    if (!holds && violation_.empty()) {
      violation_ = what;
    }
  }

  // A call of the stream: no callback may run inside.
  template <class Call>
  void call(Call operation) {
    const bool before = std::exchange(in_call_, true);
    try {
      operation();
    } catch (...) {
      in_call_ = before;
      throw;
    }
    in_call_ = before;
  }

  [[nodiscard]] std::string_view unread(std::size_t size) const {
    return std::string_view(sent_).substr(delivered_, size);
  }

  static std::unique_ptr<event_base, FreeBase> new_base();
  IOLoop::Options quiet_options();

  void operate();
  void operate_in_callback();
  void start_read();
  Read choose_read();
  void call_read(const Read& read);
  void read_twice();
  void notice_dropped_read();
  void write();
  void peer_sends();
  void peer_drains(std::size_t at_most);
  void close_peer();
  void close_stream();
  void let_go();
  void step();
  void settle();
  void check_state();
  void check_progress();
  void finish();
  void check_end();

  void on_data(std::string_view data);
  void on_piece(std::string_view piece);
  void on_written(std::size_t end);
  void on_close();
  void take(std::string_view data, const Read& read);

  Input input_;
  std::string violation_;
  const std::unique_ptr<event_base, FreeBase> base_ = new_base();
  int records_ = 0;  // of warnings and errors
  QuietLoop loop_{base_.get(), quiet_options()};
  IOStream::Options options_;
  std::shared_ptr<int> token_ = std::make_shared<int>(0);  // in callbacks
  std::shared_ptr<IOStream> stream_;
  bool in_call_ = false;
  bool in_callback_ = false;

  // What comes in.
  int peer_ = -1;
  bool peer_sends_ = true;  // has not ended its side
  std::string sent_;
  std::size_t delivered_ = 0;
  std::optional<Read> read_;

  // What goes out.
  std::string written_;
  std::string received_;
  std::size_t reported_ = 0;
  std::deque<std::size_t> reports_;  // where each write that will report ends
  bool no_more_writes_ = false;

  // The end.
  int closed_ = 0;  // times the close callback ran
  bool we_closed_ = false;
  bool let_go_ = false;   // we hold it no longer and took its callback back
  bool cut_off_ = false;  // the peer closed before we had written all
  int thrown_ = 0;
};

}  // namespace model

}  // namespace waterspout::test
