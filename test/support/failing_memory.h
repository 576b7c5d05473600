// Memory that runs out when it is told to: operator new, and what libevent and
// OpenSSL call. For programs that link failing_memory.cc, which replaces them.

#pragma once

#include <cstddef>

#include "support/sanitizers.h"

// clang's sanitizers have an operator new that cannot be replaced, and a thread
// sanitizer has nothing to look for in these tests.
#if !defined(WATERSPOUT_TEST_SANITIZED) || \
    (defined(__SANITIZE_ADDRESS__) && !defined(__clang__))
#define WATERSPOUT_TEST_REPLACES_NEW 1
#endif

namespace waterspout::test {

/// False where operator new cannot be replaced: tests of it are skipped then.
#ifdef WATERSPOUT_TEST_REPLACES_NEW
inline constexpr bool kReplacesNew = true;
#else
inline constexpr bool kReplacesNew = false;
#endif

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
