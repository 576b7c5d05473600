#include "waterspout/ioloop.h"

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <stdexcept>

#include <unistd.h>

#include "waterspout/error.h"

#include "loop/loop_core.h"
#include "loop/time_math.h"

namespace waterspout {
namespace {

constinit thread_local IOLoop* current_loop = nullptr;

constinit std::atomic<bool> instance_made = false;

/// Makes a loop current for as long as it lives.
class CurrentLoop {
 public:
  explicit CurrentLoop(IOLoop& loop) noexcept
      : previous_(std::exchange(current_loop, &loop)) {}
  ~CurrentLoop() { current_loop = previous_; }
  CurrentLoop(const CurrentLoop&) = delete;
  CurrentLoop& operator=(const CurrentLoop&) = delete;

 private:
  IOLoop* const previous_;
};

}  // namespace

std::string CallbackFailure::to_string() const {
  std::string text = "Exception in callback ";
  text +=
      backtrace.empty() ? operation + " at " + origin.to_string() : backtrace;
  return text + ": " + describe_exception(exception);
}

IOLoop::IOLoop() : IOLoop(Options()) {}

IOLoop::IOLoop(Options options) { begin(nullptr, std::move(options)); }

IOLoop::IOLoop(event_base* base) : IOLoop(base, Options()) {}

IOLoop::IOLoop(event_base* base, Options options) {
  if (base == nullptr) {
    throw std::invalid_argument("IOLoop: base: is null");
  }
  begin(base, std::move(options));
}

void IOLoop::begin(event_base* base, Options options) {
  if (options.make_current == MakeCurrent::always && current_loop != nullptr) {
    throw std::logic_error("IOLoop: the thread has a current loop already");
  }
  core_ = std::make_unique<detail::LoopCore>(
      *this, base, std::move(options.clock), std::move(options.logger));
  if (options.make_current != MakeCurrent::never && current_loop == nullptr) {
    make_current();
  }
}

IOLoop::~IOLoop() {
  if (core_->running() || core_->in_turn()) {
    std::fputs("waterspout: IOLoop destroyed while it runs\n", stderr);
    std::abort();
  }
  close();
  if (current_loop == this) {
    clear_current();
  }
}

IOLoop& IOLoop::current() {
  return current_loop != nullptr ? *current_loop : instance();
}

IOLoop* IOLoop::current_or_null() noexcept { return current_loop; }

IOLoop& IOLoop::instance() {
  // Never destroyed: other statics may use it until the process ends.
  static IOLoop& loop =
      *std::make_unique<IOLoop>(Options{.make_current = MakeCurrent::never})
           .release();
  instance_made = true;
  return loop;
}

bool IOLoop::initialized() noexcept { return instance_made; }

void IOLoop::make_current() noexcept { current_loop = this; }

void IOLoop::clear_current() noexcept { current_loop = nullptr; }

void IOLoop::start() {
  const CurrentLoop current(*this);
  core_->run();
}

void IOLoop::stop() { core_->stop(); }

void IOLoop::add_callback(Callback<void()> callback) {
  core_->add_callback(std::move(callback));
}

bool IOLoop::add_from_signal(Callback<void()> callback) noexcept {
  return core_->add_from_signal(std::move(callback));
}

TimeoutHandle IOLoop::call_at(TimePoint deadline, Callback<void()> callback) {
  return core_->call_at(deadline, std::move(callback));
}

TimeoutHandle IOLoop::call_later(Duration delay, Callback<void()> callback) {
  return core_->call_at(later(time(), delay), std::move(callback));
}

void IOLoop::remove_timeout(TimeoutHandle timeout) noexcept {
  core_->remove_timeout(timeout);
}

bool IOLoop::move_timeout(TimeoutHandle timeout, TimePoint deadline) {
  return core_->move_timeout(timeout, deadline);
}

void IOLoop::add_handler(int fd, Events events, HandlerCallback callback) {
  add_file_handler(fd, events, std::move(callback), [fd] { ::close(fd); });
}

void IOLoop::add_file_handler(int fd, Events events, HandlerCallback callback,
                              std::function<void()> close) {
  if (core_->closed()) {
    throw std::logic_error("add_handler: the loop is closed");
  }
  core_->handlers().add(fd, events, std::move(callback), std::move(close));
}

void IOLoop::update_handler(int fd, Events events) {
  core_->handlers().update(fd, events);
}

void IOLoop::remove_handler(int fd) noexcept { core_->handlers().remove(fd); }

void IOLoop::add_handler_of_signal(int signum, Callback<void(int)> callback) {
  core_->add_signal_handler(signum, std::move(callback));
}

void IOLoop::remove_signal_handler(int signum) noexcept {
  core_->signals().remove(signum);
}

TimePoint IOLoop::time() const { return core_->time(); }

void IOLoop::close(CloseFds fds) { core_->close(fds == CloseFds::all); }

void IOLoop::set_slow_callback_threshold(Duration threshold) noexcept {
  core_->set_slow_callback_threshold(threshold);
}

Logger& IOLoop::logger() noexcept { return core_->logger(); }

event_base* IOLoop::base() const noexcept { return core_->base(); }

IOLoop::Statistics IOLoop::statistics() const { return core_->statistics(); }

void IOLoop::handle_callback_exception(const CallbackFailure& failure) {
  logger().log(LogLevel::error, LogCategory::application, failure.to_string());
}

}  // namespace waterspout
