// A system call that fails when it is told to. Linking syscall_counter.cc and
// system_calls.cc into a test program puts functions that ask here before those
// of the C library, for every library in the process.

#pragma once

#include <cstddef>

namespace waterspout::test {

/// While it lives, one call of its thread by the name of `call` ("recv") fails
/// with `error`: the one after `before` others. One at a time for a thread.
///
/// As the kernel does, a close that fails closes, a connect that is interrupted
/// goes on, and a connection whose peer has gone is over.
class FailingCall {
 public:
  FailingCall(const char* call, int error, std::size_t before) noexcept;
  ~FailingCall();

  FailingCall(const FailingCall&) = delete;
  FailingCall& operator=(const FailingCall&) = delete;

  /// False if there were no more than `before`.
  [[nodiscard]] bool has_failed() const noexcept;
};

/// True, and errno set, if this call is the one. For the functions in front of
/// the C library's.
[[nodiscard]] bool must_fail(const char* call) noexcept;

/// The same for one that moves bytes.
[[nodiscard]] bool must_fail(const char* call, int fd) noexcept;

}  // namespace waterspout::test
