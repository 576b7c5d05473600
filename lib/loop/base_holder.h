// BaseHolder: the event_base of a loop, own or borrowed.

#pragma once

#include <memory>
#include <thread>

#include <sys/types.h>

#include "loop/process_mark.h"

struct event_base;

namespace waterspout {

/// Frees its own base at the end, and leaves a borrowed one alone. Remembers
/// the process and the thread that it was made in.
class BaseHolder {
 public:
  /// `borrowed` null: makes a base. Errors: throws std::system_error.
  explicit BaseHolder(event_base* borrowed);

  [[nodiscard]] event_base* get() const noexcept { return base_.get(); }
  [[nodiscard]] bool borrowed() const noexcept {
    return !base_.get_deleter().owned;
  }
  [[nodiscard]] bool on_own_thread() const noexcept {
    return std::this_thread::get_id() == made_on_;
  }
  [[nodiscard]] bool in_forked_child() const noexcept;

  /// Polls once and handles what is ready; `wait` until something is, or until
  /// leave(). False if the base's owner has ended its loop.
  /// Errors: throws std::system_error if the poll fails, std::logic_error if
  ///   the base's loop runs already.
  bool poll(bool wait);

  /// As poll(), again and again until leave().
  bool run();

  /// Ends run() when the event that is handled now has been; what else is ready
  /// is handled after the next poll. False if the base's owner has ended it.
  bool leave() noexcept;

  /// True if the base's owner has, since it was polled last.
  [[nodiscard]] bool ended_by_owner() const noexcept;

  /// Before a timer is set: a borrowed base may add the delay to a clock that
  /// it read long ago.
  void refresh_clock() noexcept;

  /// In a forked child: takes the base out of the epoll set that it shares
  /// with its parent, whose events would be removed otherwise.
  void separate_from_parent() noexcept {
    if (!mark_.holds()) {
      reinitialize();
    }
  }

  /// Ends the base, or the borrowing of it.
  void reset() noexcept { base_.reset(); }

 private:
  struct Deleter {
    bool owned;
    void operator()(event_base* base) const noexcept;
  };

  bool loop(int flags);
  void reinitialize() noexcept;

  std::unique_ptr<event_base, Deleter> base_;
  const std::thread::id made_on_;
  const pid_t made_in_;
  bool looping_ = false;
  bool left_ = false;  // since it was polled last
  ProcessMark mark_;   // holds in the process that the epoll set was made for
};

}  // namespace waterspout
