// Tornado's own tests of its IOLoop, under their names, in callback style.
// What the contract says beyond them is in the other ioloop_*_test.cc.

#include "waterspout/ioloop.h"

#include <array>
#include <atomic>
#include <chrono>
#include <csignal>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <unistd.h>

#include <doctest/doctest.h>

#include "waterspout/error.h"
#include "waterspout/stack_context.h"

#include "support/contexts.h"
#include "support/loop_fixture.h"
#include "support/sockets.h"

using waterspout::Callback;
using waterspout::CallbackFailure;
using waterspout::ExceptionStackContext;
using waterspout::IOLoop;
using waterspout::LogLevel;
using waterspout::StackContext;
using waterspout::TimeoutError;
using waterspout::TimeoutHandle;
using waterspout::TimePoint;
using waterspout::stack_context::wrap;
using waterspout::test::entered_contexts;
using waterspout::test::keeps;
using waterspout::test::LoopFixture;
using waterspout::test::make_unix_sockets;
using waterspout::test::named;
using waterspout::test::Names;
using waterspout::test::SocketPair;

namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

IOLoop::Options without_current() {
  IOLoop::Options options;
  options.make_current = IOLoop::MakeCurrent::never;
  return options;
}

}  // namespace

TEST_SUITE_BEGIN("ioloop");

TEST_CASE(
    "IOLoop does not turn for what callbacks return "
    "(test_add_callback_return_sequence)") {
  LoopFixture loop;
  loop->add_callback([] { return std::vector<int>(); });
  loop->add_callback([] { return std::string(); });
  loop->call_later(50ms, [&] { loop.stop(); });

  loop.run();
  CHECK(loop->statistics().turns < 10);
}

TEST_CASE(
    "IOLoop calls back promptly when a timeout adds a callback "
    "(test_add_callback_wakeup)") {
  LoopFixture loop;
  bool called = false;
  Clock::time_point began;
  loop->call_later(1ms, [&] {
    began = Clock::now();
    loop->add_callback([&] {
      called = true;
      loop.stop();
    });
    CHECK_FALSE(called);
  });

  loop.run();
  CHECK(called);
  CHECK(Clock::now() - began < 2s);
}

TEST_CASE(
    "IOLoop is woken by a callback from another thread "
    "(test_add_callback_wakeup_other_thread)") {
  LoopFixture loop;
  std::atomic<bool> sleeping = false;
  std::thread::id runner;
  std::thread other([&] {
    while (!sleeping) {
      std::this_thread::yield();
    }
    loop->add_callback([&] {
      runner = std::this_thread::get_id();
      loop.stop();
    });
  });
  loop->add_callback([&] { sleeping = true; });

  loop.run();
  other.join();
  CHECK(runner == std::this_thread::get_id());
}

TEST_CASE("IOLoop::add_timeout takes a delay (test_add_timeout_timedelta)") {
  LoopFixture loop;
  loop->add_timeout(1us, [&] { loop.stop(); });

  loop.run();
}

TEST_CASE(
    "IOLoop::add_handler refuses a second handler for a descriptor "
    "(test_multiple_add)") {
  LoopFixture loop;
  const SocketPair pair = make_unix_sockets();
  int first = 0;
  loop->add_handler(pair.server.get(), IOLoop::READ, [&](int, IOLoop::Events) {
    ++first;
    loop.stop();
  });

  CHECK_THROWS_AS(loop->add_handler(pair.server.get(), IOLoop::READ,
                                    [](int, IOLoop::Events) {}),
                  std::logic_error);

  pair.client.send("x");
  loop.run();
  CHECK(first == 1);
  loop->remove_handler(pair.server.get());
}

TEST_CASE(
    "IOLoop::remove_handler does nothing for a descriptor without one "
    "(test_remove_without_add)") {
  LoopFixture loop;
  const SocketPair pair = make_unix_sockets();

  loop->remove_handler(pair.server.get());
  loop->remove_handler(-1);
  CHECK(loop->statistics().handlers == 0);
}

TEST_CASE(
    "IOLoop::add_callback_from_signal adds a callback "
    "(test_add_callback_from_signal)") {
  LoopFixture loop;
  CHECK(loop->add_callback_from_signal([&] { loop.stop(); }));

  loop.run();
}

TEST_CASE(
    "IOLoop runs in another thread than the main one "
    "(test_add_callback_from_signal_other_thread)") {
  LoopFixture loop;
  std::thread other([&] { loop.run(); });
  CHECK(loop->add_callback_from_signal([&] { loop.stop(); }));

  other.join();
}

TEST_CASE(
    "IOLoop::add_callback may race with close "
    "(test_add_callback_while_closing)") {
  for (int round = 0; round < 100; ++round) {
    auto loop = std::make_unique<IOLoop>();
    std::atomic<bool> closed = false;
    std::thread closing([&] {
      loop->start();
      loop->close();
      closed = true;
    });
    loop->add_callback([&] { loop->stop(); });
    while (!closed) {
      loop->add_callback([] {});
    }
    closing.join();
    loop->add_callback([] {});
  }
}

TEST_CASE(
    "IOLoop::handle_callback_exception sees the exception "
    "(test_handle_callback_exception)") {
  LoopFixture loop;
  loop.expect_log(LogLevel::error, "Exception in callback");
  std::string seen;
  loop.on_failure = [&](const CallbackFailure& failure) {
    seen = waterspout::describe_exception(failure.exception);
    loop.stop();
  };
  loop->add_callback([] { throw std::domain_error("1 / 0"); });

  loop.run();
  CHECK(seen == "std::domain_error: 1 / 0");
}

TEST_CASE(
    "IOLoop tells a handler that waits for READ of READ alone "
    "(test_read_while_writeable)") {
  LoopFixture loop;
  const SocketPair pair = make_unix_sockets();
  IOLoop::Events seen = 0;
  loop->add_handler(pair.client.get(), IOLoop::READ,
                    [&](int fd, IOLoop::Events events) {
                      CHECK(fd == pair.client.get());
                      seen = events;
                      loop.stop();
                    });
  pair.server.send("asdf");

  loop.run();
  CHECK(seen == IOLoop::READ);
  loop->remove_handler(pair.client.get());
}

TEST_CASE(
    "IOLoop::remove_timeout does nothing after the timeout has fired "
    "(test_remove_timeout_after_fire)") {
  LoopFixture loop;
  const TimeoutHandle timeout =
      loop->add_timeout(loop->time(), [&] { loop.stop(); });
  loop.run();

  loop->remove_timeout(timeout);
  loop->remove_timeout(timeout);
}

TEST_CASE(
    "IOLoop keeps nothing of two thousand removed timeouts "
    "(test_remove_timeout_cleanup)") {
  LoopFixture loop;
  const auto held = std::make_shared<int>();
  for (int i = 0; i < 2000; ++i) {
    loop->remove_timeout(loop->add_timeout(3600s, [held] {}));
  }
  CHECK(held.use_count() == 1);
  CHECK(loop->statistics().timeouts == 0);

  loop.run_turns(2);
}

TEST_CASE(
    "IOLoop does not call a timeout that an earlier one of the same "
    "turn removes (test_remove_timeout_from_timeout)") {
  LoopFixture loop;
  std::vector<int> calls;
  const TimePoint now = loop->time();
  TimeoutHandle second;
  loop->add_timeout(now, [&] {
    calls.push_back(1);
    loop->remove_timeout(second);
  });
  second = loop->add_timeout(now + 1ns, [&] { calls.push_back(2); });
  loop->add_timeout(now + 2ns, [&] { loop.stop(); });

  loop.run();
  CHECK(calls == std::vector<int>{1});
}

TEST_CASE(
    "IOLoop fires equal deadlines in the order of adding, whichever "
    "function added them (test_timeout_with_arguments)") {
  LoopFixture loop;
  std::vector<int> results;
  auto result = [&results](int value) {
    return [&results, value] { results.push_back(value); };
  };
  const TimePoint past = loop->time() - 1h;
  loop->add_timeout(past, result(1));
  loop->call_at(past, result(2));
  loop->add_timeout(past, result(3));
  loop->call_later(0s, result(4));
  loop->add_timeout(0s, result(5));
  loop->call_later(0s, [&] { loop.stop(); });

  loop.run();
  CHECK(results == std::vector<int>{1, 2, 3, 4, 5});
}

TEST_CASE(
    "IOLoop gives a handle for every timeout (test_add_timeout_return, "
    "test_call_at_return, test_call_later_return)") {
  LoopFixture loop;
  const TimePoint soon = loop->time();
  const std::array handles{
      loop->add_timeout(soon, [] { FAIL_CHECK("removed"); }),
      loop->add_timeout(0s, [] { FAIL_CHECK("removed"); }),
      loop->call_at(soon, [] { FAIL_CHECK("removed"); }),
      loop->call_later(0s, [] { FAIL_CHECK("removed"); })};
  for (const TimeoutHandle& handle : handles) {
    CHECK(handle);
    loop->remove_timeout(handle);
  }
  loop.run_turns(3);
}

TEST_CASE("IOLoop::start inside a callback throws (test_reentrant)") {
  LoopFixture loop;
  loop->add_callback([&] {
    CHECK_THROWS_AS(loop->start(), std::logic_error);
    loop.stop();
  });

  loop.run();
}

TEST_CASE(
    "IOLoop logs an exception that nobody handles "
    "(test_exception_logging)") {
  LoopFixture loop;
  loop.expect_log(LogLevel::error, "Exception in callback");
  loop->add_callback([] { throw std::domain_error("1 / 0"); });
  loop->add_callback([&] { loop.stop(); });

  loop.run();
  REQUIRE(loop.failures.size() == 1);
  CHECK(loop.failures[0].find("ioloop_test.cc:") != std::string::npos);
}

TEST_CASE(
    "IOLoop::spawn_callback runs outside the contexts, and add_callback "
    "inside (test_spawn_callback)") {
  LoopFixture loop;
  Names handled;
  {
    const ExceptionStackContext guard(keeps(handled, true));
    loop->add_callback([] { throw std::domain_error("added"); });
    loop->spawn_callback([] { throw std::domain_error("spawned"); });
  }
  loop.expect_log(LogLevel::error, "spawned");

  loop.run_turns(2);
  CHECK(handled == Names{"std::domain_error: added"});
}

TEST_CASE(
    "IOLoop does not call a handler that another one of the same turn "
    "removes (test_remove_handler_from_handler)") {
  LoopFixture loop;
  const SocketPair first = make_unix_sockets();
  const SocketPair second = make_unix_sockets();
  first.client.send("abc");
  second.client.send("abc");
  int calls = 0;
  auto remove_both = [&](int, IOLoop::Events) {
    ++calls;
    loop->remove_handler(first.server.get());
    loop->remove_handler(second.server.get());
  };
  loop->add_handler(first.server.get(), IOLoop::READ, remove_both);
  loop->add_handler(second.server.get(), IOLoop::READ, remove_both);

  loop.run_turns(3);
  CHECK(calls == 1);
}

TEST_CASE("IOLoop becomes current if there is none (test_default_current)") {
  IOLoop::clear_current();
  {
    const LoopFixture first;
    const IOLoop* const current = IOLoop::current_or_null();
    CHECK(current != nullptr);
    const LoopFixture second;
    CHECK(IOLoop::current_or_null() == current);
  }
  CHECK(IOLoop::current_or_null() == nullptr);
}

TEST_CASE(
    "IOLoop that is never made current is so while it runs "
    "(test_non_current)") {
  IOLoop::clear_current();
  LoopFixture loop(without_current());
  CHECK(IOLoop::current_or_null() == nullptr);
  for (int i = 0; i < 3; ++i) {
    loop->add_callback([&] {
      CHECK(IOLoop::current_or_null() == &loop.loop());
      CHECK(&IOLoop::current() == &loop.loop());
      loop.stop();
    });
    loop.run();
    CHECK(IOLoop::current_or_null() == nullptr);
  }
}

TEST_CASE(
    "IOLoop that must become current throws where there is one "
    "(test_force_current)") {
  IOLoop::clear_current();
  IOLoop::Options options;
  options.make_current = IOLoop::MakeCurrent::always;
  LoopFixture loop(options);
  CHECK(IOLoop::current_or_null() == &loop.loop());

  CHECK_THROWS_AS(IOLoop{options}, std::logic_error);

  CHECK(IOLoop::current_or_null() == &loop.loop());
}

TEST_CASE(
    "IOLoop runs a callback that was wrapped in one context and added "
    "in another in the first only (test_pre_wrap)") {
  LoopFixture loop;
  Names seen;
  Callback<void()> wrapped;
  {
    const StackContext c1(named("c1"));
    wrapped = wrap([&] {
      seen = entered_contexts;
      loop.stop();
    });
  }
  SUBCASE("by add_callback") {
    const StackContext c2(named("c2"));
    loop->add_callback(std::move(wrapped));
  }
  SUBCASE("by add_callback_from_signal") {
    const StackContext c2(named("c2"));
    CHECK(loop->add_callback_from_signal(std::move(wrapped)));
  }
  SUBCASE("by call_later") {
    const StackContext c2(named("c2"));
    loop->call_later(0s, std::move(wrapped));
  }
  loop.run();
  CHECK(seen == Names{"c1"});
}

TEST_CASE("IOLoop is the current loop in run_sync (test_current)") {
  LoopFixture loop(without_current());
  IOLoop::clear_current();
  IOLoop* seen = nullptr;

  loop->run_sync([&](const std::function<void()>& done) {
    seen = IOLoop::current_or_null();
    done();
  });
  CHECK(seen == &loop.loop());
}

TEST_CASE(
    "IOLoop::run_sync throws what the function throws "
    "(test_sync_exception)") {
  LoopFixture loop;
  CHECK_THROWS_WITH_AS(loop->run_sync([](const std::function<void()>&) {
    throw std::domain_error("1 / 0");
  }),
                       "1 / 0", std::domain_error);
}

TEST_CASE("IOLoop::run_sync throws when its time is up (test_timeout)") {
  LoopFixture loop;
  const TimePoint began = loop->time();

  CHECK_THROWS_AS(loop->run_sync([](const std::function<void()>&) {}, 10ms),
                  TimeoutError);

  CHECK(loop->time() - began >= 10ms);
}

TEST_SUITE_END();
