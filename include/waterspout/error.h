// What goes wrong and how it is told: the stream's error codes and the
// exceptions of misuse.
//
// Floor 0, base. Values and functions for any thread.
//
// Bad use of the library throws std::logic_error or std::invalid_argument at
// the call, before anything changed. A failure of the operating system in a
// synchronous call throws std::system_error whose what() reads
// "operation: object: reason". A failure later closes the stream, and its
// error() says why.

#pragma once

#include <exception>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>

#include "waterspout/export.h"

namespace waterspout {

/// Why a stream refused or closed, where no errno value says it.
enum class StreamErrc {
  /// The stream is closed and its buffer cannot satisfy the operation.
  closed = 1,
  /// A delimiter read went past its max_bytes (Tornado:
  /// UnsatisfiableReadError).
  unsatisfiable_read,
  /// More unread bytes than max_buffer_size (Tornado: StreamBufferFullError).
  read_buffer_full,
  /// A write that would pass max_write_buffer_size (Tornado:
  /// StreamBufferFullError).
  write_buffer_full,
  /// An exception left one of the stream's callbacks; exception() has it.
  uncaught_exception,
  /// Matching read_until_regex cost more work than its bound.
  regex_limit,
  /// The loop was closed or destroyed while the stream was open.
  loop_closed,
};

/// The category of StreamErrc; its name() is "waterspout.stream".
WATERSPOUT_API const std::error_category& stream_category() noexcept;

WATERSPOUT_API std::error_code make_error_code(StreamErrc code) noexcept;

/// The category of the EAI_ values of getaddrinfo(3), with gai_strerror(3)'s
/// texts; its name() is "waterspout.resolver".
WATERSPOUT_API const std::error_category& resolver_category() noexcept;

/// Thrown by an operation on a closed stream that its buffer cannot satisfy,
/// and by a write after close_after_writing().
/// Tornado: StreamClosedError, whose real_error is our cause().
class WATERSPOUT_API StreamClosedError : public std::system_error {
 public:
  StreamClosedError(std::string_view operation, std::string_view object,
                    std::error_code cause);

  /// The stream's error(): why it closed; no error after an orderly close.
  [[nodiscard]] std::error_code cause() const noexcept { return cause_; }

 private:
  std::error_code cause_;
};

/// Thrown by write() when the data would not fit max_write_buffer_size.
/// Nothing was queued and the stream stays open.
class WATERSPOUT_API StreamBufferFullError : public std::system_error {
 public:
  StreamBufferFullError(std::string_view operation, std::string_view object);
};

/// Thrown by IOLoop::run_sync when its time is up.
class WATERSPOUT_API TimeoutError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// "operation: object: reason", the form of every message of this library.
[[nodiscard]] WATERSPOUT_API std::string describe_error(
    std::string_view operation, std::string_view object, std::error_code code);

/// What an exception says: "std::out_of_range: map::at" for a std::exception,
/// "exception of type T" for anything else, "" for a null pointer.
[[nodiscard]] WATERSPOUT_API std::string describe_exception(
    const std::exception_ptr& exception);

/// `bytes` as printable text: control and non-ASCII bytes and the backslash
/// as C escapes, cut after `max_bytes` bytes with "..." behind them. For
/// messages about what a peer sent.
[[nodiscard]] WATERSPOUT_API std::string escape_bytes(
    std::string_view bytes, std::size_t max_bytes = 32);

}  // namespace waterspout

template <>
struct std::is_error_code_enum<waterspout::StreamErrc> : std::true_type {};
