// Counts the system calls on one descriptor, and makes them fail on demand.
//
// Linking syscall_counter.cc into a test program puts its recv, send and so on
// before those of the C library, for every library in the process.

#pragma once

#include <cstddef>
#include <cstdint>

namespace waterspout::test {

/// What has happened since the counter was made.
struct SyscallCounts {
  // On the descriptor that is watched.
  int recv = 0;              ///< all calls that receive, whatever they gave
  int recv_would_block = 0;  ///< those of them that found nothing
  int send = 0;              ///< all calls that send
  std::size_t received_bytes = 0;
  // In the whole process.
  int epoll_ctl = 0;
  int epoll_wait = 0;
  /// malloc and its relatives, where SyscallCounter::kCountsAllocations.
  std::uint64_t allocations = 0;
};

/// Watches one descriptor as long as it lives. One at a time.
class SyscallCounter {
 public:
  /// False under the sanitizers, which bring a malloc of their own.
  static const bool kCountsAllocations;

  /// -1 watches none, for what is counted in the whole process, until watch().
  explicit SyscallCounter(int fd = -1);
  ~SyscallCounter();

  SyscallCounter(const SyscallCounter&) = delete;
  SyscallCounter& operator=(const SyscallCounter&) = delete;

  void watch(int fd) noexcept;

  [[nodiscard]] const SyscallCounts& counts() const noexcept;

  /// Begins again at zero.
  void reset() noexcept;

  /// The next `times` calls that receive, or send, fail with `error` and do
  /// nothing; so does the next connect(), of any descriptor.
  void fail_recv(int error, int times = 1) noexcept;
  void fail_send(int error, int times = 1) noexcept;
  void fail_connect(int error) noexcept;

  /// The next epoll_ctl() on the descriptor that is watched fails.
  void fail_epoll_ctl(int error) noexcept;

  /// Every call moves at most `bytes`.
  void limit_recv(std::size_t bytes) noexcept;
  void limit_send(std::size_t bytes) noexcept;
};

}  // namespace waterspout::test
