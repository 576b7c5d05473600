// ReadRequest: what a stream's reader is waiting for. One object for the
// pending read; it finds where the result ends and consumes nothing.

#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>

#include "waterspout/iostream.h"

#include "base/chunk_deque.h"
#include "loop/pooled.h"
#include "stream/delimiter.h"
#include "stream/regex.h"

namespace waterspout {

/// Idle until one of the start functions, then pending until finish() or
/// drop(). What it learnt of bytes that it has searched is kept, so that each
/// is searched once.
class ReadRequest {
 public:
  enum class Kind : std::uint8_t { none, until, regex, bytes, until_close };

  /// What the unread bytes mean for the read.
  struct Verdict {
    enum class Kind { more, found, unsatisfiable, too_costly };
    Kind kind = Kind::more;
    std::size_t size = 0;  ///< found: of the result, or of the next piece
  };

  void start_until(std::string_view delimiter, std::size_t max_bytes,
                   BaseIOStream::ReadCallback&& callback) {
    if (delimiter != this->delimiter()) {
      set_delimiter(delimiter);
    }
    max_bytes_ = max_bytes;
    start(Kind::until, "read_until", std::move(callback));
  }
  void start_regex(std::string_view pattern, std::size_t max_bytes,
                   BaseIOStream::ReadCallback&& callback);
  void start_bytes(std::size_t count, BaseIOStream::ReadBytesOptions&& options,
                   BaseIOStream::ReadCallback&& callback);
  void start_until_close(BaseIOStream::StreamingCallback&& streaming_callback,
                         BaseIOStream::ReadCallback&& callback);

  // The same for a callback that the caller makes where these say, at once.

  /// Most reads want what the last one did, and have their delimiter in place.
  /// Null if this one does not; then nothing is started.
  [[nodiscard]] BaseIOStream::ReadCallback* repeat_until(
      std::string_view delimiter) noexcept {
    if (delimiter.size() != 1) {
      return repeat_until_sequence(delimiter);
    }
    return delimiter_.is(delimiter.front()) ? start_again() : nullptr;
  }
  [[nodiscard]] BaseIOStream::ReadCallback& start_bytes(
      std::size_t count) noexcept {
    partial_ = false;
    progress_ = count;
    kind_ = Kind::bytes;
    return callback_;
  }

  [[nodiscard]] bool pending() const noexcept { return kind_ != Kind::none; }
  [[nodiscard]] bool streaming() const noexcept {
    return rare_ && rare_->streaming_callback;
  }

  /// Looks at the unread bytes: in the buffer, or in one view where the buffer
  /// is empty. `at_end`: no more will come.
  Verdict search(ChunkDeque& buffer, bool at_end);
  Verdict search(std::string_view unread, bool at_end) {
    return awaits_delimiter() && !unread.empty()
               ? search_delimiter(unread)
               : search_otherwise(unread, at_end);
  }

  /// The same for what most reads are. Requires: awaits_delimiter(); something
  /// is unread.
  Verdict search_delimiter(std::string_view unread) noexcept {
    if (!delimiter_.is_one_byte()) {
      return judge_delimiter(find_sequence(unread, delimiter(), progress_),
                             unread.size());
    }
    const char* const from = unread.data() + progress_;
    const void* const hit =
        std::memchr(from, delimiter_.byte(), unread.size() - progress_);
    if (hit == nullptr) [[unlikely]] {
      return judge_delimiter(ChunkDeque::npos, unread.size());
    }
    const auto* const last = static_cast<const char*>(hit);
    return judge_end(static_cast<std::size_t>(last + 1 - unread.data()));
  }
  [[nodiscard]] bool awaits_delimiter() const noexcept {
    return kind_ == Kind::until;
  }

  /// How many bytes must still arrive, where that is known and they are wanted
  /// in one piece; 0 otherwise. `buffered` have arrived.
  [[nodiscard]] std::size_t missing(std::size_t buffered) const noexcept {
    const bool known = kind_ == Kind::bytes && !partial_ && !streaming();
    return known && progress_ > buffered ? progress_ - buffered : 0;
  }

  /// A piece of `size` bytes goes to the streaming callback.
  void count_piece(std::size_t size) noexcept {
    progress_ -= kind_ == Kind::bytes ? size : 0;
  }

  [[nodiscard]] bool until_close() const noexcept {
    return kind_ == Kind::until_close;
  }

  /// True if the read completes whether or not anything is unread.
  [[nodiscard]] bool needs_nothing() const noexcept {
    return kind_ == Kind::bytes && progress_ == 0;
  }

  /// True if more than `unread` bytes must come before the read can end.
  [[nodiscard]] bool lacks(std::size_t unread) const noexcept {
    return kind_ == Kind::bytes && !partial_ && unread < progress_;
  }

  /// "read_until", for reports.
  [[nodiscard]] const char* operation() const noexcept {
    static constexpr std::array kNames = {"read", "read_until",
                                          "read_until_regex", "read_bytes",
                                          "read_until_close"};
    return kNames[static_cast<std::size_t>(kind_)];
  }

  /// Ends the read; the caller calls its callback: taken out first, since the
  /// next read may start meanwhile.
  [[nodiscard]] BaseIOStream::ReadCallback& finish() noexcept {
    kind_ = Kind::none;
    return callback_;
  }

  /// The same where it is not to be called, but destroyed.
  [[nodiscard]] BaseIOStream::ReadCallback& drop() noexcept {
    ++dropped_;
    return finish();
  }

  /// How many reads were dropped: tells a streaming callback that its read was.
  [[nodiscard]] std::uint32_t dropped() const noexcept { return dropped_; }

  /// The streaming callback, taken out for a call and put back after it.
  [[nodiscard]] BaseIOStream::StreamingCallback
  take_streaming_callback() noexcept {
    return rare_ ? std::move(rare_->streaming_callback)
                 : BaseIOStream::StreamingCallback();
  }
  void put_back(BaseIOStream::StreamingCallback&& callback) noexcept {
    rare_->streaming_callback = std::move(callback);
  }

 private:
  void start(Kind kind, const char* operation,
             BaseIOStream::ReadCallback&& callback) {
    callback.set_operation(operation);
    kind_ = kind;
    progress_ = 0;
    std::construct_at(&callback_, std::move(callback));  // it was empty
  }
  BaseIOStream::ReadCallback* start_again() noexcept {
    max_bytes_ = BaseIOStream::kUnlimited;
    progress_ = 0;
    kind_ = Kind::until;
    return &callback_;
  }
  BaseIOStream::ReadCallback* repeat_until_sequence(
      std::string_view delimiter) noexcept;
  Verdict search_otherwise(std::string_view unread, bool at_end);
  Verdict judge_delimiter(std::size_t hit, std::size_t unread) noexcept {
    if (hit != ChunkDeque::npos) {
      return judge_end(hit + delimiter().size());
    }
    // It may have begun in the last bytes.
    progress_ = unread - std::min(unread, delimiter().size() - 1);
    return judge_missing(unread);
  }
  [[nodiscard]] Verdict judge_count(std::size_t unread) const noexcept;
  [[nodiscard]] Verdict judge_rest(std::size_t unread,
                                   bool at_end) const noexcept;
  Verdict judge_regex(std::string_view unread);
  // A match that ends beyond the limit fails, also when it came at once.
  [[nodiscard]] Verdict judge_end(std::size_t end) const noexcept {
    return {
        end <= max_bytes_ ? Verdict::Kind::found : Verdict::Kind::unsatisfiable,
        end};
  }
  [[nodiscard]] Verdict judge_missing(std::size_t unread) const noexcept;

  /// A pattern, and what matching it has cost this read.
  struct Matching {
    explicit Matching(std::string_view pattern) : regex(pattern) {}
    Regex regex;
    std::uint64_t work = 0;
  };

  /// What few streams ever want.
  struct Rare : Pooled {
    std::string delimiter;               // the last one, where it is a long one
    std::unique_ptr<Matching> matching;  // the last one, for the next read
    BaseIOStream::StreamingCallback streaming_callback;
  };
  [[nodiscard]] Rare& rare() {
    if (!rare_) {
      rare_ = std::make_unique<Rare>();
    }
    return *rare_;
  }

  void set_delimiter(std::string_view delimiter) {
    if (!Delimiter::fits(delimiter)) {
      rare().delimiter = delimiter;
    }
    delimiter_.assign(delimiter);
  }
  [[nodiscard]] std::string_view delimiter() const noexcept {
    return delimiter_.is_long() ? std::string_view(rare_->delimiter)
                                : delimiter_.view();
  }

  BaseIOStream::ReadCallback callback_;  // first, as the one that is aligned
  Kind kind_ = Kind::none;
  bool partial_ = false;
  std::uint32_t dropped_ = 0;
  Delimiter delimiter_;  // the last one, for the next read
  std::size_t max_bytes_ = 0;
  // Of bytes, how many are still to be delivered; else how many unread ones
  // hold no match's begin.
  std::size_t progress_ = 0;
  std::unique_ptr<Rare> rare_;
};

}  // namespace waterspout
