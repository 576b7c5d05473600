#include "support/loop_fixture.h"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <sys/time.h>

#include <doctest/doctest.h>
#include <event2/event.h>

#include "support/fd_count.h"

namespace waterspout::test {

namespace {

using std::chrono::milliseconds;

std::string_view name_of(LogLevel level) {
  switch (level) {
    case LogLevel::debug:
      return "debug";
    case LogLevel::info:
      return "info";
    case LogLevel::warning:
      return "warning";
    case LogLevel::error:
      return "error";
  }
  return "unknown";
}

// A timer of libevent's, below the loop: it sees real time also where the loop
// lives in virtual time, and is neither a timeout nor a turn of the loop.
class BaseTimer {
 public:
  BaseTimer(event_base* base, short flags, milliseconds period,
            std::function<void()> callback)
      : callback_(std::move(callback)),
        event_(event_new(base, -1, flags, &BaseTimer::dispatch, this)) {
    const timeval interval{.tv_sec = period.count() / 1000,
                           .tv_usec = period.count() % 1000 * 1000};
    event_add(event_.get(), &interval);
  }

 private:
  struct Free {
    void operator()(event* timer) const noexcept { event_free(timer); }
  };

  static void dispatch(evutil_socket_t /*fd*/, short /*what*/,
                       void* self) noexcept {
    static_cast<BaseTimer*>(self)->callback_();
  }

  std::function<void()> callback_;
  std::unique_ptr<event, Free> event_;
};

}  // namespace

LoopFixture::ReportingLoop::ReportingLoop(LoopFixture& fixture, Options options)
    : IOLoop(std::move(options)), fixture_(fixture) {}

LoopFixture::ReportingLoop::ReportingLoop(LoopFixture& fixture,
                                          event_base* base, Options options)
    : IOLoop(base, std::move(options)), fixture_(fixture) {}

void LoopFixture::ReportingLoop::handle_callback_exception(
    const CallbackFailure& failure) {
  fixture_.failures.push_back(failure.to_string());
  if (fixture_.on_failure) {
    fixture_.on_failure(failure);
  }
  IOLoop::handle_callback_exception(failure);
}

void must_not_run() { FAIL_CHECK("a callback ran that must not"); }

LoopFixture::LoopFixture() : LoopFixture(IOLoop::Options{}) {}

LoopFixture::LoopFixture(IOLoop::Options options)
    : fds_before_(fd_count()),
      loop_(std::make_unique<ReportingLoop>(*this,
                                            with_logger(std::move(options)))) {}

LoopFixture::LoopFixture(event_base* base, IOLoop::Options options)
    : fds_before_(fd_count()),
      loop_(std::make_unique<ReportingLoop>(*this, base,
                                            with_logger(std::move(options)))) {}

LoopFixture::~LoopFixture() {
  check_nothing_left();
  loop_.reset();
  CHECK_MESSAGE(fd_count() == fds_before_, "descriptors were left open");
  check_records();
}

void LoopFixture::run(Milliseconds limit) {
  bool late = false;
  {
    // A closed loop has no base: start() then says so.
    std::unique_ptr<BaseTimer> watchdog;
    if (loop_->base() != nullptr) {
      watchdog = std::make_unique<BaseTimer>(loop_->base(), 0, limit, [&] {
        late = true;
        loop_->stop();
      });
    }
    loop_->start();
  }
  if (late) {
    FAIL_CHECK("the loop was not stopped within ", limit.count(), " ms");
  }
}

bool LoopFixture::run_until(const std::function<bool()>& condition,
                            Milliseconds limit) {
  if (condition()) {
    return true;
  }
  const auto deadline = std::chrono::steady_clock::now() + limit;
  bool holds = false;
  {
    const BaseTimer look(loop_->base(), EV_PERSIST, milliseconds(1), [&] {
      holds = condition();
      if (holds || std::chrono::steady_clock::now() >= deadline) {
        loop_->stop();
      }
    });
    loop_->start();
  }
  holds = holds || condition();
  if (!holds) {
    FAIL_CHECK("the condition did not hold within ", limit.count(), " ms");
  }
  return holds;
}

void LoopFixture::run_turns(int turns) {
  if (turns <= 0) {
    return;
  }
  turns_allowed_ += static_cast<std::uint64_t>(turns);
  int left = turns;
  std::function<void()> turn = [&] {
    left -= 1;
    if (left == 0) {
      loop_->stop();
    } else {
      loop_->spawn_callback(std::ref(turn));
    }
  };
  loop_->spawn_callback(std::ref(turn));
  run();
}

void LoopFixture::expect_log(LogLevel level, std::string_view substring) {
  expected_.push_back({.level = level, .message = std::string(substring)});
}

IOLoop::Options LoopFixture::with_logger(IOLoop::Options options) {
  options.logger = Logger(
      [this](const LogRecord& record) {
        std::string message(record.message);
        logged.push_back(std::string(name_of(record.level)) + ": " + message);
        records_.push_back(
            {.level = record.level, .message = std::move(message)});
      },
      LogLevel::debug);
  return options;
}

void LoopFixture::check_nothing_left() const {
  const IOLoop::Statistics left = loop_->statistics();
  CHECK_MESSAGE(left.callbacks == 0, "callbacks were left on the loop");
  CHECK_MESSAGE(left.timeouts == 0, "timeouts were left on the loop");
  CHECK_MESSAGE(left.handlers == 0, "handlers were left on the loop");
  CHECK_MESSAGE(left.signal_handlers == 0, "signal handlers were left");
  CHECK_MESSAGE(left.streams == 0, "streams were left open");
  CHECK_MESSAGE(left.turns <= turns_allowed_, "the loop was spinning");
}

void LoopFixture::check_records() const {
  std::vector<Record> missing = expected_;
  for (const Record& record : records_) {
    const auto match =
        std::find_if(missing.begin(), missing.end(), [&](const Record& wanted) {
          return wanted.level == record.level &&
                 record.message.find(wanted.message) != std::string::npos;
        });
    if (match != missing.end()) {
      missing.erase(match);
    } else if (record.level != LogLevel::debug) {
      FAIL_CHECK("unexpected log record: ", record.message);
    }
  }
  for (const Record& record : missing) {
    FAIL_CHECK("no such log record came: ", record.message);
  }
}

}  // namespace waterspout::test
