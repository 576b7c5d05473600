// What timers cost while many are pending: those that fire, those that are
// cancelled, and those that are put off again and again, as an idle timeout is.
//
//   timer_cost [PART OF A WORK'S NAME]

#include <chrono>
#include <cstddef>
#include <random>
#include <vector>

#include "asio_loop.h"
#include "libevent_loop.h"
#include "libuv_loop.h"
#include "measure.h"
#include "waterspout_loop.h"

namespace {

using micro::AsioLoop;
using micro::Delay;
using micro::LibeventLoop;
using micro::LibuvLoop;
using micro::WaterspoutLoop;
using micro::Work;

constexpr std::size_t kAlive = 1'000'000;
constexpr std::size_t kCancelled = 300'000;
constexpr std::size_t kArmed = 100'000;
constexpr std::size_t kMoves = 300'000;
constexpr Delay kSoon = std::chrono::milliseconds(100);
constexpr Delay kFarAway = std::chrono::hours(1);
constexpr Delay kIdleTimeout = std::chrono::seconds(60);

/// The same delays for every library, in an order that helps none.
std::vector<Delay> random_delays(std::size_t count, Delay begin, Delay end) {
  std::mt19937_64 engine(count);
  std::uniform_int_distribution<Delay::rep> random(begin.count(), end.count());
  std::vector<Delay> delays;
  delays.reserve(count);
  for (std::size_t i = 0; i < count; ++i) {
    delays.emplace_back(random(engine));
  }
  return delays;
}

/// Runs `work` inside a callback, where most timers are set.
template <class Loop, class Function>
void run_inside(Loop& loop, Function&& work) {
  loop.post([&] {
    work();
    loop.stop();
  });
  loop.run();
}

template <class Loop>
double add_and_fire() {
  static const std::vector<Delay> delays =
      random_delays(kAlive, Delay::zero(), kSoon);
  Loop loop;
  std::size_t fired = 0;
  typename Loop::Timers timers(loop, kAlive, [&] {
    if (++fired == kAlive) {
      loop.stop();
    }
  });
  loop.post([&] {
    for (std::size_t i = 0; i < kAlive; ++i) {
      timers.add(i, delays[i]);
    }
  });
  return micro::nanoseconds_each(kAlive, [&] { loop.run(); });
}

template <class Loop>
double add_and_cancel() {
  static const std::vector<Delay> delays =
      random_delays(kAlive + kCancelled, kFarAway, 2 * kFarAway);
  Loop loop;
  typename Loop::Timers timers(loop, kAlive + 1, [] {});
  double each = 0;
  run_inside(loop, [&] {
    for (std::size_t i = 0; i < kAlive; ++i) {
      timers.add(i, delays[i]);
    }
    each = micro::nanoseconds_each(kCancelled, [&] {
      for (std::size_t i = 0; i < kCancelled; ++i) {
        timers.add(kAlive, delays[kAlive + i]);
        timers.cancel(kAlive);
      }
    });
  });
  return each;
}

/// Puts off one of kArmed timers after the other; only the first `kinds` of
/// them.
template <class Loop>
double move_first(std::size_t kinds) {
  Loop loop;
  typename Loop::Timers timers(loop, kArmed, [] {});
  double each = 0;
  run_inside(loop, [&] {
    for (std::size_t i = 0; i < kArmed; ++i) {
      timers.add(i, kIdleTimeout);
    }
    each = micro::nanoseconds_each(kMoves, [&] {
      for (std::size_t i = 0; i < kMoves; ++i) {
        timers.move(i % kinds, kIdleTimeout);
      }
    });
  });
  return each;
}

template <class Loop>
double move_one() {
  return move_first<Loop>(1);
}

template <class Loop>
double move_each() {
  return move_first<Loop>(kArmed);
}

struct Rounds {
  const char* name;
  double (*ours)();
  double (*libevent)();
  double (*libuv)();
  double (*asio)();
  int rounds;
};

constexpr Rounds kRounds[] = {
    {"add and fire, a million alive", add_and_fire<WaterspoutLoop>,
     add_and_fire<LibeventLoop>, add_and_fire<LibuvLoop>,
     add_and_fire<AsioLoop>, 2},
    {"add and cancel, a million alive", add_and_cancel<WaterspoutLoop>,
     add_and_cancel<LibeventLoop>, add_and_cancel<LibuvLoop>,
     add_and_cancel<AsioLoop>, 3},
    {"move the same of 100,000 later", move_one<WaterspoutLoop>,
     move_one<LibeventLoop>, move_one<LibuvLoop>, move_one<AsioLoop>, 5},
    {"move each of 100,000 later, in turn", move_each<WaterspoutLoop>,
     move_each<LibeventLoop>, move_each<LibuvLoop>, move_each<AsioLoop>, 5},
};

}  // namespace

int main(int argc, char** argv) {
  std::vector<Work> works;
  for (const Rounds& row : kRounds) {
    const auto add = [&](std::string_view library, double (*round)()) {
      works.push_back({.name = row.name,
                       .library = library,
                       .round = round,
                       .rounds = row.rounds});
    };
    add(WaterspoutLoop::kName, row.ours);
    add(LibeventLoop::kName, row.libevent);
    add(LibuvLoop::kName, row.libuv);
    add(AsioLoop::kName, row.asio);
  }
  return micro::run_main(works, argc, argv);
}
