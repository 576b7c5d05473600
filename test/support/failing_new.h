// An operator new that fails when it is told to. For programs that link
// failing_new.cc, which replaces it.

#pragma once

#include <cstddef>

namespace waterspout::test {

/// While it lives, `count` allocations of its thread fail with std::bad_alloc:
/// those after `before` others. One at a time for a thread.
class FailingNew {
 public:
  FailingNew(std::size_t before, std::size_t count) noexcept;
  ~FailingNew();

  FailingNew(const FailingNew&) = delete;
  FailingNew& operator=(const FailingNew&) = delete;

  /// False if there were no more than `before`.
  [[nodiscard]] bool has_failed() const noexcept;
};

}  // namespace waterspout::test
