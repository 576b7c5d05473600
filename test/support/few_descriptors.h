// Takes a process's descriptors away.

#pragma once

#include <cstddef>

#include <sys/resource.h>
#include <unistd.h>

namespace waterspout::test {

/// Leaves the process room for so many more descriptors while it lives.
class FewDescriptors {
 public:
  explicit FewDescriptors(std::size_t room) {
    getrlimit(RLIMIT_NOFILE, &before_);
    // The lowest free numbers are used first, so the gaps are closed.
    const int last = dup(STDIN_FILENO);
    rlimit few = before_;
    few.rlim_cur = static_cast<rlim_t>(last) + room;
    close(last);
    setrlimit(RLIMIT_NOFILE, &few);
  }
  ~FewDescriptors() { setrlimit(RLIMIT_NOFILE, &before_); }
  FewDescriptors(const FewDescriptors&) = delete;
  FewDescriptors& operator=(const FewDescriptors&) = delete;

 private:
  rlimit before_{};
};

}  // namespace waterspout::test
