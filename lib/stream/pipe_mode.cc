#include "stream/pipe_mode.h"

#include <cerrno>
#include <mutex>
#include <string>

#include <fcntl.h>
#include <linux/kcmp.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/throw_errno.h"

namespace waterspout {
namespace {

void check(int result, int fd) {
  if (result < 0) {
    throw_errno(errno, "PipeIOStream", "fd " + std::to_string(fd));
  }
}

// Where the kernel does not tell, they count as one: then a mode may stay
// changed, but no stream is made to block.
bool may_be_same_open_file(int one, int other) {
  const pid_t self = ::getpid();
  return ::syscall(SYS_kcmp, self, self, KCMP_FILE, one, other) <= 0;
}

}  // namespace

/// The one process-wide table: who shares an open file is process-wide too.
struct NonBlockingMode::All {
  std::mutex mutex;
  ByFile by_file;  // protected by mutex, as is restores_ of all in it
};

NonBlockingMode::All& NonBlockingMode::all() {
  static All modes;
  return modes;
}

NonBlockingMode::NonBlockingMode(int fd) : fd_(fd), process_(::getpid()) {
  struct stat file {};
  check(::fstat(fd, &file), fd);
  const std::lock_guard lock(all().mutex);
  const int flags = ::fcntl(fd, F_GETFL);
  check(flags, fd);
  place_ = all().by_file.emplace(File{file.st_dev, file.st_ino}, this);
  restores_ = (flags & O_NONBLOCK) == 0;
  if (restores_ && ::fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0) {
    const int code = errno;
    all().by_file.erase(place_);
    throw_errno(code, "PipeIOStream", "fd " + std::to_string(fd));
  }
}

NonBlockingMode::~NonBlockingMode() {
  const std::lock_guard lock(all().mutex);
  const File file = place_->first;
  all().by_file.erase(place_);
  if (!restores_ || process_ != ::getpid()) {
    return;
  }
  const auto [first, last] = all().by_file.equal_range(file);
  for (auto other = first; other != last; ++other) {
    if (may_be_same_open_file(fd_, other->second->fd_)) {
      other->second->restores_ = true;
      return;
    }
  }
  const int flags = ::fcntl(fd_, F_GETFL);
  if (flags >= 0) {
    ::fcntl(fd_, F_SETFL, flags & ~O_NONBLOCK);
  }
}

}  // namespace waterspout
