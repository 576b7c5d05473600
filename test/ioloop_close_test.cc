// The end of a loop, and what it tells of itself: close, statistics, exceptions
// that nobody handles, slow callbacks.

#include <array>
#include <cstddef>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <doctest/doctest.h>

#include "waterspout/error.h"
#include "waterspout/ioloop.h"
#include "waterspout/stack_context.h"

#include "support/child_process.h"
#include "support/fd_count.h"
#include "support/loop_fixture.h"
#include "support/sockets.h"
#include "support/virtual_clock.h"

using waterspout::CallbackFailure;
using waterspout::IOLoop;
using waterspout::Logger;
using waterspout::LogLevel;
using waterspout::LogRecord;
using waterspout::Origin;
using waterspout::TimeoutHandle;
using waterspout::TimePoint;
using waterspout::test::fd_count;
using waterspout::test::LoopFixture;
using waterspout::test::make_unix_sockets;
using waterspout::test::must_not_run;
using waterspout::test::SocketPair;
using waterspout::test::VirtualClock;

namespace {

using namespace std::chrono_literals;

// Calls a function when it is destroyed, but not when it was moved from.
class AtDestruction {
 public:
  explicit AtDestruction(std::function<void()> function)
      : function_(std::move(function)) {}
  AtDestruction(AtDestruction&& other) noexcept
      : function_(std::exchange(other.function_, {})) {}
  AtDestruction(const AtDestruction&) = delete;
  AtDestruction& operator=(const AtDestruction&) = delete;
  AtDestruction& operator=(AtDestruction&&) = delete;
  ~AtDestruction() {
    if (function_) {
      function_();
    }
  }
  template <class... Args>
  void operator()(const Args&... /*args*/) const {
    must_not_run();
  }

 private:
  std::function<void()> function_;
};

// Everything that a loop can hold, each with a share of `held`.
void fill(IOLoop& loop, const std::shared_ptr<int>& held, int fd) {
  loop.add_callback([held] { must_not_run(); });
  loop.spawn_callback([held] { must_not_run(); });
  CHECK(loop.add_callback_from_signal([held] { must_not_run(); }));
  loop.call_later(0s, [held] { must_not_run(); });
  loop.call_later(1h, [held] { must_not_run(); });
  loop.add_handler(fd, IOLoop::READ,
                   [held](int, IOLoop::Events) { must_not_run(); });
  loop.add_signal_handler(SIGUSR1, [held](int) { must_not_run(); });
}

}  // namespace

TEST_SUITE_BEGIN("ioloop_close");

TEST_CASE("IOLoop::close destroys everything on the loop and runs nothing") {
  LoopFixture loop;
  const SocketPair pair = make_unix_sockets();
  pair.client.send("x");
  const auto held = std::make_shared<int>();
  fill(loop, held, pair.server.get());

  loop->close();

  CHECK(held.use_count() == 1);
  const IOLoop::Statistics left = loop->statistics();
  CHECK(left.callbacks + left.timeouts + left.handlers + left.signal_handlers +
            left.streams + left.pooled_bytes ==
        0);
  CHECK(loop->base() == nullptr);
  loop->close();  // a second call does nothing
}

TEST_CASE(
    "IOLoop closes when it is destroyed, and leaves descriptors to their "
    "owner") {
  const std::size_t fds_before = fd_count();
  const auto held = std::make_shared<int>();
  {
    const SocketPair pair = make_unix_sockets();
    {
      IOLoop loop;
      fill(loop, held, pair.server.get());
    }
    pair.client.send("x");
    CHECK(pair.server.recv() == "x");
  }
  CHECK(held.use_count() == 1);
  CHECK(fd_count() == fds_before);
}

TEST_CASE(
    "IOLoop::close with CloseFds::all closes what has a handler, and "
    "nothing else") {
  LoopFixture loop;
  SocketPair handled = make_unix_sockets();
  const SocketPair other = make_unix_sockets();
  loop->add_handler(handled.server.get(), IOLoop::READ,
                    [](int, IOLoop::Events) {});
  loop->add_handler(handled.client.get(), IOLoop::READ,
                    [](int, IOLoop::Events) {});
  loop->update_handler(handled.client.get(), 0);
  loop->add_handler(other.server.get(), IOLoop::READ,
                    [](int, IOLoop::Events) {});
  loop->remove_handler(other.server.get());

  loop->close(IOLoop::CloseFds::all);

  const std::array fds{handled.server.release(), handled.client.release()};
  for (const int fd : fds) {
    CHECK(fcntl(fd, F_GETFD) == -1);
  }
  other.client.send("x");
  CHECK(other.server.recv() == "x");
}

TEST_CASE(
    "IOLoop::close with CloseFds::all survives an object whose close "
    "throws or removes handlers") {
  struct Object {
    [[nodiscard]] int fileno() const { return fd; }
    void close() const { closing(); }
    int fd;
    std::function<void()> closing;
  };
  LoopFixture loop;
  const SocketPair pair = make_unix_sockets();
  int closes = 0;
  auto add = [&](int fd, std::function<void()> closing) {
    auto object = std::make_shared<Object>();
    object->fd = fd;
    object->closing = [&closes, closing = std::move(closing)] {
      ++closes;
      closing();
    };
    loop->add_handler(
        object, IOLoop::READ,
        waterspout::Callback<void(const std::shared_ptr<Object>&,
                                  IOLoop::Events)>(
            [](const std::shared_ptr<Object>&, IOLoop::Events) {}));
  };
  SUBCASE("throws") {
    loop.expect_log(LogLevel::warning, "std::runtime_error: cannot");
    add(pair.client.get(), [] { throw std::runtime_error("cannot"); });
    add(pair.server.get(), [] {});
  }
  SUBCASE("removes handlers") {
    auto remove_both = [&] {
      loop->remove_handler(pair.client.get());
      loop->remove_handler(pair.server.get());
    };
    add(pair.client.get(), remove_both);
    add(pair.server.get(), remove_both);
  }
  loop->close(IOLoop::CloseFds::all);
  CHECK(closes >= 1);
  CHECK(loop->statistics().handlers == 0);
}

TEST_CASE(
    "IOLoop::close ignores what destructors of captured objects do on "
    "the loop") {
  LoopFixture loop;
  const SocketPair pair = make_unix_sockets();
  const SocketPair other = make_unix_sockets();
  TimeoutHandle pending;
  int destroyed = 0;
  auto act = [&] {
    ++destroyed;
    loop->add_callback(must_not_run);
    loop->spawn_callback(must_not_run);
    CHECK_FALSE(loop->add_callback_from_signal(must_not_run));
    loop->call_later(0s, must_not_run);
    loop->move_timeout(pending, TimePoint::min());
    loop->remove_timeout(pending);
    loop->remove_handler(pair.server.get());
    loop->remove_signal_handler(SIGUSR1);
    loop->close();
    loop->stop();
  };
  pending = loop->call_later(1h, AtDestruction(act));
  loop->call_later(2h, AtDestruction(act));
  loop->add_callback(AtDestruction(act));
  loop->add_callback(AtDestruction(act));
  loop->add_handler(pair.server.get(), IOLoop::READ, AtDestruction(act));
  loop->add_handler(other.server.get(), IOLoop::READ, AtDestruction(act));
  loop->add_signal_handler(SIGUSR1, AtDestruction(act));

  loop->close();
  CHECK(destroyed == 7);
}

TEST_CASE("IOLoop runs on while destructors of what it drops use it") {
  LoopFixture loop;
  std::vector<int> calls;
  const TimeoutHandle removed = loop->call_later(
      1h,
      AtDestruction([&] { loop->add_callback([&] { calls.push_back(1); }); }));
  loop->remove_timeout(removed);
  loop->add_callback([bomb = std::make_shared<AtDestruction>([&] {
                        loop->add_callback([&] { calls.push_back(2); });
                      })] {});

  loop.run_turns(3);
  CHECK(calls == std::vector<int>{1, 2});
}

TEST_CASE(
    "IOLoop::add_callback does nothing on a closed loop and destroys "
    "the callback") {
  LoopFixture loop;
  const auto held = std::make_shared<int>();
  loop->close();

  loop->add_callback([held] { must_not_run(); });
  loop->spawn_callback([held] { must_not_run(); });
  CHECK_FALSE(loop->add_callback_from_signal([held] { must_not_run(); }));
  loop->stop();

  CHECK(held.use_count() == 1);
  CHECK(loop->statistics().callbacks == 0);
}

TEST_CASE("IOLoop::close inside a callback throws and the loop goes on") {
  LoopFixture loop;
  bool ran = false;
  loop->add_callback([&] {
    CHECK_THROWS_AS(loop->close(), std::logic_error);
    loop->add_callback([&] {
      ran = true;
      loop.stop();
    });
  });
  loop.run();
  CHECK(ran);
}

TEST_CASE("IOLoop destroyed inside its own callback aborts") {
  const int status = waterspout::test::run_in_child([] {
    auto loop = std::make_unique<IOLoop>();
    loop->add_callback([&] { loop.reset(); });
    loop->start();
    return 0;
  });
  CHECK(waterspout::test::died_of(status, SIGABRT));
}

TEST_CASE("IOLoop::statistics counts what the loop holds") {
  LoopFixture loop;
  const SocketPair pair = make_unix_sockets();
  fill(loop, nullptr, pair.server.get());

  const IOLoop::Statistics held = loop->statistics();
  CHECK(held.callbacks == 3);
  CHECK(held.timeouts == 2);
  CHECK(held.handlers == 1);
  CHECK(held.signal_handlers == 1);
  CHECK(held.streams == 0);
  CHECK(held.turns == 0);
  loop->close();
}

TEST_CASE("IOLoop turns only when it has something to handle") {
  LoopFixture loop;
  loop->call_later(60ms, [&] { loop.stop(); });
  loop.run();
  CHECK(loop->statistics().turns >= 1);
  CHECK(loop->statistics().turns <= 8);
}

TEST_CASE(
    "IOLoop::handle_callback_exception is told operation, origin and "
    "exception, once") {
  LoopFixture loop;
  loop.expect_log(LogLevel::error, "std::out_of_range: map::at");
  std::vector<std::string> told;
  unsigned line = 0;
  loop.on_failure = [&](const CallbackFailure& failure) {
    told.push_back(failure.operation);
    CHECK(waterspout::describe_exception(failure.exception) ==
          "std::out_of_range: map::at");
    CHECK(failure.origin.line() == line);
    CHECK(failure.backtrace.empty());
  };
  line = __LINE__ + 1;
  loop->add_callback([] { throw std::out_of_range("map::at"); });

  loop.run_turns(1);
  CHECK(told == std::vector<std::string>{"add_callback"});
  CHECK(loop.failures ==
        std::vector<std::string>{
            "Exception in callback add_callback at ioloop_close_test.cc:" +
            std::to_string(line) + ": std::out_of_range: map::at"});
}

TEST_CASE(
    "CallbackFailure::to_string is one line, with the chain if there is "
    "one") {
  CallbackFailure failure{
      .exception = std::make_exception_ptr(std::out_of_range("map::at")),
      .operation = "read_until",
      .origin = Origin("x/fetch.cc", 41),
      .backtrace = {}};
  CHECK(failure.to_string() ==
        "Exception in callback read_until at fetch.cc:41: std::out_of_range: "
        "map::at");

  failure.backtrace = "read_until at fetch.cc:41, from connect at fetch.cc:30";
  CHECK(failure.to_string() ==
        "Exception in callback read_until at fetch.cc:41, from connect at "
        "fetch.cc:30: std::out_of_range: map::at");
}

TEST_CASE("IOLoop can be neither copied nor moved") {
  static_assert(!std::is_copy_constructible_v<IOLoop>);
  static_assert(!std::is_move_constructible_v<IOLoop>);
  static_assert(!std::is_copy_assignable_v<IOLoop>);
  static_assert(!std::is_move_assignable_v<IOLoop>);
}

TEST_CASE("IOLoop logs what handle_callback_exception throws, and goes on") {
  LoopFixture loop;
  loop.on_failure = [](const CallbackFailure&) {
    throw std::length_error("in the hook");
  };
  loop.expect_log(LogLevel::error, "in the hook");
  loop->add_callback([] { throw std::out_of_range("first"); });
  bool ran = false;
  loop->add_callback([&] { ran = true; });

  loop.run_turns(1);
  CHECK(ran);
}

TEST_CASE("IOLoop::handle_callback_exception may stop the loop") {
  LoopFixture loop;
  loop.expect_log(LogLevel::error, "Exception in callback");
  loop.on_failure = [&](const CallbackFailure&) { loop.stop(); };
  loop->add_callback([] { throw 7; });

  loop.run();
  CHECK(loop.failures.size() == 1);
}

TEST_CASE(
    "IOLoop::set_slow_callback_threshold logs operation, origin and "
    "time of what takes that long") {
  VirtualClock clock;
  LoopFixture loop(clock.options());
  loop->set_slow_callback_threshold(100ms);
  loop.expect_log(LogLevel::warning,
                  "ioloop_close_test.cc:" + std::to_string(__LINE__ + 2));
  const SocketPair pair = make_unix_sockets();
  loop->add_callback([&] { clock.pass(100ms); });
  loop->add_callback([&] { clock.pass(99ms); });
  loop.run_turns(1);
  REQUIRE(loop.logged.size() == 1);
  CHECK(loop.logged[0].find("add_callback") != std::string::npos);
  CHECK(loop.logged[0].find("100") != std::string::npos);

  loop.expect_log(LogLevel::warning, "call_at");
  loop.expect_log(LogLevel::warning, "add_handler");
  loop->call_later(0s, [&] { clock.pass(1s); });
  pair.client.send("x");
  loop->add_handler(pair.server.get(), IOLoop::READ,
                    [&](int fd, IOLoop::Events) {
                      loop->remove_handler(fd);
                      clock.pass(1s);
                    });
  loop.run_turns(3);

  loop->set_slow_callback_threshold(0s);
  loop->add_callback([&] { clock.pass(1h); });
  loop.run_turns(1);
}

TEST_CASE("IOLoop::logger is the one of the options, and may be changed") {
  std::vector<std::string> lines;
  IOLoop::Options options;
  options.logger = Logger(
      [&](const LogRecord& record) { lines.emplace_back(record.message); });
  IOLoop loop(options);
  loop.logger().warning("kept");
  loop.logger().info("dropped");
  loop.logger().set_level(LogLevel::info);
  loop.logger().info("now kept");

  CHECK(lines == std::vector<std::string>{"kept", "now kept"});
}

TEST_SUITE_END();
