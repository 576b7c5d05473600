#include "net/listener.h"

#include <cerrno>
#include <stdexcept>
#include <string>

#include <fcntl.h>
#include <sys/socket.h>

#include "base/throw_errno.h"

namespace waterspout {
namespace {

bool set_flag(int fd, int get, int set, int flag) {
  const int flags = ::fcntl(fd, get);
  return flags >= 0 &&
         ((flags & flag) != 0 || ::fcntl(fd, set, flags | flag) == 0);
}

}  // namespace

Socket make_socket(int family) noexcept {
  return Socket(
      ::socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
}

void set_option(const Socket& socket, int level, int option,
                std::string_view operation, std::string_view object) {
  const int on = 1;
  if (::setsockopt(socket.fileno(), level, option, &on, sizeof on) != 0) {
    throw_errno(errno, operation, object);
  }
}

void bind_socket(const Socket& socket, const Address& address,
                 std::string_view operation, std::string_view object) {
  if (::bind(socket.fileno(), address.data(),
             static_cast<socklen_t>(address.size())) != 0) {
    throw_errno(errno, operation, object);
  }
}

void listen_on(const Socket& socket, int backlog, std::string_view operation,
               std::string_view object) {
  if (::listen(socket.fileno(), backlog) != 0) {
    throw_errno(errno, operation, object);
  }
}

void check_backlog(int backlog, std::string_view operation) {
  if (backlog < 1) {
    throw std::invalid_argument(std::string(operation) +
                                ": backlog: is not positive");
  }
}

void prepare_listener(int fd, std::string_view operation) {
  const std::string object = "fd " + std::to_string(fd);
  int listens = 0;
  socklen_t size = sizeof listens;
  if (::getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) != 0) {
    throw_errno(errno, operation, object);
  }
  if (listens == 0) {
    throw_errno(EINVAL, operation, object + ": does not listen");
  }
  if (!set_flag(fd, F_GETFL, F_SETFL, O_NONBLOCK) ||
      !set_flag(fd, F_GETFD, F_SETFD, FD_CLOEXEC)) {
    throw_errno(errno, operation, object);
  }
}

}  // namespace waterspout
