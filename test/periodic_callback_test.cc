// PeriodicCallback, in virtual time.

#include <chrono>
#include <limits>
#include <memory>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "waterspout/ioloop.h"
#include "waterspout/stack_context.h"

#include "support/contexts.h"
#include "support/loop_fixture.h"
#include "support/virtual_clock.h"

using waterspout::Duration;
using waterspout::LogLevel;
using waterspout::PeriodicCallback;
using waterspout::StackContext;
using waterspout::test::entered_contexts;
using waterspout::test::LoopFixture;
using waterspout::test::must_not_run;
using waterspout::test::named;
using waterspout::test::Names;
using waterspout::test::VirtualClock;

namespace {

using namespace std::chrono_literals;
using Times = std::vector<Duration>;

// A loop in virtual time and the times at which its callback was called.
struct Periods {
  VirtualClock clock;
  LoopFixture loop{clock.options()};
  Times called;

  void note() { called.push_back(clock.elapsed()); }

  // Runs the loop until `time` on its clock has come.
  void run_until(Duration time) {
    loop->call_later(time - clock.elapsed(), [this] { loop.stop(); });
    loop.run();
  }
};

}  // namespace

TEST_SUITE_BEGIN("periodic_callback");

TEST_CASE(
    "PeriodicCallback calls on every multiple of its period "
    "(test_basic)") {
  Periods test;
  PeriodicCallback periodic(test.loop, 10s, [&] { test.note(); });
  periodic.start();
  CHECK(test.called.empty());

  test.run_until(55s);
  CHECK(test.called == Times{10s, 20s, 30s, 40s, 50s});
}

TEST_CASE(
    "PeriodicCallback skips the ticks that a call misses, also the one "
    "it ends on (test_overrun)") {
  Periods test;
  const std::vector<Duration> lasts{9s,  9s,  10s, 11s, 20s, 20s,
                                    35s, 35s, 0s,  0s,  0s};
  PeriodicCallback periodic(test.loop, 10s, [&] {
    test.note();
    test.clock.pass(lasts.at(test.called.size() - 1));
    if (test.called.size() == lasts.size()) {
      test.loop.stop();
    }
  });
  periodic.start();

  test.loop.run();
  CHECK(test.called ==
        Times{10s, 20s, 30s, 50s, 70s, 100s, 130s, 170s, 210s, 220s, 230s});
}

TEST_CASE("PeriodicCallback does not drift when the loop is late") {
  Periods test;
  PeriodicCallback periodic(test.loop, 10s, [&] { test.note(); });
  periodic.start();
  test.loop->call_later(9s, [&] { test.clock.pass(4s); });

  test.run_until(35s);
  CHECK(test.called == Times{13s, 20s, 30s});
}

TEST_CASE("PeriodicCallback reports an exception and goes on") {
  Periods test;
  PeriodicCallback periodic(test.loop, 10s, [&] {
    test.note();
    if (test.called.size() == 2) {
      throw std::out_of_range("second tick");
    }
  });
  periodic.start();
  test.loop.expect_log(LogLevel::error, "std::out_of_range: second tick");

  test.run_until(45s);
  CHECK(test.called == Times{10s, 20s, 30s, 40s});
  REQUIRE(test.loop.failures.size() == 1);
  CHECK(test.loop.failures[0].find("periodic_callback_test.cc:") !=
        std::string::npos);
}

TEST_CASE("PeriodicCallback starts one timer, however often it is started") {
  Periods test;
  PeriodicCallback periodic(test.loop, 10s, [&] { test.note(); });
  periodic.start();
  test.run_until(5s);
  periodic.start();
  CHECK(test.loop->statistics().timeouts == 1);

  test.run_until(25s);
  CHECK(test.called == Times{10s, 20s});
}

TEST_CASE("PeriodicCallback calls no more once it is stopped") {
  Periods test;
  PeriodicCallback periodic(test.loop, 10s, [&] { test.note(); });
  CHECK_FALSE(periodic.is_running());
  periodic.start();
  CHECK(periodic.is_running());
  test.run_until(15s);
  periodic.stop();
  CHECK_FALSE(periodic.is_running());
  CHECK(test.loop->statistics().timeouts == 0);
  periodic.stop();

  test.run_until(100s);
  CHECK(test.called == Times{10s});
}

TEST_CASE("PeriodicCallback begins a new grid when it is started again") {
  Periods test;
  PeriodicCallback periodic(test.loop, 10s, [&] { test.note(); });
  periodic.start();
  test.run_until(13s);
  periodic.stop();
  periodic.start();

  test.run_until(35s);
  CHECK(test.called == Times{10s, 23s, 33s});
}

TEST_CASE("PeriodicCallback may be stopped inside its callback") {
  Periods test;
  std::optional<PeriodicCallback> periodic;
  periodic.emplace(test.loop, 10s, [&] {
    test.note();
    periodic->stop();
    CHECK_FALSE(periodic->is_running());
  });
  periodic->start();

  test.run_until(50s);
  CHECK(test.called == Times{10s});
}

TEST_CASE(
    "PeriodicCallback may be stopped and started inside its callback, "
    "which begins one new grid") {
  Periods test;
  std::optional<PeriodicCallback> periodic;
  periodic.emplace(test.loop, 10s, [&] {
    test.note();
    test.clock.pass(3s);
    if (test.called.size() == 1) {
      periodic->stop();
      periodic->start();
      CHECK(periodic->is_running());
    }
  });
  periodic->start();

  test.run_until(45s);
  CHECK(test.called == Times{10s, 23s, 33s, 43s});
}

TEST_CASE(
    "PeriodicCallback may be destroyed inside its callback, whose state "
    "lives until it returns") {
  Periods test;
  const auto held = std::make_shared<int>(7);
  std::unique_ptr<PeriodicCallback> periodic;
  periodic = std::make_unique<PeriodicCallback>(test.loop, 10s, [&, held] {
    test.note();
    periodic.reset();
    CHECK(*held == 7);
  });
  periodic->start();

  test.run_until(50s);
  CHECK(test.called == Times{10s});
  CHECK(held.use_count() == 1);
}

TEST_CASE(
    "PeriodicCallback may be destroyed inside its callback, which then "
    "throws") {
  Periods test;
  std::unique_ptr<PeriodicCallback> periodic;
  periodic = std::make_unique<PeriodicCallback>(test.loop, 10s, [&] {
    test.note();
    periodic.reset();
    throw 7;
  });
  periodic->start();
  test.loop.expect_log(LogLevel::error, "exception of type int");

  test.run_until(50s);
  CHECK(test.called == Times{10s});
}

TEST_CASE("PeriodicCallback that is destroyed leaves nothing on the loop") {
  Periods test;
  const auto held = std::make_shared<int>();
  {
    PeriodicCallback periodic(test.loop, 10s, [held] {});
    periodic.start();
    CHECK(test.loop->statistics().timeouts == 1);
  }
  CHECK(test.loop->statistics().timeouts == 0);
  CHECK(held.use_count() == 1);
}

TEST_CASE(
    "PeriodicCallback calls once after a jump of the clock, and goes on "
    "on its grid") {
  Periods test;
  PeriodicCallback periodic(test.loop, 10ms, [&] { test.note(); });
  periodic.start();
  constexpr Duration kYear = 24h * 365;
  test.loop->call_later(15ms, [&] { test.clock.pass(kYear); });

  test.run_until(kYear + 35ms);
  CHECK(test.called == Times{10ms, kYear + 15ms, kYear + 20ms, kYear + 30ms});
}

TEST_CASE(
    "PeriodicCallback does not call twice for one tick when the clock "
    "errs backwards") {
  Periods test;
  PeriodicCallback periodic(test.loop, 10s, [&] {
    test.note();
    test.clock.pass(-5s);
    if (test.called.size() == 2) {
      test.loop.stop();
    }
  });
  periodic.start();

  test.loop.run();
  CHECK(test.called == Times{10s, 20s});
}

TEST_CASE(
    "PeriodicCallback draws every interval anew, within the jitter's "
    "bounds") {
  Periods test;
  test.loop.bound_turns(10'000);
  PeriodicCallback periodic(test.loop, 100s, {.jitter = 0.5},
                            [&] { test.note(); });
  periodic.start();
  test.run_until(100'000s);

  std::set<Duration> intervals;
  Duration before = 0s;
  for (const Duration time : test.called) {
    intervals.insert(time - before);
    before = time;
  }
  CHECK(*intervals.begin() >= 75s);
  CHECK(*intervals.rbegin() <= 125s);
  CHECK(*intervals.begin() < 90s);
  CHECK(*intervals.rbegin() > 110s);
  CHECK(intervals.size() > test.called.size() / 2);
  CHECK(test.called.size() > 900);
  CHECK(test.called.size() < 1100);
}

TEST_CASE("PeriodicCallback with the largest jitter still lets time pass") {
  Periods test;
  test.loop.bound_turns(1000);
  PeriodicCallback periodic(test.loop, 1s, {.jitter = 1}, [&] { test.note(); });
  periodic.start();
  test.run_until(100s);

  Duration before = 0s;
  for (const Duration time : test.called) {
    CHECK(time - before >= 500ms);
    CHECK(time - before <= 1500ms);
    before = time;
  }
}

TEST_CASE("PeriodicCallback without jitter keeps its grid exactly") {
  Periods test;
  PeriodicCallback periodic(test.loop, 7ns, {.jitter = 0},
                            [&] { test.note(); });
  periodic.start();

  test.run_until(22ns);
  CHECK(test.called == Times{7ns, 14ns, 21ns});
}

TEST_CASE(
    "PeriodicCallback refuses a period, a jitter and a callback that "
    "make no sense") {
  LoopFixture loop;
  const double nan = std::numeric_limits<double>::quiet_NaN();
  CHECK_THROWS_AS(PeriodicCallback(loop, 0s, must_not_run),
                  std::invalid_argument);
  CHECK_THROWS_AS(PeriodicCallback(loop, -1ns, must_not_run),
                  std::invalid_argument);
  CHECK_THROWS_AS(PeriodicCallback(loop, 1s, nullptr), std::invalid_argument);
  for (const double jitter : {-0.01, 1.01, nan}) {
    CHECK_THROWS_AS(
        PeriodicCallback(loop, 1s, {.jitter = jitter}, must_not_run),
        std::invalid_argument);
  }
}

TEST_CASE(
    "PeriodicCallback waits for ever where its period passes the clock's "
    "range") {
  LoopFixture loop;
  PeriodicCallback periodic(loop, Duration::max(),
                            [] { FAIL_CHECK("called"); });
  periodic.start();

  loop.run_turns(3);
  CHECK(periodic.is_running());
}

TEST_CASE(
    "PeriodicCallback runs in the context in which it was made, and "
    "starts it in no other") {
  Periods test;
  Names made_in;
  std::optional<PeriodicCallback> periodic;
  {
    const StackContext c1(named("c1"));
    periodic.emplace(test.loop, 10s, [&] {
      test.note();
      made_in = entered_contexts;
    });
  }
  {
    const StackContext c2(named("c2"));
    periodic->start();
  }
  test.run_until(25s);
  CHECK(test.called.size() == 2);
  CHECK(made_in == Names{"c1"});
}

TEST_CASE("Two PeriodicCallbacks of one loop do not disturb each other") {
  Periods test;
  Times other_called;
  PeriodicCallback periodic(test.loop, 10s, [&] { test.note(); });
  PeriodicCallback other(test.loop, 15s,
                         [&] { other_called.push_back(test.clock.elapsed()); });
  other.start();
  periodic.start();

  test.run_until(35s);
  CHECK(test.called == Times{10s, 20s, 30s});
  CHECK(other_called == Times{15s, 30s});
}

TEST_SUITE_END();
