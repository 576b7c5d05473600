#include "support/fd_count.h"

#include <chrono>
#include <cstddef>
#include <filesystem>
#include <iterator>
#include <thread>

namespace waterspout::test {

std::size_t fd_count() {
  const std::filesystem::directory_iterator open_now("/proc/self/fd");
  const auto count = std::distance(begin(open_now), end(open_now));
  return static_cast<std::size_t>(count) - 1;  // the directory's own
}

bool fd_count_falls_to(std::size_t most) {
  const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(5);
  while (fd_count() > most) {
    if (std::chrono::steady_clock::now() > limit) {
      return false;
    }
    std::this_thread::yield();
  }
  return true;
}

}  // namespace waterspout::test
