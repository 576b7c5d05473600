// How many descriptors the process has open.

#pragma once

#include <cstddef>

namespace waterspout::test {

/// The number of open descriptors of this process.
[[nodiscard]] std::size_t fd_count();

}  // namespace waterspout::test
