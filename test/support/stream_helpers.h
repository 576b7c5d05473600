// What the tests of streams share: loops on a borrowed base, one of them driven
// a turn at a time; a log of what callbacks were told; bytes to send.

#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "waterspout/callback.h"
#include "waterspout/iostream.h"
#include "waterspout/log.h"

#include "support/loop_fixture.h"

struct event_base;

namespace waterspout::test {

namespace detail {

struct FreeBase {
  void operator()(event_base* base) const noexcept;
};

/// First base class: the event_base outlives the fixture on it.
class BaseHolder {
 public:
  BaseHolder();

 protected:
  std::unique_ptr<event_base, FreeBase> base_;
};

}  // namespace detail

/// A LoopFixture on a base that the test owns, run by start().
class BorrowedLoop : private detail::BaseHolder, public LoopFixture {
 public:
  BorrowedLoop() : LoopFixture(base_.get()) {}

 protected:
  [[nodiscard]] event_base* lent_base() const noexcept { return base_.get(); }
};

/// A LoopFixture on a base whose owner dispatches it, a turn at a time: start()
/// is never called. With socketpair(2), whose bytes arrive at once, what has
/// happened after settle() does not depend on time.
class SteppedLoop : public BorrowedLoop {
 public:
  /// Handles what is ready now; false if nothing was.
  bool step();

  /// Steps until nothing is ready; the test fails after `max_steps`.
  void settle(int max_steps = 1000);

  /// As LoopFixture::run_until, by steps.
  bool run_until(const std::function<bool()>& condition,
                 Milliseconds limit = kLimit);
};

/// What callbacks were told, in order: "line(abc) written close".
class EventLog {
 public:
  void add(std::string_view entry);

  /// A callback that adds "name(data)".
  [[nodiscard]] auto read(std::string name) {
    return [this, name = std::move(name)](std::string_view data) {
      add(name + "(" + std::string(data) + ")");
    };
  }

  /// A callback, of whatever arguments, that adds "name".
  [[nodiscard]] auto note(std::string name) {
    return [this, name = std::move(name)](const auto&...) { add(name); };
  }

  [[nodiscard]] const std::string& text() const noexcept { return text_; }
  [[nodiscard]] bool empty() const noexcept { return text_.empty(); }
  void clear() noexcept { text_.clear(); }

 private:
  std::string text_;
};

/// Captured by callbacks to count how many of them are alive.
class Token {
 public:
  [[nodiscard]] std::shared_ptr<int> copy() const { return token_; }
  [[nodiscard]] long alive() const noexcept { return token_.use_count() - 1; }

 private:
  std::shared_ptr<int> token_ = std::make_shared<int>(0);
};

inline constexpr std::size_t kMegabyte = std::size_t{1024} * 1024;

/// Every string over {a, b} of this length.
[[nodiscard]] std::vector<std::string> words(std::size_t length);

/// Bytes that differ from place to place and take all 256 values.
[[nodiscard]] std::string make_pattern(std::size_t size);

/// Bounds what the kernel holds between two ends: SO_SNDBUF and SO_RCVBUF.
/// Their minimum, a few kilobytes, if `bytes` is small.
void bound_kernel_buffers(int fd, int bytes = 1);

/// Waits until poll(2) says that `fd` is readable, reset or at its end: what a
/// peer did over TCP has arrived. The test fails after five seconds.
void wait_readable(int fd);

/// Processor time that the process has used.
[[nodiscard]] std::chrono::nanoseconds cpu_time();

}  // namespace waterspout::test
