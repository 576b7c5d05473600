// Descriptors that keep clear of the standard streams.

#pragma once

#include <fcntl.h>

#include "base/unique_fd.h"

namespace waterspout {

/// A program may be started with a standard stream closed, and then gets its
/// number for something else, which a daemon would lose when it replaces its
/// standard streams. So this moves what is there to a higher number.
/// Returns no descriptor, with errno, if `fd` is none or there is no room.
[[nodiscard]] inline UniqueFd above_standard_streams(UniqueFd fd) noexcept {
  constexpr int kFirst = 3;
  if (fd.get() < 0 || fd.get() >= kFirst) {
    return fd;
  }
  return UniqueFd(::fcntl(fd.get(), F_DUPFD_CLOEXEC, kFirst));
}

}  // namespace waterspout
