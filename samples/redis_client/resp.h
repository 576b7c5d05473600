// RESP2, the protocol of Redis: commands as bytes, and bytes as replies.

#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace redis_client {

/// What came of a command.
struct Reply {
  enum class Kind {
    nil,  ///< no such thing: a bulk string or an array that is none
    status,
    error,  ///< the server's refusal
    integer,
    bulk,  ///< any bytes
    array,
    failure,  ///< no reply came; never a part of an array
  };

  Kind kind = Kind::nil;
  std::string text = {};  ///< of a status, an error, a bulk string, a failure
  std::int64_t integer = 0;
  std::vector<Reply> elements = {};  ///< of an array

  /// True unless it is an error or a failure.
  [[nodiscard]] bool ok() const noexcept {
    return kind != Kind::error && kind != Kind::failure;
  }

  friend bool operator==(const Reply&, const Reply&) = default;
};

/// Appends a command to `bytes` as it is sent: an array of bulk strings.
void append_command(std::string& bytes,
                    const std::vector<std::string>& arguments);

/// What a server sends is not RESP2, or larger than we take.
class ProtocolError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Takes replies apart as they arrive.
class Parser {
 public:
  struct Limits {
    /// Of a status or an error, in bytes.
    std::size_t line = 65536;
    /// Of a reply in memory, in bytes. A server's bulk string has 512 MiB at
    /// most unless it is configured otherwise.
    std::size_t reply = std::size_t{1} << 30;
    /// Of arrays in arrays.
    std::size_t depth = 128;
  };

  Parser() : Parser(Limits()) {}
  explicit Parser(Limits limits) : limits_(limits) {}

  /// Takes bytes from the front of `bytes` until a reply is complete, and gives
  /// it; or all of them, and gives nothing. Memory is taken for what has come,
  /// never for what is announced.
  ///
  /// Errors: throws ProtocolError. The parser is of no use then.
  std::optional<Reply> feed(std::string_view& bytes);

 private:
  enum class Expecting { line, bulk };

  // An array some elements of which are still to come.
  struct Unfinished {
    Reply array;
    std::size_t missing;
  };

  std::optional<Reply> take_line(std::string_view& bytes);
  std::optional<Reply> take_bulk(std::string_view& bytes);
  std::optional<Reply> take_header(std::string_view header);
  std::optional<Reply> begin_bulk(std::string_view length);
  std::optional<Reply> begin_array(std::string_view length);
  std::optional<Reply> add(Reply reply);
  void count(std::size_t items, std::size_t item_size);

  Limits limits_;
  Expecting expecting_ = Expecting::line;
  std::string line_;  // what has come of it
  std::string bulk_;  // what has come of it, with its line's end
  std::size_t bulk_size_ = 0;
  std::size_t memory_ = 0;              // of the reply that is under way, bytes
  std::vector<Unfinished> unfinished_;  // outermost first
};

}  // namespace redis_client
