#include "loop/base_holder.h"

#include <array>
#include <cerrno>
#include <new>
#include <stdexcept>
#include <utility>

#include <sys/eventfd.h>
#include <unistd.h>

#include <event2/event.h>

#include "base/throw_errno.h"
#include "base/unique_fd.h"

namespace waterspout {
namespace {

// libevent ends the process where it gets its epoll descriptor and then not the
// pair for its signals.
void check_descriptors_left() {
  constexpr int kNeeded = 3;
  std::array<UniqueFd, kNeeded> probes;
  for (UniqueFd& probe : probes) {
    probe.reset(::eventfd(0, EFD_CLOEXEC));
    if (!probe) {
      throw_errno(errno, "IOLoop", "event_base");
    }
  }
}

// Only epoll: without a descriptor for it libevent would quietly fall back to
// poll(2), which is slow with many descriptors and polls closed ones for ever.
event_base* make_base() {
  check_descriptors_left();
  const std::unique_ptr<event_config, void (*)(event_config*)> config(
      ::event_config_new(), ::event_config_free);
  if (!config) {
    throw std::bad_alloc();
  }
  ::event_config_avoid_method(config.get(), "poll");
  ::event_config_avoid_method(config.get(), "select");
  ::event_config_set_flag(config.get(), EVENT_BASE_FLAG_NOLOCK |
                                            EVENT_BASE_FLAG_IGNORE_ENV |
                                            EVENT_BASE_FLAG_NO_CACHE_TIME);
  errno = 0;
  event_base* const base = ::event_base_new_with_config(config.get());
  if (base == nullptr) {
    throw_errno(errno != 0 ? errno : ENOMEM, "IOLoop", "event_base");
  }
  return base;
}

}  // namespace

void BaseHolder::Deleter::operator()(event_base* base) const noexcept {
  if (owned) {
    ::event_base_free(base);
  }
}

BaseHolder::BaseHolder(event_base* borrowed)
    : base_(borrowed != nullptr ? borrowed : make_base(),
            Deleter{borrowed == nullptr}),
      made_on_(std::this_thread::get_id()),
      made_in_(::getpid()) {}

bool BaseHolder::in_forked_child() const noexcept {
  return ::getpid() != made_in_;
}

// Not EVLOOP_NONBLOCK alone, which goes on until nothing is ready.
bool BaseHolder::poll(bool wait) {
  return loop(EVLOOP_ONCE | (wait ? 0 : EVLOOP_NONBLOCK));
}

bool BaseHolder::run() { return loop(0); }

bool BaseHolder::leave() noexcept {
  if (ended_by_owner()) {
    return false;
  }
  left_ = true;
  if (looping_) {
    ::event_base_loopbreak(get());
  }
  return true;
}

bool BaseHolder::loop(int flags) {
  left_ = false;
  looping_ = true;
  errno = 0;
  const int result = ::event_base_loop(get(), flags | EVLOOP_NO_EXIT_ON_EMPTY);
  looping_ = false;
  if (result == -1) {
    if (errno != 0) {
      throw_errno(errno, "start", "event_base_loop");
    }
    throw std::logic_error("start: the loop's event_base is running already");
  }
  return !ended_by_owner();
}

bool BaseHolder::ended_by_owner() const noexcept {
  return !left_ && (::event_base_got_break(get()) != 0 ||
                    ::event_base_got_exit(get()) != 0);
}

void BaseHolder::refresh_clock() noexcept {
  if (borrowed()) {
    ::event_base_update_cache_time(get());
  }
}

void BaseHolder::reinitialize() noexcept {
  mark_.set();
  ::event_reinit(get());
}

}  // namespace waterspout
