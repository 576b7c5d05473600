// What the two servers on libevent have in common.

#pragma once

#include <memory>

#include <event2/event.h>

#include "peers/common.h"

namespace peers {

struct FreeEventBase {
  void operator()(event_base* base) const noexcept { ::event_base_free(base); }
};

struct FreeEvent {
  void operator()(event* freed) const noexcept { ::event_free(freed); }
};

using EventBase = std::unique_ptr<event_base, FreeEventBase>;
using Event = std::unique_ptr<event, FreeEvent>;

/// For one thread. Its time is not needed, so it is not kept either.
EventBase make_event_base();

Event make_event(event_base* base, int fd, short what,
                 event_callback_fn callback, void* argument);

/// Throws std::runtime_error that names `operation` for a result that is not 0.
void checked_event(int result, const char* operation);

/// Has the event happen after kRest.
void add_after_rest(event* timer);

/// Runs for ever.
void dispatch(event_base* base);

}  // namespace peers
