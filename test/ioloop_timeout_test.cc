// Timeouts: call_at, call_later, remove_timeout, move_timeout, and the clock.

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <doctest/doctest.h>

#include "waterspout/ioloop.h"

#include "support/loop_fixture.h"
#include "support/sockets.h"
#include "support/virtual_clock.h"

using waterspout::Duration;
using waterspout::IOLoop;
using waterspout::LogLevel;
using waterspout::TimeoutHandle;
using waterspout::TimePoint;
using waterspout::test::LoopFixture;
using waterspout::test::make_unix_sockets;
using waterspout::test::must_not_run;
using waterspout::test::SocketPair;
using waterspout::test::VirtualClock;

namespace {

using namespace std::chrono_literals;

// Adds `value` to `calls`.
auto note(std::vector<int>& calls, int value) {
  return [&calls, value] { calls.push_back(value); };
}

}  // namespace

TEST_SUITE_BEGIN("ioloop_timeout");

TEST_CASE("IOLoop::call_at never calls before the deadline") {
  LoopFixture loop;
  std::size_t left = 0;
  for (const Duration delay : {Duration(0ns), Duration(1ns), Duration(1us),
                               Duration(999us), Duration(1ms), Duration(2ms),
                               Duration(5ms), Duration(9ms), Duration(20ms)}) {
    ++left;
    const TimePoint deadline = loop->time() + delay;
    loop->call_at(deadline, [&, deadline] {
      CHECK(loop->time() >= deadline);
      if (--left == 0) {
        loop.stop();
      }
    });
  }
  loop.run();
  CHECK(left == 0);
}

TEST_CASE(
    "IOLoop::call_at and call_later never call inside the call, however "
    "long past") {
  LoopFixture loop;
  std::vector<int> calls;
  loop->add_callback([&] {
    loop->call_at(loop->time() - 1h, note(calls, 1));
    loop->call_later(-1h, note(calls, 2));
    loop->call_later(0s, note(calls, 3));
    loop->call_at(TimePoint::min(), note(calls, 0));
    CHECK(calls.empty());
  });

  loop.run_turns(4);
  // The first lies at the beginning of time, the others an hour and none ago.
  CHECK(calls == std::vector<int>{0, 1, 2, 3});
}

TEST_CASE("IOLoop fires in the order of deadlines, not of adding") {
  const VirtualClock clock;
  LoopFixture loop(clock.options());
  std::vector<int> calls;
  for (const int second : {5, 3, 9, 1, 7, 2, 8, 4, 6}) {
    loop->call_later(std::chrono::seconds(second), note(calls, second));
  }
  loop->call_later(10s, [&] { loop.stop(); });

  loop.run();
  CHECK(calls == std::vector<int>{1, 2, 3, 4, 5, 6, 7, 8, 9});
  CHECK(clock.elapsed() == 10s);
}

TEST_CASE("IOLoop fires a thousand equal deadlines in the order of adding") {
  const VirtualClock clock;
  LoopFixture loop(clock.options());
  const TimePoint deadline = loop->time() + 1s;
  std::vector<int> calls;
  std::vector<int> expected;
  for (int i = 0; i < 1000; ++i) {
    loop->call_at(deadline, note(calls, i));
    expected.push_back(i);
  }
  loop->call_at(deadline, [&] { loop.stop(); });

  loop.run();
  CHECK(calls == expected);
}

TEST_CASE("IOLoop::call_at refuses an empty callback") {
  LoopFixture loop;
  CHECK_THROWS_AS(loop->call_at(loop->time(), nullptr), std::invalid_argument);
  CHECK_THROWS_AS(loop->call_later(1s, std::function<void()>()),
                  std::invalid_argument);
  CHECK(loop->statistics().timeouts == 0);
}

TEST_CASE("IOLoop::call_at does nothing on a closed loop") {
  LoopFixture loop;
  const auto held = std::make_shared<int>();
  loop->close();

  const TimeoutHandle timeout = loop->call_at(loop->time(), [held] {});
  CHECK_FALSE(timeout);
  CHECK_FALSE(loop->call_later(1s, [held] {}));
  CHECK(held.use_count() == 1);
  CHECK_FALSE(loop->move_timeout(timeout, loop->time()));
  loop->remove_timeout(timeout);
}

TEST_CASE("IOLoop::call_later cuts a delay past the clock's range") {
  LoopFixture loop;
  const std::array handles{loop->call_later(Duration::max(), must_not_run),
                           loop->call_later(24h * 365 * 280, must_not_run),
                           loop->call_at(TimePoint::max(), must_not_run)};
  bool called = false;
  loop->call_later(Duration::min(), [&] { called = true; });

  loop.run_turns(5);
  CHECK(called);
  CHECK(loop->statistics().timeouts == handles.size());
  for (const TimeoutHandle& handle : handles) {
    loop->remove_timeout(handle);
  }
}

TEST_CASE("IOLoop::remove_timeout destroys the callback at once") {
  LoopFixture loop;
  const auto held = std::make_shared<int>();
  const TimeoutHandle timeout =
      loop->call_later(0s, [held] { must_not_run(); });

  loop->remove_timeout(timeout);

  CHECK(held.use_count() == 1);
  CHECK(loop->statistics().timeouts == 0);
  loop.run_turns(2);
}

TEST_CASE(
    "IOLoop::remove_timeout keeps what is due in this very turn from "
    "running") {
  LoopFixture loop;
  TimeoutHandle due;
  SUBCASE("when a callback removes it") {
    loop->add_callback([&] { loop->remove_timeout(due); });
    due = loop->call_at(TimePoint::min(), must_not_run);
  }
  SUBCASE("when an earlier timeout removes it") {
    loop->call_at(TimePoint::min(), [&] { loop->remove_timeout(due); });
    due = loop->call_at(TimePoint::min(), must_not_run);
  }
  loop.run_turns(3);
}

TEST_CASE(
    "IOLoop::remove_timeout does nothing for a handle that names "
    "nothing") {
  LoopFixture loop;
  std::vector<int> calls;
  loop->remove_timeout(TimeoutHandle());
  CHECK_FALSE(TimeoutHandle());

  TimeoutHandle own;
  own = loop->call_later(0s, [&] {
    loop->remove_timeout(own);  // itself, as it runs
    calls.push_back(1);
  });
  const TimeoutHandle removed = loop->call_later(0s, must_not_run);
  loop->remove_timeout(removed);
  loop->remove_timeout(removed);
  loop.run_turns(2);
  CHECK(own);  // it was made by a loop

  // A new timeout may live where the old ones did.
  loop->call_later(0s, note(calls, 2));
  loop->call_later(0s, note(calls, 3));
  loop->remove_timeout(own);
  loop->remove_timeout(removed);
  loop.run_turns(2);
  CHECK(calls == std::vector<int>{1, 2, 3});
}

TEST_CASE("TimeoutHandle copies name the same timeout") {
  LoopFixture loop;
  const TimeoutHandle timeout = loop->call_later(0s, must_not_run);
  const TimeoutHandle copy = timeout;

  loop->remove_timeout(copy);

  CHECK_FALSE(loop->move_timeout(timeout, loop->time()));
  loop.run_turns(2);
}

TEST_CASE("IOLoop::move_timeout moves a deadline later and earlier") {
  const VirtualClock clock;
  LoopFixture loop(clock.options());
  const TimePoint start = loop->time();
  std::vector<Duration> fired;
  auto note_time = [&] { fired.push_back(clock.elapsed()); };
  const TimeoutHandle later = loop->call_at(start + 1s, note_time);
  const TimeoutHandle earlier = loop->call_at(start + 9s, note_time);
  const TimeoutHandle both = loop->call_at(start + 5s, note_time);
  loop->call_at(start + 20s, [&] { loop.stop(); });

  CHECK(loop->move_timeout(later, start + 6s));
  CHECK(loop->move_timeout(earlier, start + 3s));
  CHECK(loop->move_timeout(both, start + 12s));
  CHECK(loop->move_timeout(both, start + 4s));

  loop.run();
  CHECK(fired == std::vector<Duration>{3s, 4s, 6s});
}

TEST_CASE("IOLoop::move_timeout moves behind those due at the same moment") {
  const VirtualClock clock;
  LoopFixture loop(clock.options());
  const TimePoint deadline = loop->time() + 5s;
  std::vector<int> calls;
  const TimeoutHandle same = loop->call_at(deadline, note(calls, 1));
  const TimeoutHandle later = loop->call_at(deadline - 1s, note(calls, 2));
  const TimeoutHandle earlier = loop->call_at(deadline + 1s, note(calls, 3));
  loop->call_at(deadline, note(calls, 4));

  loop->move_timeout(earlier, deadline);
  loop->move_timeout(same, deadline);
  loop->move_timeout(later, deadline);
  loop->call_at(deadline, [&] { loop.stop(); });

  loop.run();
  CHECK(calls == std::vector<int>{4, 3, 1, 2});
}

TEST_CASE("IOLoop::move_timeout returns false for what is not pending") {
  LoopFixture loop;
  const TimePoint now = loop->time();
  TimeoutHandle fires;
  fires = loop->call_at(
      now, [&] { CHECK_FALSE(loop->move_timeout(fires, now + 1h)); });
  const TimeoutHandle removed = loop->call_at(now, must_not_run);
  loop->remove_timeout(removed);
  loop.run_turns(2);

  CHECK_FALSE(loop->move_timeout(fires, now));
  CHECK_FALSE(loop->move_timeout(removed, now));
  CHECK_FALSE(loop->move_timeout(TimeoutHandle(), now));
  CHECK(loop->statistics().timeouts == 0);
}

TEST_CASE("IOLoop::move_timeout takes what is due in this turn out of it") {
  VirtualClock clock;
  LoopFixture loop(clock.options());
  std::vector<int> calls;
  const TimePoint start = loop->time();
  TimeoutHandle due;
  loop->call_at(start, [&] { CHECK(loop->move_timeout(due, start + 5s)); });
  due = loop->call_at(start, [&] {
    calls.push_back(1);
    CHECK(clock.elapsed() == 5s);
    loop.stop();
  });

  loop.run();
  CHECK(calls == std::vector<int>{1});
}

TEST_CASE("IOLoop::move_timeout a million times is cheap and fires once") {
  const VirtualClock clock;
  LoopFixture loop(clock.options());
  const TimePoint start = loop->time();
  std::vector<TimeoutHandle> idle;
  std::size_t fired = 0;
  for (int i = 0; i < 1000; ++i) {
    idle.push_back(loop->call_at(start + 1s, [&] { ++fired; }));
  }
  for (int message = 0; message < 1000; ++message) {
    for (const TimeoutHandle& timeout : idle) {
      loop->move_timeout(timeout, start + 1s + message * 1ms);
    }
  }
  loop->call_at(start + 1998ms, [&] { CHECK(fired == 0); });
  loop->call_at(start + 2s, [&] { loop.stop(); });

  loop.run();
  CHECK(fired == idle.size());
}

TEST_CASE("IOLoop keeps nothing of a million timeouts that were removed") {
  LoopFixture loop;
  std::vector<TimeoutHandle> timeouts;
  const auto held = std::make_shared<int>();
  for (int i = 0; i < 1'000'000; ++i) {
    timeouts.push_back(loop->call_later(1h + i * 1us, [held] {}));
  }
  CHECK(loop->statistics().timeouts == timeouts.size());
  for (const TimeoutHandle& timeout : timeouts) {
    loop->remove_timeout(timeout);
  }
  CHECK(held.use_count() == 1);
  CHECK(loop->statistics().timeouts == 0);
}

TEST_CASE(
    "IOLoop lets timeouts that add timeouts starve neither descriptors "
    "nor callbacks") {
  LoopFixture loop;
  const SocketPair pair = make_unix_sockets();
  pair.client.send("x");
  int chained = 0;
  bool read = false;
  bool called = false;
  std::function<void()> again = [&] {
    if (++chained < 100) {
      loop->call_later(-1s, std::ref(again));
    } else {
      loop.stop();
    }
  };
  loop->call_later(0s, std::ref(again));
  loop->call_later(0s, [&] {
    loop->add_callback([&] { called = chained < 5; });
    loop->add_handler(pair.server.get(), IOLoop::READ,
                      [&](int fd, IOLoop::Events) {
                        loop->remove_handler(fd);
                        read = chained < 5;
                      });
  });

  loop.run();
  CHECK(read);
  CHECK(called);
}

TEST_CASE("IOLoop goes on after a timeout has thrown, and reports it") {
  LoopFixture loop;
  loop.expect_log(LogLevel::error, "std::out_of_range: late");
  loop->call_at(TimePoint::min(), [] { throw std::out_of_range("late"); });
  loop->call_at(TimePoint::min(), [&] { loop.stop(); });

  loop.run();
  REQUIRE(loop.failures.size() == 1);
  CHECK(loop.failures[0].find("call_at at ioloop_timeout_test.cc:") !=
        std::string::npos);
}

TEST_CASE("IOLoop::time reads the clock at every call") {
  LoopFixture loop;
  loop->add_callback([&] {
    const TimePoint before = loop->time();
    while (std::chrono::steady_clock::now() <= before) {
      std::this_thread::yield();
    }
    CHECK(loop->time() > before);
    loop.stop();
  });
  loop.run();
}

TEST_CASE("Clock::advance makes a day pass at once, deadline by deadline") {
  const VirtualClock clock;
  LoopFixture loop(clock.options());
  const TimePoint start = loop->time();
  for (int hour = 1; hour <= 24; ++hour) {
    const TimePoint deadline = start + std::chrono::hours(hour);
    loop->call_at(deadline, [&, deadline] { CHECK(loop->time() == deadline); });
  }
  loop->call_at(start + 24h, [&] { loop.stop(); });

  loop.run();
  CHECK(clock.elapsed() == 24h);
}

TEST_CASE("Clock::advance is not called while a descriptor is ready") {
  const VirtualClock clock;
  LoopFixture loop(clock.options());
  const SocketPair pair = make_unix_sockets();
  pair.client.send("x");
  int calls = 0;
  loop->add_handler(pair.server.get(), IOLoop::READ,
                    [&](int fd, IOLoop::Events) {
                      CHECK(clock.elapsed() == 0s);
                      if (++calls == 10) {
                        loop->remove_handler(fd);
                      }
                    });
  loop->call_later(1h, [&] { loop.stop(); });

  loop.run();
  CHECK(calls == 10);
  CHECK(clock.elapsed() == 1h);
}

TEST_CASE("Clock::advance is not called while a callback is queued") {
  const VirtualClock clock;
  LoopFixture loop(clock.options());
  int left = 10;
  std::function<void()> again = [&] {
    CHECK(clock.elapsed() == 0s);
    if (--left > 0) {
      loop->add_callback(std::ref(again));
    }
  };
  loop->add_callback(std::ref(again));
  loop->call_later(1h, [&] { loop.stop(); });

  loop.run();
  CHECK(left == 0);
}

TEST_CASE(
    "IOLoop in virtual time is woken by another thread when it has no "
    "timeout") {
  const VirtualClock clock;
  LoopFixture loop(clock.options());
  std::atomic<bool> running = false;
  std::thread other([&] {
    while (!running) {
      std::this_thread::yield();
    }
    loop->add_callback([&] { loop.stop(); });
  });
  loop->add_callback([&] { running = true; });

  loop.run();
  other.join();
  CHECK(clock.elapsed() == 0s);
}

TEST_CASE(
    "IOLoop fires all that a jump of the clock made due, once and in "
    "order") {
  VirtualClock clock;
  LoopFixture loop(clock.options());
  std::vector<int> calls;
  loop->call_later(3s, note(calls, 3));
  loop->call_later(1s, note(calls, 1));
  loop->call_later(2s, note(calls, 2));
  loop->add_callback([&] { clock.pass(24h); });

  loop.run_turns(3);
  CHECK(calls == std::vector<int>{1, 2, 3});
}

TEST_SUITE_END();
