#include "service/subprocess_wait.h"

#include <cerrno>

#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/throw_errno.h"

namespace waterspout {

std::optional<ExitStatus> wait_for(int pid_fd, Wait wait) noexcept {
  siginfo_t info{};
  int result = 0;
  do {
    result = ::waitid(P_PIDFD, static_cast<id_t>(pid_fd), &info,
                      WEXITED | (wait == Wait::look ? WNOHANG : 0));
  } while (result != 0 && errno == EINTR);
  if (result != 0) {
    return ExitStatus{0, 0, errno_code(errno)};
  }
  if (info.si_pid == 0) {
    return std::nullopt;
  }
  return info.si_code == CLD_EXITED ? ExitStatus{info.si_status, 0, {}}
                                    : ExitStatus{0, info.si_status, {}};
}

// By their numbers: the C library declares them for C only.
UniqueFd open_pid_fd(pid_t pid) noexcept {
  return UniqueFd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
}

bool signal_pid_fd(int pid_fd, int signum) noexcept {
  return ::syscall(SYS_pidfd_send_signal, pid_fd, signum, nullptr, 0) == 0;
}

}  // namespace waterspout
