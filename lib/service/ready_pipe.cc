#include "service/ready_pipe.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>

#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "base/throw_errno.h"
#include "service/high_fd.h"

namespace waterspout::detail {
namespace {

constexpr char kReady = 'r';
constexpr char kFailed = 'f';

constexpr std::size_t kLongestReason = 4096;  // bytes

// One message: its kind and its text. The socket is new and empty, so there is
// room for it.
void send_message(int fd, char kind, std::string_view text) noexcept {
  iovec parts[2] = {{&kind, 1}, {const_cast<char*>(text.data()), text.size()}};
  msghdr message{};
  message.msg_iov = std::data(parts);
  message.msg_iovlen = std::size(parts);
  while (::sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 &&
         errno == EINTR) {
  }
}

// False if `deadline` has passed first.
bool wait_readable(int fd, std::chrono::steady_clock::time_point deadline) {
  constexpr std::chrono::milliseconds kLongest = std::chrono::minutes(1);
  for (;;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(
        deadline - std::chrono::steady_clock::now());
    pollfd entry{fd, POLLIN, 0};
    const int count = ::poll(
        &entry, 1,
        static_cast<int>(std::clamp(left, left.zero(), kLongest).count()));
    if (count > 0) {
      return true;
    }
    if (count < 0 && errno != EINTR) {
      throw_errno(errno, "poll", "daemon");
    }
    if (left <= left.zero()) {
      return false;
    }
  }
}

}  // namespace

// A pair of sockets, for these keep messages apart, and writing to one whose
// other end is gone can go without SIGPIPE.
ReadyPipe::ReadyPipe() {
  std::array<int, 2> fds{};
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds.data()) !=
      0) {
    throw_errno(errno, "socketpair", "daemon");
  }
  UniqueFd first(fds[0]);
  UniqueFd second(fds[1]);
  starter_end_ = above_standard_streams(std::move(first));
  daemon_end_ = above_standard_streams(std::move(second));
  if (!starter_end_ || !daemon_end_) {
    throw_errno(errno, "dup", "daemon");
  }
}

ReadyPipe::Answer ReadyPipe::wait(Duration timeout) {
  // The sum with a longer one might overflow.
  constexpr Duration kLongest = std::chrono::hours(24 * 365);
  const auto deadline =
      std::chrono::steady_clock::now() + std::min(timeout, kLongest);
  if (!wait_readable(starter_end_.get(), deadline)) {
    return {News::none};
  }
  std::array<char, 1 + kLongestReason> message{};
  const ssize_t size =
      ::recv(starter_end_.get(), message.data(), message.size(), MSG_DONTWAIT);
  if (size <= 0) {
    return {News::ended};
  }
  if (message[0] == kReady) {
    return {News::ready};
  }
  return {News::failed, {&message[1], static_cast<std::size_t>(size) - 1}};
}

void ReadyPipe::tell_ready() noexcept {
  send_message(daemon_end_.get(), kReady, {});
}

void ReadyPipe::tell_failure(std::string_view reason) noexcept {
  send_message(daemon_end_.get(), kFailed, reason.substr(0, kLongestReason));
}

}  // namespace waterspout::detail
