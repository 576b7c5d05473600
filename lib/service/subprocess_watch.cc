#include "service/subprocess_watch.h"

#include <cerrno>
#include <csignal>
#include <stdexcept>
#include <string>
#include <utility>

#include <sys/wait.h>
#include <unistd.h>

#include "base/throw_errno.h"
#include "loop/loop_core.h"
#include "service/subprocess_orphans.h"
#include "service/subprocess_wait.h"

namespace waterspout::detail {
namespace {

std::string describe_child(pid_t pid) { return "pid " + std::to_string(pid); }

}  // namespace

// Whether there can be a pidfd is found out before there is a child.
SubprocessWatch::SubprocessWatch(LoopCore& core)
    : core_(&core), pid_fd_(open_pid_fd(::getpid())) {
  if (core.closed()) {
    throw std::logic_error("Subprocess: the loop is closed");
  }
  if (!pid_fd_) {
    throw_errno(errno, "Subprocess", "pidfd_open");
  }
  core.add_client(*this);
  reap_orphans();
}

SubprocessWatch::~SubprocessWatch() {
  readable_.reset();
  if (pid_ > 0 && !status_ && !take_status()) {
    leave_orphan(std::move(pid_fd_));
  }
}

// The descriptor that was kept free is taken again at once.
void SubprocessWatch::begin(pid_t pid) {
  pid_ = pid;
  pid_fd_.reset();
  pid_fd_ = open_pid_fd(pid);
  const int code = errno;
  if (!pid_fd_ && code == ESRCH) {
    // The kernel has reaped it already: SIGCHLD is ignored.
    status_ = ExitStatus{0, 0, errno_code(ECHILD)};
    return;
  }
  if (!pid_fd_) {
    pid_ = -1;
    if (::kill(pid, SIGKILL) == 0) {
      ::waitpid(pid, nullptr, 0);
    }
    throw_errno(code, "Subprocess", "pidfd_open");
  }
  try {
    watch();
  } catch (...) {
    kill_and_wait();
    throw;
  }
}

void SubprocessWatch::watch() {
  readable_.emplace(*core_, pid_fd_.get(), IOLoop::READ,
                    Event::calling<&SubprocessWatch::on_ready>(*this));
  if (const std::error_code error = readable_->add()) {
    throw std::system_error(error, "Subprocess: " + describe_child(pid_));
  }
  self_ = shared_from_this();
}

void SubprocessWatch::kill_and_wait() noexcept {
  readable_.reset();
  // A program of another user may not be killed; it is an orphan then.
  if (!status_ && signal_pid_fd(pid_fd_.get(), SIGKILL)) {
    status_ = wait_for(pid_fd_.get(), Wait::until_end);
  }
  self_.reset();
}

void SubprocessWatch::on_ready(IOLoop::Events /*ready*/) noexcept {
  const auto self = shared_from_this();
  if (take_status()) {
    ended();
    deliver();
    reap_orphans();
  }
}

// False while it runs; and while somebody who traces it has not waited for it.
bool SubprocessWatch::take_status() noexcept {
  status_ = wait_for(pid_fd_.get(), Wait::look);
  return status_.has_value();
}

void SubprocessWatch::ended() noexcept {
  readable_.reset();
  pid_fd_.reset();
  self_.reset();
}

void SubprocessWatch::deliver() noexcept {
  if (status_ && callback_) {
    const auto held = shared_from_this();  // whatever the callback destroys
    Subprocess::ExitCallback callback = std::move(callback_);
    core_->run(callback, "set_exit_callback", *status_);
  }
}

void SubprocessWatch::set_callback(Subprocess::ExitCallback callback) {
  if (core_ == nullptr) {
    return;  // nobody is left to call it
  }
  callback.set_operation("set_exit_callback");
  // The old one is destroyed last: that may run user code.
  const Subprocess::ExitCallback old =
      std::exchange(callback_, std::move(callback));
  if (status_ && callback_) {
    core_->post_task(*this);
  }
}

void SubprocessWatch::send_signal(int signum) {
  if (!status_ && !signal_pid_fd(pid_fd_.get(), signum) && errno != ESRCH) {
    throw_errno(errno, "send_signal", describe_child(pid_));
  }
}

// From here on the child does not keep a borrowed base's loop from ending.
void SubprocessWatch::abandon() noexcept {
  const auto self = shared_from_this();
  const Subprocess::ExitCallback dropped = std::move(callback_);
  if (status_ || core_ == nullptr) {
    return;
  }
  readable_.reset();
  readable_.emplace(*core_, Event::Waker(), pid_fd_.get(),
                    Event::calling<&SubprocessWatch::on_ready>(*this));
  if (readable_->add()) {
    self_.reset();
  }
}

void SubprocessWatch::loop_closed() noexcept {
  const auto self = std::move(self_);
  core_ = nullptr;
  readable_.reset();
  reap_orphans();
  if (pid_ > 0 && !status_ && take_status()) {
    pid_fd_.reset();
  }
  const Subprocess::ExitCallback dropped = std::move(callback_);
}

}  // namespace waterspout::detail
