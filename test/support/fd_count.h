// How many descriptors the process has open.

#pragma once

#include <cstddef>

namespace waterspout::test {

/// The number of open descriptors of this process.
[[nodiscard]] std::size_t fd_count();

/// Waits for other threads that have some open for a moment, such as a lookup
/// that nobody waits for any more; false if there are more than `most` for
/// long.
[[nodiscard]] bool fd_count_falls_to(std::size_t most);

}  // namespace waterspout::test
