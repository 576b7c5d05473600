#include "load/server_process.h"

#include <ctime>
#include <fstream>
#include <stdexcept>
#include <string>

namespace load {

ServerProcess::ServerProcess(pid_t pid) : pid_(pid) {
  if (::clock_getcpuclockid(pid, &clock_) != 0) {
    throw std::runtime_error("no process " + std::to_string(pid));
  }
}

std::chrono::nanoseconds ServerProcess::cpu_time() const {
  timespec time{};
  if (::clock_gettime(clock_, &time) != 0) {
    throw std::runtime_error("process " + std::to_string(pid_) + " has ended");
  }
  return std::chrono::seconds(time.tv_sec) +
         std::chrono::nanoseconds(time.tv_nsec);
}

// proc(5): "Anonymous:   1234 kB".
std::size_t ServerProcess::memory() const {
  const std::string path = "/proc/" + std::to_string(pid_) + "/smaps_rollup";
  std::ifstream file(path);
  for (std::string word; file >> word;) {
    if (word == "Anonymous:") {
      std::size_t kibibytes = 0;
      file >> kibibytes;
      return kibibytes * 1024;
    }
  }
  throw std::runtime_error(path + ": has no Anonymous:");
}

}  // namespace load
