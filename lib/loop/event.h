// Event: the one door between libevent and the library. libevent calls nothing
// of ours but Event::dispatch.

#pragma once

#include <memory>

#include "waterspout/ioloop.h"

struct event;

namespace waterspout {

/// One libevent event on a descriptor, or a timer. Level-triggered and
/// persistent. Destroying it removes it, also inside its own handler. Goes
/// before its loop's base; and before its descriptor is closed, or libevent
/// would never poll the next descriptor with that number.
class Event {
 public:
  /// Told with the ready ones of IOLoop::READ and WRITE; 0 for a timer.
  using Handler = void (*)(void* object, IOLoop::Events ready) noexcept;

  /// Not added yet. `events` is a union of IOLoop::READ and WRITE.
  /// Errors: throws std::bad_alloc.
  Event(detail::LoopCore& core, int fd, IOLoop::Events events, Handler handler,
        void* object);

  struct Timer {};
  Event(detail::LoopCore& core, Timer kind, Handler handler, void* object);

  /// An edge-triggered reader that does not keep the base's loop from ending.
  struct Waker {};
  Event(detail::LoopCore& core, Waker kind, int fd, Handler handler,
        void* object);

  ~Event();

  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;

  /// Starts polling; does nothing if it is added.
  /// Errors: an errno value where the kernel refuses.
  [[nodiscard]] std::error_code add() noexcept;

  /// Arms the timer, also anew.
  void add_timer(Duration delay) noexcept;

  /// Makes it run in this pass of the loop, ready or not.
  void activate() noexcept;

  void remove() noexcept;

  [[nodiscard]] bool added() const noexcept { return added_; }

 private:
  static void dispatch(int fd, short what, void* self) noexcept;

  struct Deleter {
    void operator()(event* pointer) const noexcept;
  };

  detail::LoopCore& core_;
  Handler handler_;
  void* object_;
  std::unique_ptr<event, Deleter> event_;
  bool added_ = false;
};

}  // namespace waterspout
