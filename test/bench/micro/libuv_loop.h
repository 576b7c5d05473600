// libuv's loop, in the terms of waterspout_loop.h.

#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <uv.h>

#include "function_queue.h"
#include "waterspout_loop.h"

namespace micro {

/// Posts with an idle handle, which lets libuv poll without waiting; other
/// threads with an async handle.
class LibuvLoop {
 public:
  static constexpr std::string_view kName = "libuv";

  LibuvLoop() {
    check(::uv_loop_init(&loop_));
    loop_.data = this;
    check(::uv_idle_init(&loop_, &idle_));
    check(::uv_async_init(&loop_, &async_, &on_async));
  }
  ~LibuvLoop() {
    ::uv_walk(&loop_, &close_one, nullptr);
    ::uv_run(&loop_, UV_RUN_DEFAULT);
    ::uv_loop_close(&loop_);
  }
  LibuvLoop(const LibuvLoop&) = delete;
  LibuvLoop& operator=(const LibuvLoop&) = delete;

  template <class Function>
  void post(Function&& function) {
    if (queue_.push(std::forward<Function>(function))) {
      ::uv_idle_start(&idle_, &on_idle);
    }
  }

  template <class Function>
  void post_from_any_thread(Function&& function) {
    if (shared_queue_.push(std::forward<Function>(function))) {
      ::uv_async_send(&async_);
    }
  }

  void run() { ::uv_run(&loop_, UV_RUN_DEFAULT); }
  void stop() { ::uv_stop(&loop_); }

  class Timers {
   public:
    Timers(LibuvLoop& loop, std::size_t count, Fired fired)
        : loop_(loop.loop_), timers_(count), fired_(std::move(fired)) {
      for (uv_timer_t& timer : timers_) {
        check(::uv_timer_init(&loop_, &timer));
        timer.data = this;
      }
    }
    ~Timers() {
      for (uv_timer_t& timer : timers_) {
        close_one(as_handle(&timer), nullptr);
      }
      ::uv_run(&loop_, UV_RUN_NOWAIT);
    }
    Timers(const Timers&) = delete;
    Timers& operator=(const Timers&) = delete;

    void add(std::size_t index, Delay delay) {
      const auto whole =
          std::chrono::ceil<std::chrono::milliseconds>(delay).count();
      ::uv_timer_start(&timers_[index], &on_timer,
                       static_cast<std::uint64_t>(whole), 0);
    }
    void cancel(std::size_t index) { ::uv_timer_stop(&timers_[index]); }
    void move(std::size_t index, Delay delay) { add(index, delay); }

   private:
    static void on_timer(uv_timer_t* timer) {
      static_cast<Timers*>(timer->data)->fired_();
    }

    uv_loop_t& loop_;
    std::vector<uv_timer_t> timers_;
    Fired fired_;
  };

 private:
  static void check(int status) {
    if (status != 0) {
      throw std::runtime_error(std::string("libuv: ") + ::uv_strerror(status));
    }
  }

  // Every handle of libuv begins with what a uv_handle_t is.
  template <class Handle>
  static uv_handle_t* as_handle(Handle* handle) {
    return reinterpret_cast<uv_handle_t*>(handle);
  }

  static void close_one(uv_handle_t* handle, void* /*argument*/) {
    if (::uv_is_closing(handle) == 0) {
      ::uv_close(handle, nullptr);
    }
  }

  static void on_idle(uv_idle_t* idle) {
    LibuvLoop& self = *static_cast<LibuvLoop*>(idle->loop->data);
    self.queue_.run();
    if (self.queue_.empty()) {
      ::uv_idle_stop(idle);
    }
  }

  static void on_async(uv_async_t* async) {
    static_cast<LibuvLoop*>(async->loop->data)->shared_queue_.run();
  }

  uv_loop_t loop_{};
  uv_idle_t idle_{};
  uv_async_t async_{};
  FunctionQueue queue_;
  SharedFunctionQueue shared_queue_;
};

}  // namespace micro
