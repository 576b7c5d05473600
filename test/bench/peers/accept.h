// Accepting for the servers that do it by themselves.

#pragma once

#include <cerrno>
#include <utility>

#include <sys/socket.h>

#include "peers/common.h"

namespace peers {

/// There is no room for one more client in the process or the system.
inline bool is_out_of_room(int error) noexcept {
  return error == EMFILE || error == ENFILE || error == ENOBUFS ||
         error == ENOMEM;
}

/// Calls `take(UniqueFd)` with each client that waits, up to a limit. Returns
/// false if there is no room for one more: the listener stays readable then.
template <class Take>
[[nodiscard]] bool accept_clients(int listener, Take take) {
  constexpr int kAcceptsATurn = 64;
  for (int i = 0; i < kAcceptsATurn; ++i) {
    UniqueFd client(
        ::accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (client) {
      take(std::move(client));
    } else if (errno == EAGAIN) {
      return true;
    } else if (is_out_of_room(errno)) {
      return false;
    }  // Any other error is of a client that has gone again.
  }
  return true;
}

}  // namespace peers
