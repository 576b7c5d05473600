// Memory that runs out when it is told to: operator new, and what libevent and
// OpenSSL call. For programs that link failing_memory.cc, which replaces them.

#pragma once

#include <cstddef>

namespace waterspout::test {

/// While it lives, `count` allocations of its thread fail: those after `before`
/// others. One at a time for a thread.
class FailingMemory {
 public:
  FailingMemory(std::size_t before, std::size_t count) noexcept;
  ~FailingMemory();

  FailingMemory(const FailingMemory&) = delete;
  FailingMemory& operator=(const FailingMemory&) = delete;

  /// False if there were no more than `before`.
  [[nodiscard]] bool has_failed() const noexcept;
};

}  // namespace waterspout::test
