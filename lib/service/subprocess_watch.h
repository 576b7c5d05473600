// SubprocessWatch: sees that a child has ended, and that no zombie is left.

#pragma once

#include <memory>
#include <optional>

#include <sys/types.h>

#include "waterspout/subprocess.h"

#include "base/unique_fd.h"
#include "loop/event.h"
#include "loop/loop_client.h"

namespace waterspout::detail {

/// Shared by its Subprocess and, while the child runs, by itself: the loop goes
/// on watching a child whose Subprocess has gone. Thread rule: the loop's.
class SubprocessWatch final
    : public LoopClient,
      public std::enable_shared_from_this<SubprocessWatch> {
 public:
  /// Errors: throws std::logic_error on a closed loop, std::system_error if
  ///   there can be no pidfd.
  explicit SubprocessWatch(LoopCore& core);
  ~SubprocessWatch();

  /// Takes over the child, which was just started. Called once.
  /// Errors: throws std::system_error or std::bad_alloc; the child has been
  ///   killed then.
  void begin(pid_t pid);

  void set_callback(Subprocess::ExitCallback callback);
  void send_signal(int signum);

  /// The Subprocess has gone: nobody is to be told any more.
  void abandon() noexcept;

  /// For a Subprocess that cannot be: ends the child, and waits for that.
  void kill_and_wait() noexcept;

  [[nodiscard]] pid_t pid() const noexcept { return pid_; }
  [[nodiscard]] const std::optional<ExitStatus>& status() const noexcept {
    return status_;
  }

  [[nodiscard]] LoopCore& loop_core() noexcept { return *core_; }

  // LoopClient.
  void run_task() noexcept override { deliver(); }
  void send_gathered() noexcept override {}
  void loop_closed() noexcept override;

 private:
  void on_ready(IOLoop::Events ready) noexcept;

  void watch();
  bool take_status() noexcept;
  void ended() noexcept;
  void deliver() noexcept;

  LoopCore* core_;  // null once the loop is closed
  pid_t pid_ = -1;
  UniqueFd pid_fd_;  // of this process until begin(), to have one then
  std::optional<Event> readable_;  // goes before pid_fd_ is closed
  std::optional<ExitStatus> status_;
  Subprocess::ExitCallback callback_;
  std::shared_ptr<SubprocessWatch> self_;  // while the loop watches
};

}  // namespace waterspout::detail
