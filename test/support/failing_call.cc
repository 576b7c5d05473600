#include "support/failing_call.h"

#include <cerrno>
#include <string_view>

#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace waterspout::test {
namespace {

struct Plan {
  const char* call = nullptr;
  int error = 0;
  std::size_t before = 0;
  bool failed = false;
};

// Constant-initialised: the C library calls us before main.
constinit thread_local Plan plan;

}  // namespace

FailingCall::FailingCall(const char* call, int error,
                         std::size_t before) noexcept {
  plan = {call, error, before, false};
}

FailingCall::~FailingCall() { plan.call = nullptr; }

bool FailingCall::has_failed() const noexcept { return plan.failed; }

bool must_fail(const char* call) noexcept {
  if (plan.call == nullptr || plan.failed ||
      std::string_view(plan.call) != call || plan.before-- != 0) {
    return false;
  }
  plan.failed = true;
  errno = plan.error;
  return true;
}

bool must_fail(const char* call, int fd) noexcept {
  if (!must_fail(call)) {
    return false;
  }
  const int error = errno;
  if (error == EPIPE || error == ECONNRESET || error == ETIMEDOUT) {
    syscall(SYS_shutdown, fd, SHUT_RDWR);
    errno = error;
  }
  return true;
}

}  // namespace waterspout::test
