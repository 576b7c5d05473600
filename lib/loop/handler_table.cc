#include "loop/handler_table.h"

#include <optional>
#include <stdexcept>
#include <string>
#include <utility>

#include "waterspout/error.h"

#include "base/throw_errno.h"
#include "loop/event.h"
#include "loop/loop_core.h"

namespace waterspout {
namespace {

std::string describe_fd(int fd) { return "fd " + std::to_string(fd); }

}  // namespace

/// Shared by the table and, while it runs, by the run.
class HandlerTable::Handler
    : public std::enable_shared_from_this<HandlerTable::Handler> {
 public:
  Handler(detail::LoopCore& core, int fd, IOLoop::HandlerCallback callback,
          std::function<void()> close)
      : core_(core),
        fd_(fd),
        callback_(std::move(callback)),
        close_(std::move(close)) {}

  /// Nothing has changed if it returns an error.
  std::error_code wait_for(IOLoop::Events events) {
    const IOLoop::Events before = std::exchange(events_, events);
    event_.reset();
    std::error_code error = start();
    if (error) {
      events_ = before;
      event_.reset();
      static_cast<void>(start());
    }
    return error;
  }

  void stop() noexcept { event_.reset(); }

  [[nodiscard]] detail::LoopCore& loop_core() noexcept { return core_; }

  void close_fd() noexcept {
    try {
      close_();
    } catch (...) {
      core_.logger().log(LogLevel::warning, LogCategory::general,
                         "close: " + describe_fd(fd_) + ": " +
                             describe_exception(std::current_exception()));
    }
  }

 private:
  std::error_code start() {
    if (events_ == 0) {
      return {};
    }
    event_.emplace(core_, fd_, events_,
                   Event::calling<&Handler::on_ready>(*this));
    return event_->add();
  }

  void on_ready(IOLoop::Events ready) noexcept {
    // The callback may remove this very handler.
    const auto self = shared_from_this();
    core_.run(callback_, "add_handler", fd_, ready);
  }

  detail::LoopCore& core_;
  const int fd_;
  IOLoop::HandlerCallback callback_;
  std::function<void()> close_;
  IOLoop::Events events_ = 0;
  std::optional<Event> event_;
};

namespace {

void check_events(IOLoop::Events events, std::string_view operation) {
  if ((events & ~(IOLoop::READ | IOLoop::WRITE)) != 0) {
    throw std::invalid_argument(std::string(operation) +
                                ": events: only IOLoop::READ and WRITE");
  }
}

}  // namespace

void HandlerTable::add(int fd, IOLoop::Events events,
                       IOLoop::HandlerCallback callback,
                       std::function<void()> close) {
  check_events(events, "add_handler");
  if (events == 0) {
    throw std::invalid_argument("add_handler: events: none asked for");
  }
  if (!callback) {
    throw std::invalid_argument("add_handler: callback: is empty");
  }
  if (handlers_.contains(fd)) {
    throw std::logic_error("add_handler: " + describe_fd(fd) +
                           ": has a handler; use update_handler, or "
                           "remove_handler first");
  }
  callback.set_operation("add_handler");
  auto handler = std::make_shared<Handler>(core_, fd, std::move(callback),
                                           std::move(close));
  if (const std::error_code error = handler->wait_for(events)) {
    throw_errno(error.value(), "add_handler", describe_fd(fd));
  }
  handlers_.emplace(fd, std::move(handler));
}

void HandlerTable::update(int fd, IOLoop::Events events) {
  check_events(events, "update_handler");
  const auto found = handlers_.find(fd);
  if (found == handlers_.end()) {
    throw std::logic_error("update_handler: " + describe_fd(fd) +
                           ": has no handler");
  }
  if (const std::error_code error = found->second->wait_for(events)) {
    throw_errno(error.value(), "update_handler", describe_fd(fd));
  }
}

void HandlerTable::remove(int fd) noexcept {
  const auto found = handlers_.find(fd);
  if (found == handlers_.end()) {
    return;
  }
  // Out of the table before the callback's destructor can look into it.
  const auto handler = std::move(found->second);
  handlers_.erase(found);
  handler->stop();
}

void HandlerTable::close(bool close_fds) noexcept {
  while (!handlers_.empty()) {
    const auto handler = std::move(handlers_.begin()->second);
    handlers_.erase(handlers_.begin());
    handler->stop();
    if (close_fds) {
      handler->close_fd();
    }
  }
}

}  // namespace waterspout
