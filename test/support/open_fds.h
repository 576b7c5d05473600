// Finds descriptors that the library keeps to itself.

#pragma once

#include <algorithm>
#include <filesystem>
#include <string>
#include <string_view>
#include <system_error>

namespace waterspout::test {

/// The newest descriptor of this process that is open on `target`, as
/// /proc/self/fd names it ("anon_inode:[eventpoll]"); -1 if there is none.
inline int open_fd_of(std::string_view target) {
  int found = -1;
  for (const auto& entry :
       std::filesystem::directory_iterator("/proc/self/fd")) {
    std::error_code gone;  // the directory's own descriptor
    if (std::filesystem::read_symlink(entry, gone) == target) {
      found = std::max(found, std::stoi(entry.path().filename().string()));
    }
  }
  return found;
}

}  // namespace waterspout::test
