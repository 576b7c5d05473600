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

short to_libevent(IOLoop::Events events) {
  const int read = (events & IOLoop::READ) != 0 ? EV_READ : 0;
  const int write = (events & IOLoop::WRITE) != 0 ? EV_WRITE : 0;
  return static_cast<short>(read | write | EV_PERSIST);
}

IOLoop::Events from_libevent(short what) {
  return ((what & EV_READ) != 0 ? IOLoop::READ : 0) |
         ((what & EV_WRITE) != 0 ? IOLoop::WRITE : 0);
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

void Event::Deleter::operator()(event* pointer) const noexcept {
  ::event_free(pointer);
}

Event::Event(detail::LoopCore& core, int fd, IOLoop::Events events,
             Handler handler, void* object)
    : core_(core),
      handler_(handler),
      object_(object),
      event_(::event_new(core.base(), fd, to_libevent(events), &Event::dispatch,
                         this)) {
  if (!event_) {
    throw std::bad_alloc();
  }
}

Event::Event(detail::LoopCore& core, Timer /*kind*/, Handler handler,
             void* object)
    : core_(core),
      handler_(handler),
      object_(object),
      event_(::event_new(core.base(), -1, 0, &Event::dispatch, this)) {
  if (!event_) {
    throw std::bad_alloc();
  }
}

Event::Event(detail::LoopCore& core, Waker /*kind*/, int fd, Handler handler,
             void* object)
    : core_(core),
      handler_(handler),
      object_(object),
      event_(::event_new(core.base(), fd, EV_READ | EV_PERSIST | EV_ET,
                         &Event::dispatch, this)) {
  if (!event_) {
    throw std::bad_alloc();
  }
  event_->ev_evcallback.evcb_flags |= EVLIST_INTERNAL;
}

Event::~Event() { remove(); }

std::error_code Event::add() noexcept {
  if (added_) {
    return {};
  }
  if (::event_get_fd(event_.get()) < 0) {
    return errno_code(EBADF);  // which libevent would take for a timer
  }
  errno = 0;
  if (::event_add(event_.get(), nullptr) != 0) {
    return errno_code(errno != 0 ? errno : EINVAL);
  }
  added_ = true;
  return {};
}

void Event::add_timer(Duration delay) noexcept {
  const timeval time = to_timeval(delay);
  // Cannot fail for want of anything but the memory of libevent's heap, which
  // never shrinks; then the timer is late, not lost: the next turn arms it.
  added_ = ::event_add(event_.get(), &time) == 0;
}

void Event::activate() noexcept { ::event_active(event_.get(), 0, 0); }

void Event::remove() noexcept {
  if (std::exchange(added_, false)) {
    core_.separate_from_parent();
    ::event_del(event_.get());
  }
}

// The event may be destroyed by what its handler does, so everything that is
// needed afterwards is copied first.
void Event::dispatch(int /*fd*/, short what, void* self) noexcept {
  Event& event = *static_cast<Event*>(self);
  detail::LoopCore& core = event.core_;
  const detail::LoopCore::Turn turn(core);
  event.handler_(event.object_, from_libevent(what));
}

}  // namespace waterspout
