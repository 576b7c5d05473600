// Our loop, in the terms in which the works of posting and of timers are
// written. Its peers stand beside it, and all have the same functions:
//
//   post(function)                  from the loop's thread
//   post_from_any_thread(function)
//   run()                           until stop(), called on the loop's thread
//   Timers(loop, count, fired)      so many timers, by number; fired() is
//                                   called for each that fires
//     add(index, delay), cancel(index), move(index, delay)

#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <string_view>
#include <utility>
#include <vector>

#include "waterspout/ioloop.h"

namespace micro {

using Delay = std::chrono::microseconds;
using Fired = std::function<void()>;

class WaterspoutLoop {
 public:
  static constexpr std::string_view kName = "waterspout";

  template <class Function>
  void post(Function&& function) {
    loop_.add_callback(std::forward<Function>(function));
  }

  template <class Function>
  void post_from_any_thread(Function&& function) {
    loop_.add_callback(std::forward<Function>(function));
  }

  void run() { loop_.start(); }
  void stop() { loop_.stop(); }

  class Timers {
   public:
    Timers(WaterspoutLoop& loop, std::size_t count, Fired fired)
        : loop_(loop.loop_), handles_(count), fired_(std::move(fired)) {}

    void add(std::size_t index, Delay delay) {
      handles_[index] = loop_.call_later(delay, [this] { fired_(); });
    }
    void cancel(std::size_t index) { loop_.remove_timeout(handles_[index]); }
    void move(std::size_t index, Delay delay) {
      loop_.move_timeout(handles_[index], loop_.time() + delay);
    }

   private:
    waterspout::IOLoop& loop_;
    std::vector<waterspout::TimeoutHandle> handles_;
    Fired fired_;
  };

 private:
  waterspout::IOLoop loop_;
};

}  // namespace micro
