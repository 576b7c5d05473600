// libevent's loop, in the terms of waterspout_loop.h.

#pragma once

#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string_view>
#include <utility>
#include <vector>

#include <sys/eventfd.h>
#include <unistd.h>

#include <event2/event.h>
#include <event2/event_struct.h>

#include "base/unique_fd.h"
#include "function_queue.h"
#include "waterspout_loop.h"

namespace micro {

/// Posts with a timer that is due at once: an event that is made active by hand
/// runs again and again before descriptors are polled. Other threads write to a
/// descriptor, as they do where libevent's thread support is off.
class LibeventLoop {
 public:
  static constexpr std::string_view kName = "libevent";

  LibeventLoop()
      : base_(::event_base_new(), ::event_base_free),
        wake_fd_(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {
    if (!base_ || !wake_fd_) {
      throw std::runtime_error("libevent: cannot make a loop");
    }
    ::event_assign(&posted_, base_.get(), -1, 0, &on_posted, this);
    ::event_assign(&wake_, base_.get(), wake_fd_.get(), EV_READ | EV_PERSIST,
                   &on_wake, this);
    ::event_add(&wake_, nullptr);
  }
  ~LibeventLoop() {
    ::event_del(&posted_);
    ::event_del(&wake_);
  }
  LibeventLoop(const LibeventLoop&) = delete;
  LibeventLoop& operator=(const LibeventLoop&) = delete;

  template <class Function>
  void post(Function&& function) {
    if (queue_.push(std::forward<Function>(function))) {
      constexpr timeval kAtOnce{};
      ::event_add(&posted_, &kAtOnce);
    }
  }

  template <class Function>
  void post_from_any_thread(Function&& function) {
    if (shared_queue_.push(std::forward<Function>(function))) {
      constexpr std::uint64_t kOne = 1;
      [[maybe_unused]] const auto written =
          ::write(wake_fd_.get(), &kOne, sizeof kOne);
    }
  }

  void run() { ::event_base_loop(base_.get(), EVLOOP_NO_EXIT_ON_EMPTY); }
  void stop() { ::event_base_loopbreak(base_.get()); }

  class Timers {
   public:
    Timers(LibeventLoop& loop, std::size_t count, Fired fired)
        : timers_(count), fired_(std::move(fired)) {
      for (event& timer : timers_) {
        ::event_assign(&timer, loop.base_.get(), -1, 0, &on_timer, this);
      }
    }
    ~Timers() {
      for (event& timer : timers_) {
        ::event_del(&timer);
      }
    }
    Timers(const Timers&) = delete;
    Timers& operator=(const Timers&) = delete;

    void add(std::size_t index, Delay delay) {
      timeval time{};
      time.tv_sec = delay.count() / 1'000'000;
      time.tv_usec = delay.count() % 1'000'000;
      ::event_add(&timers_[index], &time);
    }
    void cancel(std::size_t index) { ::event_del(&timers_[index]); }
    void move(std::size_t index, Delay delay) { add(index, delay); }

   private:
    static void on_timer(int /*fd*/, short /*what*/, void* self) {
      static_cast<Timers*>(self)->fired_();
    }

    std::vector<event> timers_;
    Fired fired_;
  };

 private:
  static void on_posted(int /*fd*/, short /*what*/, void* self) {
    static_cast<LibeventLoop*>(self)->queue_.run();
  }

  static void on_wake(int fd, short /*what*/, void* self) {
    std::uint64_t count = 0;
    [[maybe_unused]] const auto got = ::read(fd, &count, sizeof count);
    static_cast<LibeventLoop*>(self)->shared_queue_.run();
  }

  const std::unique_ptr<event_base, void (*)(event_base*)> base_;
  const waterspout::UniqueFd wake_fd_;
  event posted_{};
  event wake_{};
  FunctionQueue queue_;
  SharedFunctionQueue shared_queue_;
};

}  // namespace micro
