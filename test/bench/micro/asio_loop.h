// Standalone Asio's loop, in the terms of waterspout_loop.h.

#pragma once

#include <cstddef>
#include <string_view>
#include <utility>
#include <vector>

#include <sys/eventfd.h>

#include "waterspout_loop.h"
#include <asio.hpp>

namespace micro {

class AsioLoop {
 public:
  static constexpr std::string_view kName = "Asio";

  AsioLoop()
      : work_(asio::make_work_guard(context_)),
        quiet_(context_, ::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {
    quiet_.async_wait(asio::posix::stream_descriptor::wait_read,
                      [](const asio::error_code&) {});
  }

  template <class Function>
  void post(Function&& function) {
    asio::post(context_, std::forward<Function>(function));
  }

  template <class Function>
  void post_from_any_thread(Function&& function) {
    asio::post(context_, std::forward<Function>(function));
  }

  void run() {
    context_.restart();
    context_.run();
  }
  void stop() { context_.stop(); }

  class Timers {
   public:
    Timers(AsioLoop& loop, std::size_t count, Fired fired)
        : fired_(std::move(fired)) {
      timers_.reserve(count);
      for (std::size_t i = 0; i < count; ++i) {
        timers_.emplace_back(loop.context_);
      }
    }

    void add(std::size_t index, Delay delay) {
      asio::steady_timer& timer = timers_[index];
      timer.expires_after(delay);
      timer.async_wait([this](const asio::error_code& error) {
        if (!error) {
          fired_();
        }
      });
    }
    void cancel(std::size_t index) { timers_[index].cancel(); }
    void move(std::size_t index, Delay delay) { add(index, delay); }

   private:
    std::vector<asio::steady_timer> timers_;
    Fired fired_;
  };

 private:
  // One thread runs it; others may still post.
  asio::io_context context_{1};
  asio::executor_work_guard<asio::io_context::executor_type> work_;
  // Nothing ever comes here, but without a descriptor Asio polls nothing.
  asio::posix::stream_descriptor quiet_;
};

}  // namespace micro
