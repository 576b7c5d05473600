#include "stream/adopt.h"

#include <cerrno>
#include <string>

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>

#include "base/throw_errno.h"

namespace waterspout {
namespace {

void set_flag(int fd, int get, int set, int flag) {
  const int flags = ::fcntl(fd, get);
  const bool done = flags >= 0 && ((flags & flag) != 0 ||
                                   ::fcntl(fd, set, flags | flag) == 0);
  if (!done) {
    throw_errno(errno, "IOStream", "fd " + std::to_string(fd));
  }
}

void check_is_socket(int fd) {
  int type = 0;
  socklen_t size = sizeof type;
  if (::getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) != 0) {
    throw_errno(errno, "IOStream", "fd " + std::to_string(fd));
  }
}

}  // namespace

// A socket without a peer was never connected, or its peer has reset it
// already: then an error waits for the first read.
bool is_connected(int fd) noexcept {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  if (::getpeername(fd, reinterpret_cast<sockaddr*>(&address), &size) == 0) {
    return true;
  }
  pollfd state{fd, 0, 0};
  return ::poll(&state, 1, 0) == 1 && (state.revents & POLLERR) != 0;
}

AdoptedSocket adopt_socket(int fd) {
  UniqueFd owned(fd);
  check_is_socket(fd);
  set_flag(fd, F_GETFL, F_SETFL, O_NONBLOCK);
  set_flag(fd, F_GETFD, F_SETFD, FD_CLOEXEC);
  const bool connected = is_connected(fd);
  return {std::make_unique<SocketTransport>(std::move(owned)), connected};
}

}  // namespace waterspout
