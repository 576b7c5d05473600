#include "support/syscall_counter.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <limits>
#include <utility>

#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "support/failing_call.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define WATERSPOUT_TEST_SANITIZED
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define WATERSPOUT_TEST_SANITIZED
#endif

namespace waterspout::test {

#ifdef WATERSPOUT_TEST_SANITIZED
const bool SyscallCounter::kCountsAllocations = false;
#else
const bool SyscallCounter::kCountsAllocations = true;
#endif

namespace {

constexpr std::size_t kNoLimit = std::numeric_limits<std::size_t>::max();

// One direction of the descriptor that is watched.
struct Direction {
  int error = 0;
  int failures = 0;
  std::size_t limit = kNoLimit;

  // True, and errno set, if this call is to fail.
  bool fails() noexcept {
    if (failures == 0) {
      return false;
    }
    failures -= 1;
    errno = error;
    return true;
  }
};

struct State {
  bool active = false;
  int fd = -1;
  Direction in;
  Direction out;
  int connect_error = 0;
  int epoll_ctl_error = 0;
  SyscallCounts counts;
};

// Constant-initialised: the C library calls us before main.
constinit State state;

bool watched(int fd) noexcept { return state.active && fd == state.fd; }

// Whose write cannot fail.
bool is_eventfd(int fd) noexcept {
  struct stat status {};
  return fstat(fd, &status) == 0 && (status.st_mode & S_IFMT) == 0;
}

template <class... Args>
ssize_t call(long number, Args... args) noexcept {
  return syscall(number, args...);
}

// Counts one call that receives, and makes it fail if that is wanted.
template <class Receive>
ssize_t receive(int fd, std::size_t size, Receive&& now) noexcept {
  if (!watched(fd)) {
    return now(size);
  }
  state.counts.recv += 1;
  if (state.in.fails()) {
    return -1;
  }
  const ssize_t got = now(std::min(size, state.in.limit));
  if (got > 0) {
    state.counts.received_bytes += static_cast<std::size_t>(got);
  } else if (got < 0 && errno == EAGAIN) {
    state.counts.recv_would_block += 1;
  }
  return got;
}

template <class Send>
ssize_t transmit(int fd, std::size_t size, Send&& now) noexcept {
  if (!watched(fd)) {
    return now(size);
  }
  state.counts.send += 1;
  if (state.out.fails()) {
    return -1;
  }
  return now(std::min(size, state.out.limit));
}

// The first `limit` bytes of a list of pieces.
class CutPieces {
 public:
  CutPieces(const iovec* pieces, std::size_t count, std::size_t limit) noexcept
      : count_(std::min(count, pieces_.size())) {
    for (std::size_t i = 0; i < count_; ++i) {
      pieces_.at(i) = pieces[i];
      pieces_.at(i).iov_len = std::min(pieces[i].iov_len, limit);
      limit -= pieces_.at(i).iov_len;
    }
  }
  [[nodiscard]] iovec* data() noexcept { return pieces_.data(); }
  [[nodiscard]] std::size_t size() const noexcept { return count_; }

 private:
  // Zeroed: a list that is cut here only moves less at once, which is allowed.
  std::array<iovec, 64> pieces_{};
  std::size_t count_;
};

msghdr cut_message(const msghdr& message, CutPieces& pieces) noexcept {
  msghdr cut = message;
  cut.msg_iov = pieces.data();
  cut.msg_iovlen = pieces.size();
  return cut;
}

}  // namespace

SyscallCounter::SyscallCounter(int fd) {
  state = State{};
  state.fd = fd;
  state.active = true;
}

SyscallCounter::~SyscallCounter() { state.active = false; }

void SyscallCounter::watch(int fd) noexcept { state.fd = fd; }

const SyscallCounts& SyscallCounter::counts() const noexcept {
  return state.counts;
}

void SyscallCounter::reset() noexcept { state.counts = {}; }

void SyscallCounter::fail_recv(int error, int times) noexcept {
  state.in.error = error;
  state.in.failures = times;
}

void SyscallCounter::fail_send(int error, int times) noexcept {
  state.out.error = error;
  state.out.failures = times;
}

void SyscallCounter::fail_connect(int error) noexcept {
  state.connect_error = error;
}

void SyscallCounter::fail_epoll_ctl(int error) noexcept {
  state.epoll_ctl_error = error;
}

void SyscallCounter::limit_recv(std::size_t bytes) noexcept {
  state.in.limit = bytes;
}

void SyscallCounter::limit_send(std::size_t bytes) noexcept {
  state.out.limit = bytes;
}

}  // namespace waterspout::test

// The C library's functions, in front of its own. They live outside the
// namespace but see its state.

using waterspout::test::call;
using waterspout::test::cut_message;
using waterspout::test::CutPieces;
using waterspout::test::must_fail;
using waterspout::test::receive;
using waterspout::test::state;
using waterspout::test::transmit;
using waterspout::test::watched;

extern "C" {

ssize_t recv(int fd, void* buffer, size_t size, int flags) {
  if (must_fail("recv", fd)) {
    return -1;
  }
  return receive(fd, size, [&](size_t limit) {
    return call(SYS_recvfrom, fd, buffer, limit, flags, nullptr, nullptr);
  });
}

ssize_t recvmsg(int fd, msghdr* message, int flags) {
  if (must_fail("recvmsg", fd)) {
    return -1;
  }
  return receive(fd, waterspout::test::kNoLimit, [&](size_t limit) {
    CutPieces pieces(message->msg_iov, message->msg_iovlen, limit);
    msghdr cut = cut_message(*message, pieces);
    return call(SYS_recvmsg, fd, &cut, flags);
  });
}

ssize_t read(int fd, void* buffer, size_t size) {
  if (must_fail("read", fd)) {
    return -1;
  }
  return receive(fd, size, [&](size_t limit) {
    return call(SYS_read, fd, buffer, limit);
  });
}

ssize_t readv(int fd, const iovec* list, int count) {
  if (must_fail("readv", fd)) {
    return -1;
  }
  return receive(fd, waterspout::test::kNoLimit, [&](size_t limit) {
    CutPieces pieces(list, static_cast<size_t>(count), limit);
    return call(SYS_readv, fd, pieces.data(), pieces.size());
  });
}

ssize_t send(int fd, const void* buffer, size_t size, int flags) {
  if (must_fail("send", fd)) {
    return -1;
  }
  return transmit(fd, size, [&](size_t limit) {
    return call(SYS_sendto, fd, buffer, limit, flags, nullptr, 0);
  });
}

ssize_t sendmsg(int fd, const msghdr* message, int flags) {
  if (must_fail("sendmsg", fd)) {
    return -1;
  }
  return transmit(fd, waterspout::test::kNoLimit, [&](size_t limit) {
    CutPieces pieces(message->msg_iov, message->msg_iovlen, limit);
    msghdr cut = cut_message(*message, pieces);
    return call(SYS_sendmsg, fd, &cut, flags);
  });
}

ssize_t write(int fd, const void* buffer, size_t size) {
  if (!waterspout::test::is_eventfd(fd) && must_fail("write", fd)) {
    return -1;
  }
  return transmit(fd, size, [&](size_t limit) {
    return call(SYS_write, fd, buffer, limit);
  });
}

ssize_t writev(int fd, const iovec* list, int count) {
  if (must_fail("writev", fd)) {
    return -1;
  }
  return transmit(fd, waterspout::test::kNoLimit, [&](size_t limit) {
    CutPieces pieces(list, static_cast<size_t>(count), limit);
    return call(SYS_writev, fd, pieces.data(), pieces.size());
  });
}

int connect(int fd, const sockaddr* address, socklen_t size) {
  if (must_fail("connect")) {
    if (errno == EINTR) {
      call(SYS_connect, fd, address, size);
      errno = EINTR;
    }
    return -1;
  }
  if (const int error = std::exchange(state.connect_error, 0); error != 0) {
    errno = error;
    return -1;
  }
  return static_cast<int>(call(SYS_connect, fd, address, size));
}

int epoll_ctl(int epoll, int operation, int fd, epoll_event* event) noexcept {
  if (must_fail("epoll_ctl")) {
    return -1;
  }
  state.counts.epoll_ctl += 1;
  if (watched(fd) && state.epoll_ctl_error != 0) {
    errno = std::exchange(state.epoll_ctl_error, 0);
    return -1;
  }
  return static_cast<int>(call(SYS_epoll_ctl, epoll, operation, fd, event));
}

int epoll_wait(int epoll, epoll_event* events, int capacity, int timeout) {
  if (must_fail("epoll_wait")) {
    return -1;
  }
  state.counts.epoll_wait += 1;
  return static_cast<int>(call(SYS_epoll_pwait, epoll, events, capacity,
                               timeout, nullptr, size_t{_NSIG / 8}));
}

#ifndef WATERSPOUT_TEST_SANITIZED

// glibc's own, under the names that it keeps for the purpose.
void* __libc_malloc(size_t size);                      // NOLINT
void* __libc_calloc(size_t count, size_t size);        // NOLINT
void* __libc_realloc(void* old, size_t size);          // NOLINT
void* __libc_memalign(size_t alignment, size_t size);  // NOLINT

void* malloc(size_t size) noexcept {
  state.counts.allocations += 1;
  return __libc_malloc(size);
}

void* calloc(size_t count, size_t size) noexcept {
  state.counts.allocations += 1;
  return __libc_calloc(count, size);
}

void* realloc(void* old, size_t size) noexcept {
  state.counts.allocations += 1;
  return __libc_realloc(old, size);
}

// What operator new takes for what is aligned, as chunks are.
void* aligned_alloc(size_t alignment, size_t size) noexcept {
  state.counts.allocations += 1;
  return __libc_memalign(alignment, size);
}

#endif  // WATERSPOUT_TEST_SANITIZED

}  // extern "C"
