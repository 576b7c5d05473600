// Event: the one door between libevent and the library. libevent calls nothing
// of ours but instances of Event::dispatch.

#pragma once

#include <cstddef>
#include <system_error>

#include "waterspout/ioloop.h"

struct event;

namespace waterspout {

/// One libevent event on a descriptor, or a timer. Level-triggered and
/// persistent. Destroying it removes it, also inside its own handler. Goes
/// before its loop's base; and before its descriptor is closed, or libevent
/// would never poll the next descriptor with that number.
class Event {
 public:
  /// What libevent calls, and with what.
  struct Target {
    void (*function)(int fd, short what, void* object);
    void* object;
  };

  /// Calls a member function of `object`, inside a turn of its loop, with the
  /// ready ones of IOLoop::READ and WRITE; 0 for a timer. The object tells its
  /// loop by loop_core().
  template <auto Handler, class Object>
  static Target calling(Object& object) noexcept {
    return {&Event::dispatch<Handler, Object>, &object};
  }

  /// For nothing yet: assign() tells.
  Event() noexcept = default;

  /// Not added yet. `events` is a union of IOLoop::READ and WRITE.
  Event(detail::LoopCore& core, int fd, IOLoop::Events events,
        Target target) noexcept;

  struct Timer {};
  Event(detail::LoopCore& core, Timer kind, Target target) noexcept;

  /// An edge-triggered reader that does not keep the base's loop from ending.
  struct Waker {};
  Event(detail::LoopCore& core, Waker kind, int fd, Target target) noexcept;

  ~Event() { clear(); }

  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;

  [[nodiscard]] bool assigned() const noexcept { return core_ != nullptr; }

  /// As constructing it. Requires: not assigned().
  void assign(detail::LoopCore& core, int fd, IOLoop::Events events,
              Target target) noexcept;

  /// As destroying it: it is for nothing then.
  void clear() noexcept {
    if (assigned()) {
      unassign();
    }
  }

  /// Starts polling; does nothing if it is added. Requires: assigned().
  /// Errors: an errno value where the kernel refuses.
  [[nodiscard]] std::error_code add() noexcept;

  /// Arms the timer, also anew.
  void add_timer(Duration delay) noexcept;

  /// Makes it run in this pass of the loop, ready or not.
  void activate() noexcept;

  /// Does nothing if it is not added.
  void remove() noexcept;

  [[nodiscard]] bool added() const noexcept { return added_; }

 private:
  // libevent's own struct, so that a stream is one block of memory with it.
  static constexpr std::size_t kEventSize = 128;

  template <auto Handler, class Object>
  static void dispatch(int fd, short what, void* object) noexcept;

  // EV_READ and EV_WRITE of <event2/event.h>, as ours.
  static IOLoop::Events from_libevent(short what) noexcept {
    return static_cast<IOLoop::Events>((what & 0x02) / 2 | (what & 0x04));
  }

  [[nodiscard]] event* get() noexcept;
  void unassign() noexcept;

  detail::LoopCore* core_ = nullptr;
  alignas(void*) std::byte event_[kEventSize];
  bool added_ = false;
};

}  // namespace waterspout
