// Those calls that make, name and close descriptors, in front of the C
// library's, for FailingCall. What moves bytes is in syscall_counter.cc.

#include <cerrno>
#include <cstdarg>
#include <cstddef>

#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "support/failing_call.h"

using waterspout::test::must_fail;

namespace {

template <class... Args>
int call(const char* name, long number, Args... args) noexcept {
  return must_fail(name) ? -1 : static_cast<int>(syscall(number, args...));
}

int control(int fd, int command, void* argument) noexcept {
  return call("fcntl", SYS_fcntl, fd, command, argument);
}

}  // namespace

extern "C" {

int socket(int family, int type, int protocol) noexcept {
  return call("socket", SYS_socket, family, type, protocol);
}

int socketpair(int family, int type, int protocol, int fds[2]) noexcept {
  return call("socketpair", SYS_socketpair, family, type, protocol, fds);
}

int bind(int fd, const sockaddr* address, socklen_t size) noexcept {
  return call("bind", SYS_bind, fd, address, size);
}

int listen(int fd, int backlog) noexcept {
  return call("listen", SYS_listen, fd, backlog);
}

int accept4(int fd, sockaddr* address, socklen_t* size, int flags) {
  return call("accept4", SYS_accept4, fd, address, size, flags);
}

int getsockname(int fd, sockaddr* address, socklen_t* size) noexcept {
  return call("getsockname", SYS_getsockname, fd, address, size);
}

int getsockopt(int fd, int level, int name, void* value,
               socklen_t* size) noexcept {
  return call("getsockopt", SYS_getsockopt, fd, level, name, value, size);
}

int setsockopt(int fd, int level, int name, const void* value,
               socklen_t size) noexcept {
  return call("setsockopt", SYS_setsockopt, fd, level, name, value, size);
}

int shutdown(int fd, int how) noexcept {
  return call("shutdown", SYS_shutdown, fd, how);
}

// With 64-bit offsets <fcntl.h> makes fcntl64 of this; libevent has none.
int fcntl(int fd, int command, ...) {
  va_list arguments;
  va_start(arguments, command);
  void* const argument = va_arg(arguments, void*);
  va_end(arguments);
  return control(fd, command, argument);
}

int fcntl_of_libevent(int fd, int command, ...) __asm__("fcntl");
int fcntl_of_libevent(int fd, int command, ...) {
  va_list arguments;
  va_start(arguments, command);
  void* const argument = va_arg(arguments, void*);
  va_end(arguments);
  return control(fd, command, argument);
}

int pipe2(int fds[2], int flags) noexcept {
  return call("pipe2", SYS_pipe2, fds, flags);
}

int eventfd(unsigned count, int flags) noexcept {
  return call("eventfd", SYS_eventfd2, count, flags);
}

int epoll_create1(int flags) noexcept {
  return call("epoll_create1", SYS_epoll_create1, flags);
}

int poll(pollfd* fds, nfds_t count, int timeout) {
  return call("poll", SYS_poll, fds, count, timeout);
}

int close(int fd) {
  const bool fails = must_fail("close");
  const int error = errno;
  const auto result = static_cast<int>(syscall(SYS_close, fd));
  if (fails) {
    errno = error;
    return -1;
  }
  return result;
}

}  // extern "C"
