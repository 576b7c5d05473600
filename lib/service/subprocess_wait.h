// What waitid(2) knows of one child, by its pidfd.

#pragma once

#include <optional>

#include <sys/types.h>

#include "waterspout/subprocess.h"

#include "base/unique_fd.h"

namespace waterspout {

enum class Wait {
  look,       ///< at how it is now
  until_end,  ///< of a child that was killed
};

/// How the child ended, which it is asked once; nothing while it runs. Other
/// children are not looked at.
[[nodiscard]] std::optional<ExitStatus> wait_for(int pid_fd,
                                                 Wait wait) noexcept;

/// pidfd_open(2) and pidfd_send_signal(2). Both set errno.
[[nodiscard]] UniqueFd open_pid_fd(pid_t pid) noexcept;
[[nodiscard]] bool signal_pid_fd(int pid_fd, int signum) noexcept;

}  // namespace waterspout
