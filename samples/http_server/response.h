// What a request is answered with. Knows files and dates, and nothing of
// connections.

#pragma once

#include <cstdint>
#include <string>

#include "http_server/files.h"
#include "http_server/http_date.h"
#include "http_server/request.h"

namespace http_server {

struct Response {
  std::string text;  ///< the head and, where no file is sent, the body
  bool keep_alive = true;

  // The part of a file that follows.
  File file;
  std::uint64_t offset = 0;  ///< bytes
  std::uint64_t length = 0;  ///< bytes; 0 without a file
};

/// Answers with a file of `directory`, a part of it, or a status that tells why
/// not. `now` is the time of the wall clock.
/// Errors: throws std::system_error as Directory::open.
[[nodiscard]] Response answer(const Request& request,
                              const Directory& directory, Date now);

/// Answers what is no request. With `head_only` the body is left out, for what
/// looked like a HEAD.
[[nodiscard]] Response answer(const BadRequest& error, bool head_only,
                              Date now);

}  // namespace http_server
