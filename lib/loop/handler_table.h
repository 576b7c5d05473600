// HandlerTable: the handlers that users have put on descriptors.

#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <unordered_map>

#include "waterspout/ioloop.h"

namespace waterspout {

/// One handler a descriptor, each with one libevent event for both directions,
/// so that it is called once a turn with all that is ready.
class HandlerTable {
 public:
  explicit HandlerTable(detail::LoopCore& core) noexcept : core_(core) {}

  /// As IOLoop::add_handler; `close` closes what owns the descriptor.
  void add(int fd, IOLoop::Events events, IOLoop::HandlerCallback callback,
           std::function<void()> close);
  void update(int fd, IOLoop::Events events);
  void remove(int fd) noexcept;

  [[nodiscard]] std::size_t size() const noexcept { return handlers_.size(); }

  /// Removes every handler, and closes what they were on if `close_fds`.
  void close(bool close_fds) noexcept;

 private:
  class Handler;

  detail::LoopCore& core_;
  std::unordered_map<int, std::shared_ptr<Handler>> handlers_;
};

}  // namespace waterspout
