// Takes a connection away from a libevent bufferevent: the one place in the
// library that knows bufferevents.

#pragma once

#include <string>

#include "base/unique_fd.h"

struct bufferevent;

namespace waterspout {

struct TakenConnection {
  UniqueFd fd;
  std::string input;   ///< received, and read by nobody
  std::string output;  ///< written, and not sent
};

/// Errors: throws std::invalid_argument, and changes nothing, for null, a
///   bufferevent that is no plain one on a socket (TLS, filters, pairs), or one
///   without a descriptor. Returns the descriptor.
int check_bufferevent(bufferevent* connection);

/// Frees `connection`, whose callbacks run no more; the descriptor stays open,
/// also if it was made with BEV_OPT_CLOSE_ON_FREE.
/// Requires: check_bufferevent. Errors: throws std::bad_alloc, and has changed
///   nothing then.
[[nodiscard]] TakenConnection take_connection(bufferevent* connection);

}  // namespace waterspout
