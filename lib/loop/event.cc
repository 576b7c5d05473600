#include "loop/event.h"

#include <algorithm>
#include <cerrno>
#include <new>

#include <sys/time.h>

#include <event2/event.h>
#include <event2/event_struct.h>

#include "base/throw_errno.h"
#include "loop/loop_core.h"

namespace waterspout {
namespace {

static_assert(EV_READ == 0x02 && EV_WRITE == 0x04);
static_assert(IOLoop::READ == 0x01 && IOLoop::WRITE == 0x04);

short to_libevent(IOLoop::Events events) {
  const int read = (events & IOLoop::READ) != 0 ? EV_READ : 0;
  const int write = (events & IOLoop::WRITE) != 0 ? EV_WRITE : 0;
  return static_cast<short>(read | write | EV_PERSIST);
}

// Rounded up to the microsecond: a timer must not be early.
timeval to_timeval(Duration delay) {
  using std::chrono::ceil;
  using std::chrono::microseconds;
  const auto total = std::max(ceil<microseconds>(delay), microseconds::zero());
  timeval time{};
  time.tv_sec = total.count() / 1'000'000;
  time.tv_usec = total.count() % 1'000'000;
  return time;
}

}  // namespace

event* Event::get() noexcept {
  static_assert(sizeof(event) <= kEventSize);
  static_assert(alignof(event) <= alignof(void*));
  return std::launder(reinterpret_cast<event*>(event_));
}

Event::Event(detail::LoopCore& core, int fd, IOLoop::Events events,
             Target target) noexcept {
  assign(core, fd, events, target);
}

void Event::assign(detail::LoopCore& core, int fd, IOLoop::Events events,
                   Target target) noexcept {
  core_ = &core;
  ::event_assign(new (event_) event, core.base(), fd, to_libevent(events),
                 target.function, target.object);
}

Event::Event(detail::LoopCore& core, Timer /*kind*/, Target target) noexcept
    : core_(&core) {
  ::event_assign(new (event_) event(), core.base(), -1, 0, target.function,
                 target.object);
}

Event::Event(detail::LoopCore& core, Waker /*kind*/, int fd,
             Target target) noexcept
    : core_(&core) {
  auto* const made = new (event_) event();
  ::event_assign(made, core.base(), fd, EV_READ | EV_PERSIST | EV_ET,
                 target.function, target.object);
  made->ev_evcallback.evcb_flags |= EVLIST_INTERNAL;
}

void Event::unassign() noexcept {
  remove();
  ::event_debug_unassign(get());
  core_ = nullptr;
}

std::error_code Event::add() noexcept {
  if (added_) {
    return {};
  }
  if (get()->ev_fd < 0) {
    return errno_code(EBADF);  // which libevent would take for a timer
  }
  errno = 0;
  if (::event_add(get(), nullptr) != 0) {
    return errno_code(errno != 0 ? errno : EINVAL);
  }
  added_ = true;
  return {};
}

void Event::add_timer(Duration delay) noexcept {
  const timeval time = to_timeval(delay);
  // Cannot fail for want of anything but the memory of libevent's heap.
  added_ = ::event_add(get(), &time) == 0;
}

void Event::activate() noexcept { ::event_active(get(), 0, 0); }

void Event::remove() noexcept {
  if (std::exchange(added_, false)) {
    core_->separate_from_parent();
    ::event_del(get());
  }
}

}  // namespace waterspout
