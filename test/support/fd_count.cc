#include "support/fd_count.h"

#include <cstddef>
#include <filesystem>
#include <iterator>

namespace waterspout::test {

std::size_t fd_count() {
  const std::filesystem::directory_iterator open_now("/proc/self/fd");
  const auto count = std::distance(begin(open_now), end(open_now));
  return static_cast<std::size_t>(count) - 1;  // the directory's own
}

}  // namespace waterspout::test
