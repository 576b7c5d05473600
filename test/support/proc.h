// What /proc says of another process.

#pragma once

#include <cstddef>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

namespace waterspout::test {

/// What stands behind "NAME:" in /proc/PID/status; "" if there is no such
/// process.
inline std::string status_of(int pid, const std::string& name) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/status");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with(name + ":\t")) {
      return line.substr(name.size() + 2);
    }
  }
  return "";
}

/// True also where nobody has asked for its end yet.
inline bool has_ended(int pid) {
  const std::string state = status_of(pid, "State");
  return state.empty() || state.front() == 'Z' || state.front() == 'X';
}

/// How many descriptors another process has open.
inline std::size_t fds_of(int pid) {
  const std::filesystem::directory_iterator fds("/proc/" + std::to_string(pid) +
                                                "/fd");
  return static_cast<std::size_t>(std::distance(begin(fds), end(fds)));
}

}  // namespace waterspout::test
