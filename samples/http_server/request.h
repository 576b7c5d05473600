// The head of a request: where it ends, and what it says. Read as strictly as
// RFC 9112 allows: where two readers could understand a head in two ways, one
// of them can be made to take the body of one request for the next request.
// Pure functions on text.

#pragma once

#include <cstddef>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>

namespace http_server {

/// A request that is answered with an error status, after which its connection
/// is of no more use. what() tells the client why.
class BadRequest : public std::runtime_error {
 public:
  BadRequest(int status, const std::string& reason)
      : std::runtime_error(reason), status_(status) {}

  [[nodiscard]] int status() const noexcept { return status_; }

 private:
  int status_;
};

struct HeadLimits {
  std::size_t request_line = 8192;  ///< bytes; beyond: 414
  std::size_t head = 32768;         ///< bytes, all of it; beyond: 431
  std::size_t fields = 100;         ///< beyond: 431
};

/// Looks for the end of a head while it arrives. Every byte is searched once.
class HeadFinder {
 public:
  /// `input` is all that has arrived of the head, and perhaps more behind it;
  /// the same bytes as in the call before, and then some. Returns the size of
  /// the head with its blank line, and empty lines before it; nothing as long
  /// as the end is missing.
  /// Errors: throws BadRequest for a limit that is passed, a line that ends in
  ///   anything but CR LF, and what cannot become a request.
  [[nodiscard]] std::optional<std::size_t> find(std::string_view input,
                                                const HeadLimits& limits);

 private:
  void check_start(std::string_view input) const;
  void check_size(std::size_t line, std::size_t head,
                  const HeadLimits& limits) const;

  std::size_t line_ = 0;      // where the line that is not complete begins
  std::size_t searched_ = 0;  // bytes without a line's end from there
  bool in_fields_ = false;    // the request line is complete
};

enum class Method { get, head };

/// A request that can be answered. The views are into the text that was parsed.
struct Request {
  Method method = Method::get;

  /// The target's path, decoded, without the slash at its beginning: "" for
  /// "/". It holds no NUL and no segment "..".
  std::string path;
  std::string_view query;  ///< as it came, with its '?'

  int minor_version = 1;   ///< HTTP/1.x: 0 or 1
  bool keep_alive = true;  ///< the client may send another request

  // Empty where there is no such field.
  std::string_view range;
  std::string_view if_range;
  std::string_view if_modified_since;
  std::string_view if_unmodified_since;
  std::string_view if_match;
  std::string_view if_none_match;
};

/// Parses a head that HeadFinder has found.
/// Errors: throws BadRequest.
[[nodiscard]] Request parse_request(std::string_view head,
                                    const HeadLimits& limits);

/// Decodes the path of a target, "/a%20b/": "a b/".
/// Errors: throws BadRequest for a '%' without two digits behind it, an encoded
///   NUL or slash (400), and for a segment ".." (403).
[[nodiscard]] std::string decode_path(std::string_view path);

/// The other way round: "/a%20b/".
[[nodiscard]] std::string encode_path(std::string_view path);

}  // namespace http_server
