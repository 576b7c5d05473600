// The process that is measured, seen from outside.

#pragma once

#include <chrono>
#include <cstddef>

#include <sys/types.h>

namespace load {

class ServerProcess {
 public:
  /// Errors: throws std::runtime_error if `pid` is no process of this machine.
  explicit ServerProcess(pid_t pid);

  /// Processor time of all its threads so far, of the user and the kernel.
  [[nodiscard]] std::chrono::nanoseconds cpu_time() const;

  /// Bytes of memory that no file backs and that it has touched.
  [[nodiscard]] std::size_t memory() const;

 private:
  pid_t pid_;
  clockid_t clock_ = 0;
};

}  // namespace load
