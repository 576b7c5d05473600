// The owner of an event_base on which a loop runs, and other events there.

#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <sys/time.h>

#include <doctest/doctest.h>
#include <event2/event.h>
#include <event2/event_struct.h>

namespace waterspout::test {

/// An event of the base's owner: a neighbour of the loop.
class Neighbour {
 public:
  Neighbour(event_base* base, int fd, short what, std::function<void()> act)
      : act_(std::move(act)), event_(event_new(base, fd, what, call, this)) {}

  void add() { event_add(event_.get(), nullptr); }
  void add(std::chrono::milliseconds delay) {
    const timeval time{.tv_sec = delay.count() / 1000,
                       .tv_usec = delay.count() % 1000 * 1000};
    event_add(event_.get(), &time);
  }
  /// Does not count for the question whether the base has events.
  void make_internal() { event_->ev_evcallback.evcb_flags |= EVLIST_INTERNAL; }

 private:
  struct FreeEvent {
    void operator()(event* item) const { event_free(item); }
  };

  static void call(int /*fd*/, short /*what*/, void* self) noexcept {
    static_cast<Neighbour*>(self)->act_();
  }

  std::function<void()> act_;
  std::unique_ptr<event, FreeEvent> event_;
};

/// The owner of a base, who dispatches it.
class Owner {
 public:
  explicit Owner(const char* avoided_method = "none") {
    event_config* const config = event_config_new();
    event_config_avoid_method(config, avoided_method);
    base_.reset(event_base_new_with_config(config));
    event_config_free(config);
  }

  [[nodiscard]] event_base* base() const { return base_.get(); }

  /// Dispatches until the base has nothing left to wait for.
  void dispatch() const {
    bool late = false;
    Neighbour limit(base(), -1, 0, [&] {
      late = true;
      event_base_loopbreak(base());
    });
    limit.make_internal();
    limit.add(std::chrono::seconds(5));
    const int result = event_base_dispatch(base());
    CHECK_FALSE(late);
    CHECK(result == 1);
  }

  [[nodiscard]] int events() const {
    return event_base_get_num_events(base(), EVENT_BASE_COUNT_ADDED);
  }

 private:
  struct FreeBase {
    void operator()(event_base* base) const { event_base_free(base); }
  };

  std::unique_ptr<event_base, FreeBase> base_;
};

}  // namespace waterspout::test
