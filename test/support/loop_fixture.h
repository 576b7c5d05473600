// A loop for one test, which looks at its end whether anything is left over.

#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <ostream>  // CHECK prints error codes with it
#include <string>
#include <string_view>
#include <vector>

#include "waterspout/ioloop.h"
#include "waterspout/log.h"

struct event_base;

namespace waterspout::test {

/// A callback whose call fails the test.
void must_not_run();

/// A callback that adds `name` to `log`.
inline auto note(std::vector<std::string>& log, const char* name) {
  return [&log, name] { log.emplace_back(name); };
}

/// For LoopFixture::bound_turns, where the loop may turn as often as it likes.
inline constexpr std::uint64_t kManyTurns = 100'000'000;

/// A fresh loop. At its end the test fails if a callback, a timeout, a handler,
/// a signal handler, a stream or a descriptor is left, if a record was logged
/// that was not expected (or the other way round), or if the loop turned more
/// often than its bound: it was spinning.
///
///   LoopFixture loop;
///   loop->call_later(1ms, [&] { loop.stop(); });
///   loop.run();
class LoopFixture {
 public:
  using Milliseconds = std::chrono::milliseconds;
  static constexpr Milliseconds kLimit{5000};

  LoopFixture();
  /// The logger of `options` is replaced by the fixture's.
  explicit LoopFixture(IOLoop::Options options);
  /// On a base of the test's own, which outlives the fixture.
  explicit LoopFixture(event_base* base, IOLoop::Options options = {});
  ~LoopFixture();

  LoopFixture(const LoopFixture&) = delete;
  LoopFixture& operator=(const LoopFixture&) = delete;

  [[nodiscard]] IOLoop& loop() noexcept { return *loop_; }
  // NOLINTNEXTLINE(google-explicit-constructor): a test says make(loop)
  operator IOLoop&() noexcept { return *loop_; }
  IOLoop* operator->() noexcept { return loop_.get(); }

  /// Runs the loop until stop(); the test fails if `limit` of real time passes
  /// first, whatever the loop's clock says.
  void run(Milliseconds limit = kLimit);
  void stop() { loop_->stop(); }

  /// Runs the loop until `condition` holds, which is looked at every
  /// millisecond or so of real time, outside the loop's turns and clock: those
  /// of a loop in virtual time stop themselves. The test fails, and it returns
  /// false, if `limit` passes first.
  bool run_until(const std::function<bool()>& condition,
                 Milliseconds limit = kLimit);

  /// Runs `turns` turns of the loop.
  void run_turns(int turns);

  /// One record at `level` whose message holds `substring` must come; each
  /// call stands for one record.
  void expect_log(LogLevel level, std::string_view substring);

  /// How often the loop may turn; 250 and what run_turns asks for, else.
  void bound_turns(std::uint64_t turns) { turns_allowed_ = turns; }

  /// Everything logged so far, as "warning: message".
  std::vector<std::string> logged;

  /// What IOLoop::handle_callback_exception was given, as text.
  std::vector<std::string> failures;

  /// Called with each of them, if it is set.
  std::function<void(const CallbackFailure&)> on_failure;

 private:
  class ReportingLoop final : public IOLoop {
   public:
    ReportingLoop(LoopFixture& fixture, Options options);
    ReportingLoop(LoopFixture& fixture, event_base* base, Options options);

   protected:
    void handle_callback_exception(const CallbackFailure& failure) override;

   private:
    LoopFixture& fixture_;
  };

  struct Record {
    LogLevel level;
    std::string message;
  };

  [[nodiscard]] IOLoop::Options with_logger(IOLoop::Options options);
  void check_nothing_left() const;
  void check_records() const;

  std::size_t fds_before_;
  std::uint64_t turns_allowed_ = 250;
  std::vector<Record> records_;
  std::vector<Record> expected_;
  std::unique_ptr<ReportingLoop> loop_;  // last: logs into those above
};

}  // namespace waterspout::test
