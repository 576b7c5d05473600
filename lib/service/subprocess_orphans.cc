#include "service/subprocess_orphans.h"

#include <algorithm>
#include <mutex>
#include <new>
#include <utility>
#include <vector>

#include "service/subprocess_wait.h"

namespace waterspout {
namespace {

/// Process-wide, as children are.
struct Orphans {
  std::mutex mutex;
  std::vector<UniqueFd> pid_fds;  // protected by mutex
};

Orphans& orphans() {
  static Orphans all;
  return all;
}

}  // namespace

void leave_orphan(UniqueFd pid_fd) noexcept {
  const std::lock_guard lock(orphans().mutex);
  try {
    orphans().pid_fds.push_back(std::move(pid_fd));
  } catch (const std::bad_alloc&) {
    return;  // it will be a zombie until this process ends
  }
}

void reap_orphans() noexcept {
  const std::lock_guard lock(orphans().mutex);
  std::erase_if(orphans().pid_fds, [](const UniqueFd& pid_fd) {
    return wait_for(pid_fd.get(), Wait::look).has_value();
  });
}

}  // namespace waterspout
