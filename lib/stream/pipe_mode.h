// NonBlockingMode: O_NONBLOCK for as long as somebody here needs it.

#pragma once

#include <map>
#include <utility>

#include <sys/types.h>

namespace waterspout {

/// Makes an open file non-blocking and at its end gives it its former mode
/// back. Where another NonBlockingMode is on the same open file, which may be
/// by another descriptor, that is left to the last of them; and in a forked
/// child, which shares the open file, to the parent. Goes before its descriptor
/// is closed. Thread: any.
class NonBlockingMode {
 public:
  /// Errors: throws std::system_error.
  explicit NonBlockingMode(int fd);
  ~NonBlockingMode();

  NonBlockingMode(const NonBlockingMode&) = delete;
  NonBlockingMode& operator=(const NonBlockingMode&) = delete;

 private:
  /// What differs between files; one file may be open more than once.
  using File = std::pair<dev_t, ino_t>;
  using ByFile = std::multimap<File, NonBlockingMode*>;

  struct All;
  static All& all();

  const int fd_;
  const pid_t process_;
  bool restores_ = false;
  ByFile::iterator place_;
};

}  // namespace waterspout
