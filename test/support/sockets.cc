#include "support/sockets.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

namespace waterspout::test {

namespace {

constexpr timeval kLimit{.tv_sec = 5, .tv_usec = 0};

// Passes a system call's result on and turns a failure into an exception.
template <class Result>
Result checked(Result result, const char* operation) {
  if (result < 0) {
    throw std::system_error(errno, std::generic_category(), operation);
  }
  return result;
}

template <class Value>
void set_option(int fd, int level, int name, const Value& value) {
  checked(setsockopt(fd, level, name, &value, sizeof(value)), "setsockopt");
}

int new_tcp_socket() {
  return checked(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket");
}

// Binds to a free port and returns that.
std::uint16_t bind_to_loopback(int fd) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  auto* const generic = reinterpret_cast<sockaddr*>(&address);
  checked(bind(fd, generic, sizeof(address)), "bind");
  socklen_t size = sizeof(address);
  checked(getsockname(fd, generic, &size), "getsockname");
  return ntohs(address.sin_port);
}

}  // namespace

// It owns the descriptor before anything can fail.
UniquePeerFd::UniquePeerFd(int fd) : UniquePeerFd() {
  fd_ = fd;
  set_option(fd, SOL_SOCKET, SO_RCVTIMEO, kLimit);
  set_option(fd, SOL_SOCKET, SO_SNDTIMEO, kLimit);
}

void UniquePeerFd::send(std::string_view data) const {
  if (protection_) {
    send_raw(protection_->wrap(data));
  } else {
    send_raw(data);
  }
}

void UniquePeerFd::send_raw(std::string_view data) const {
  while (!data.empty()) {
    const auto sent =
        checked(::send(fd_, data.data(), data.size(), MSG_NOSIGNAL), "send");
    data.remove_prefix(static_cast<std::size_t>(sent));
  }
}

// Pieces so small that the kernel takes each of them whole if it takes
// anything.
std::size_t UniquePeerFd::send_some_protected(std::string_view data) const {
  constexpr std::size_t kPiece = 512;
  std::size_t sent = 0;
  pollfd state{.fd = fd_, .events = POLLOUT, .revents = 0};
  while (sent < data.size() && poll(&state, 1, 0) == 1) {
    const std::string_view piece = data.substr(sent, kPiece);
    send(piece);
    sent += piece.size();
  }
  return sent;
}

std::size_t UniquePeerFd::send_some(std::string_view data) const {
  if (protection_) {
    return send_some_protected(data);
  }
  const auto sent =
      ::send(fd_, data.data(), data.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  if (sent < 0 && errno == EAGAIN) {
    return 0;
  }
  return static_cast<std::size_t>(checked(sent, "send"));
}

std::string UniquePeerFd::recv_raw(std::size_t max_bytes) const {
  std::string data(max_bytes, '\0');
  const auto size = checked(::recv(fd_, data.data(), data.size(), 0), "recv");
  data.resize(static_cast<std::size_t>(size));
  return data;
}

std::string UniquePeerFd::recv(std::size_t max_bytes) const {
  if (!protection_) {
    return recv_raw(max_bytes);
  }
  // A piece of a record is nothing yet, and a record may be more than asked.
  while (unread_.empty()) {
    const std::string bytes = recv_raw(65536);
    if (bytes.empty()) {
      break;
    }
    unread_ += protection_->unwrap(bytes);
  }
  std::string data = unread_.substr(0, max_bytes);
  unread_.erase(0, data.size());
  return data;
}

std::optional<std::string> UniquePeerFd::recv_some(
    std::size_t max_bytes) const {
  const std::string bytes = recv_raw(max_bytes);
  if (bytes.empty()) {
    return std::nullopt;
  }
  return protection_ ? std::exchange(unread_, {}) + protection_->unwrap(bytes)
                     : bytes;
}

std::string UniquePeerFd::recv_ready() const {
  std::string all;
  std::array<char, 65536> buffer{};
  for (;;) {
    const auto size = ::recv(fd_, buffer.data(), buffer.size(), MSG_DONTWAIT);
    if (size == 0 || (size < 0 && errno == EAGAIN)) {
      return protection_ ? std::exchange(unread_, {}) + protection_->unwrap(all)
                         : all;
    }
    all.append(buffer.data(), static_cast<std::size_t>(checked(size, "recv")));
  }
}

std::string UniquePeerFd::recv_exactly(std::size_t count) const {
  std::string all;
  while (all.size() < count) {
    const std::string piece =
        recv(std::min(count - all.size(), std::size_t{65536}));
    if (piece.empty()) {
      break;
    }
    all += piece;
  }
  return all;
}

std::string UniquePeerFd::recv_all() const {
  return recv_exactly(std::numeric_limits<std::size_t>::max());
}

void UniquePeerFd::shutdown() const {
  if (protection_) {
    send_raw(protection_->wrap_end());
  }
  checked(::shutdown(fd_, SHUT_WR), "shutdown");
}

void UniquePeerFd::reset() {
  protection_.reset();
  set_option(fd_, SOL_SOCKET, SO_LINGER, linger{.l_onoff = 1, .l_linger = 0});
  close();
}

void UniquePeerFd::close() noexcept {
  if (fd_ >= 0) {
    if (protection_) {
      const std::string end = protection_->wrap_end();
      static_cast<void>(
          ::send(fd_, end.data(), end.size(), MSG_NOSIGNAL | MSG_DONTWAIT));
      protection_.reset();
    }
    ::close(release());
  }
}

UniquePeerFd connect_to(const Address& address) {
  UniquePeerFd socket(checked(
      ::socket(address.family(), SOCK_STREAM | SOCK_CLOEXEC, 0), "socket"));
  checked(connect(socket.get(), address.data(),
                  static_cast<socklen_t>(address.size())),
          "connect");
  return socket;
}

SocketPair connect_tcp_pair() {
  std::uint16_t port = 0;
  const UniquePeerFd listener(listen_on_loopback(port));
  SocketPair pair;
  pair.client = connect_to(Address("127.0.0.1", port));
  pair.server = accept_from(listener.get());
  set_option(pair.client.get(), IPPROTO_TCP, TCP_NODELAY, 1);
  set_option(pair.server.get(), IPPROTO_TCP, TCP_NODELAY, 1);
  return pair;
}

SocketPair make_unix_sockets() {
  std::array<int, 2> fds{};
  checked(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds.data()),
          "socketpair");
  SocketPair pair;
  try {
    pair.client = UniquePeerFd(fds[0]);
  } catch (...) {
    ::close(fds[1]);
    throw;
  }
  pair.server = UniquePeerFd(fds[1]);
  return pair;
}

int listen_on_loopback(std::uint16_t& port) {
  UniquePeerFd listener(new_tcp_socket());
  port = bind_to_loopback(listener.get());
  checked(listen(listener.get(), SOMAXCONN), "listen");
  return listener.release();
}

UniquePeerFd accept_from(int listener) {
  return UniquePeerFd(
      checked(accept4(listener, nullptr, nullptr, SOCK_CLOEXEC), "accept4"));
}

}  // namespace waterspout::test
