// SigpipeHeld: no SIGPIPE from a write(2), without touching the process.

#pragma once

#include <cerrno>
#include <csignal>
#include <ctime>

namespace waterspout {

/// Holds SIGPIPE back in this thread while it lives. What is raised meanwhile
/// has to be dropped before the end, or it is delivered then. MSG_NOSIGNAL is
/// for sockets only, and the disposition is the application's.
///
/// Two system calls, about as much as a small write costs; sigpending is asked
/// only where the thread blocks the signal anyhow, since otherwise none can be
/// pending.
class SigpipeHeld {
 public:
  SigpipeHeld() noexcept {
    ::sigemptyset(&sigpipe_);
    ::sigaddset(&sigpipe_, SIGPIPE);
    ::pthread_sigmask(SIG_BLOCK, &sigpipe_, &mask_before_);
    if (held_before()) {
      sigset_t pending;
      ::sigpending(&pending);
      pending_before_ = ::sigismember(&pending, SIGPIPE) == 1;
    }
  }
  ~SigpipeHeld() {
    if (!held_before()) {
      ::pthread_sigmask(SIG_SETMASK, &mask_before_, nullptr);
    }
  }
  SigpipeHeld(const SigpipeHeld&) = delete;
  SigpipeHeld& operator=(const SigpipeHeld&) = delete;

  /// After a write that failed with EPIPE: takes back the signal that it has
  /// raised, unless one was pending before.
  void drop_raised() const noexcept {
    const timespec now{};
    while (!pending_before_ && ::sigtimedwait(&sigpipe_, nullptr, &now) < 0 &&
           errno == EINTR) {
    }
  }

 private:
  [[nodiscard]] bool held_before() const noexcept {
    return ::sigismember(&mask_before_, SIGPIPE) == 1;
  }

  sigset_t sigpipe_{};
  sigset_t mask_before_{};
  bool pending_before_ = false;
};

}  // namespace waterspout
