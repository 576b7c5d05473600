#include "stream/socket_transport.h"

#include <cerrno>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "base/throw_errno.h"

namespace waterspout {
namespace {

// What a system call comes to that is repeated while signals interrupt it.
template <class Call>
Transfer attempt(Call call) {
  for (;;) {
    const ssize_t bytes = call();
    if (bytes >= 0) [[likely]] {
      return {Transfer::Outcome::done, static_cast<std::size_t>(bytes)};
    }
    if (errno != EINTR) {
      return Transfer::from_errno(errno);
    }
  }
}

}  // namespace

// ENOBUFS: the kernel is short of memory for now, which passes as a full
// socket buffer does.
Transfer Transfer::from_errno(int code) noexcept {
  const bool would_block =
      code == EAGAIN || code == EWOULDBLOCK || code == ENOBUFS;
  return would_block ? Transfer() : failure(errno_code(code));
}

Transfer SocketTransport::read_otherwise(std::span<char> into) noexcept {
  const Transfer received =
      attempt([&] { return ::recv(socket_, into.data(), into.size(), 0); });
  const bool ended =
      received.outcome == Transfer::Outcome::done && received.bytes == 0;
  return ended ? Transfer(Transfer::Outcome::end) : received;
}

Transfer SocketTransport::write(std::span<const iovec> pieces) noexcept {
  if (pieces.size() == 1) {  // cheaper than sendmsg
    return attempt([&] {
      return ::send(socket_, pieces[0].iov_base, pieces[0].iov_len,
                    MSG_NOSIGNAL);
    });
  }
  msghdr message{};
  message.msg_iov = const_cast<iovec*>(pieces.data());
  message.msg_iovlen = pieces.size();
  return attempt([&] { return ::sendmsg(socket_, &message, MSG_NOSIGNAL); });
}

Transfer SocketTransport::connect(const Address& address) noexcept {
  if (socket_ < 0) {
    socket_ = ::socket(address.family(),
                       SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (socket_ < 0) {
      return Transfer::failure(errno_code(errno));
    }
  }
  if (address.family() == AF_INET || address.family() == AF_INET6) {
    // Without it the connection is slower, not worse.
    static_cast<void>(set_tcp_nodelay(socket_, true));
  }
  if (::connect(socket_, address.data(),
                static_cast<socklen_t>(address.size())) == 0) {
    return Transfer::Outcome::done;
  }
  // An interrupted connect(2) goes on in the background.
  const bool under_way = errno == EINPROGRESS || errno == EINTR;
  return under_way ? Transfer{} : Transfer::failure(errno_code(errno));
}

std::error_code SocketTransport::connect_result() noexcept {
  int code = 0;
  socklen_t size = sizeof code;
  if (::getsockopt(socket_, SOL_SOCKET, SO_ERROR, &code, &size) != 0) {
    code = errno;
  }
  return code != 0 ? errno_code(code) : std::error_code();
}

Transfer SocketTransport::end_output() noexcept {
  ::shutdown(socket_, SHUT_WR);
  return Transfer::Outcome::done;
}

std::error_code set_tcp_nodelay(int fd, bool value) noexcept {
  const int flag = value ? 1 : 0;
  if (::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &flag, sizeof flag) != 0) {
    return errno_code(errno);
  }
  return {};
}

}  // namespace waterspout
