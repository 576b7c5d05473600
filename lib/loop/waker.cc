#include "loop/waker.h"

#include <cerrno>
#include <cstdint>

#include <sys/eventfd.h>

#include <event2/event.h>

#include "base/throw_errno.h"
#include "loop/loop_core.h"

namespace waterspout {
namespace {

UniqueFd make_eventfd() {
  UniqueFd fd(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
  if (!fd) {
    throw_errno(errno, "IOLoop", "eventfd");
  }
  return fd;
}

}  // namespace

Waker::Waker(detail::LoopCore& core, Event::Target target)
    : fd_(make_eventfd()),
      edge_triggered_(
          (::event_base_get_features(core.base()) & EV_FEATURE_ET) != 0) {
  event_.emplace(core, Event::Waker{}, fd_.get(), target);
  if (const std::error_code error = event_->add()) {
    throw_errno(error.value(), "IOLoop", "poll eventfd");
  }
}

void Waker::wake() const noexcept {
  const int saved_errno = errno;
  const std::uint64_t one = 1;
  // Can only fail where 2^64 - 2 wake-ups wait already.
  [[maybe_unused]] const auto written = ::write(fd_.get(), &one, sizeof one);
  errno = saved_errno;
}

void Waker::woken() const noexcept {
  if (!edge_triggered_) {
    std::uint64_t count = 0;
    [[maybe_unused]] const auto got = ::read(fd_.get(), &count, sizeof count);
  }
}

}  // namespace waterspout
