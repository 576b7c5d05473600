#include "peers/libevent_base.h"

#include <stdexcept>
#include <string>

#include <sys/time.h>

namespace peers {
namespace {

// libevent gives null for whatever it could not make.
template <class Pointer>
Pointer made(Pointer pointer, const char* operation) {
  checked_event(pointer ? 0 : -1, operation);
  return pointer;
}

struct FreeConfig {
  void operator()(event_config* config) const noexcept {
    ::event_config_free(config);
  }
};

}  // namespace

EventBase make_event_base() {
  const auto config =
      made(std::unique_ptr<event_config, FreeConfig>(::event_config_new()),
           "event_config_new");
  checked_event(
      ::event_config_set_flag(
          config.get(), EVENT_BASE_FLAG_NOLOCK | EVENT_BASE_FLAG_NO_CACHE_TIME),
      "event_config_set_flag");
  return made(EventBase(::event_base_new_with_config(config.get())),
              "event_base_new");
}

Event make_event(event_base* base, int fd, short what,
                 event_callback_fn callback, void* argument) {
  return made(Event(::event_new(base, fd, what, callback, argument)),
              "event_new");
}

void checked_event(int result, const char* operation) {
  if (result != 0) {
    throw std::runtime_error(std::string(operation) + " failed");
  }
}

void add_after_rest(event* timer) {
  const timeval rest{.tv_sec = 0, .tv_usec = kRest * 1000};
  checked_event(::event_add(timer, &rest), "event_add");
}

void dispatch(event_base* base) {
  checked_event(::event_base_dispatch(base), "event_base_dispatch");
}

}  // namespace peers
