// Signals: add_callback_from_signal and add_signal_handler.

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <stdexcept>
#include <thread>
#include <vector>

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <doctest/doctest.h>

#include "waterspout/ioloop.h"

#include "support/loop_fixture.h"
#include "support/sanitizers.h"

using waterspout::IOLoop;
using waterspout::LogLevel;
using waterspout::test::LoopFixture;
using waterspout::test::scaled;

namespace {

using namespace std::chrono_literals;

constexpr std::size_t kRing = 64;  // what add_callback_from_signal holds

void no_signal(int /*signum*/) { FAIL_CHECK("a signal handler ran"); }

// A plain signal handler, as a user's program has them, which hands over to the
// loop. What it reaches is static, as it must be.
class PlainSignal {
 public:
  PlainSignal(int signum, IOLoop& loop) : signum_(signum) {
    target = &loop;
    accepted = 0;
    ran = 0;
    struct sigaction action = {};
    action.sa_handler = on_signal;
    sigaction(signum, &action, &previous_);
  }
  ~PlainSignal() { sigaction(signum_, &previous_, nullptr); }
  PlainSignal(const PlainSignal&) = delete;
  PlainSignal& operator=(const PlainSignal&) = delete;

  static inline std::atomic<IOLoop*> target = nullptr;
  static inline std::atomic<int> accepted = 0;
  static inline std::atomic<int> ran = 0;

 private:
  static void on_signal(int /*signum*/) {
    if (target.load()->add_callback_from_signal([] { ++ran; })) {
      ++accepted;
    }
  }

  int signum_;
  struct sigaction previous_ = {};
};

// What the process does on the signal, as a number that can be compared.
std::uintptr_t disposition_of(int signum) {
  struct sigaction action = {};
  sigaction(signum, nullptr, &action);
  return reinterpret_cast<std::uintptr_t>(action.sa_handler);
}

}  // namespace

TEST_SUITE_BEGIN("ioloop_signal");

TEST_CASE(
    "IOLoop::add_callback_from_signal takes 64 callbacks and refuses "
    "the next, which it drops") {
  LoopFixture loop;
  const auto held = std::make_shared<int>();
  std::size_t ran = 0;
  for (int round = 0; round < 3; ++round) {
    for (std::size_t i = 0; i < kRing; ++i) {
      CHECK(loop->add_callback_from_signal([&ran, held] { ++ran; }));
    }
    CHECK_FALSE(loop->add_callback_from_signal([&ran, held] { ++ran; }));
    CHECK(held.use_count() == 1 + static_cast<long>(kRing));
    loop.run_turns(2);
    CHECK(held.use_count() == 1);
  }
  CHECK(ran == 3 * kRing);
}

TEST_CASE("IOLoop::add_callback_from_signal runs in the order of adding") {
  LoopFixture loop;
  std::vector<int> calls;
  for (int i = 0; i < 10; ++i) {
    CHECK(loop->add_callback_from_signal([&calls, i] { calls.push_back(i); }));
  }
  loop.run_turns(2);
  CHECK(calls == std::vector<int>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9});
}

TEST_CASE("IOLoop::add_callback_from_signal works in a signal handler") {
  LoopFixture loop;
  const PlainSignal signal(SIGUSR1, loop);
  SUBCASE("that interrupts a callback") {
    loop->add_callback([] { raise(SIGUSR1); });
    CHECK(loop.run_until([] { return PlainSignal::ran == 1; }));
  }
  SUBCASE("before the loop runs") {
    raise(SIGUSR1);
    CHECK(loop.run_until([] { return PlainSignal::ran == 1; }));
  }
  SUBCASE("that interrupts the wait") {
    std::atomic<bool> running = false;
    const pthread_t loop_thread = pthread_self();
    std::thread other([&] {
      while (!running) {
        std::this_thread::yield();
      }
      pthread_kill(loop_thread, SIGUSR1);
    });
    loop->add_callback([&] { running = true; });
    CHECK(loop.run_until([] { return PlainSignal::ran == 1; }));
    other.join();
  }
}

TEST_CASE(
    "IOLoop::add_callback_from_signal survives a storm of signals while "
    "the loop adds callbacks itself") {
  LoopFixture loop;
  loop.bound_turns(10'000'000);
  const PlainSignal signal(SIGUSR1, loop);
  const pthread_t loop_thread = pthread_self();
  std::atomic<bool> over = false;
  std::thread other([&] {
    for (int i = 0; i < scaled(10'000); ++i) {
      pthread_kill(loop_thread, SIGUSR1);
      if (i % 16 == 0) {
        std::this_thread::yield();
      }
    }
    over = true;
  });
  std::size_t calls = 0;
  std::function<void()> again = [&] {
    ++calls;
    if (over) {
      loop.stop();
    } else {
      loop->add_callback(std::ref(again));
    }
  };
  loop->add_callback(std::ref(again));
  loop.run(30s);
  other.join();
  loop.run_turns(3);
  CHECK(PlainSignal::accepted > 0);
  CHECK(PlainSignal::ran == PlainSignal::accepted);
}

TEST_CASE(
    "IOLoop::add_signal_handler calls back on the loop with the "
    "signal's number") {
  LoopFixture loop;
  std::vector<int> signals;
  loop->add_signal_handler(SIGUSR1, [&](int signum) {
    signals.push_back(signum);
    loop.stop();
  });
  SUBCASE("for a signal before the loop runs") {
    raise(SIGUSR1);
    CHECK(signals.empty());
  }
  SUBCASE("for a signal in a callback") {
    loop->add_callback([] { raise(SIGUSR1); });
  }
  SUBCASE("for a signal of the process while the loop waits") {
    loop->call_later(1ms, [] { kill(getpid(), SIGUSR1); });
  }
  loop.run();
  CHECK(signals == std::vector<int>{SIGUSR1});
  loop->remove_signal_handler(SIGUSR1);
}

TEST_CASE(
    "IOLoop::add_signal_handler tells signals that come faster than the "
    "loop turns once") {
  LoopFixture loop;
  int calls = 0;
  loop->add_signal_handler(SIGUSR1, [&](int) { ++calls; });
  loop->add_callback([] {
    for (int i = 0; i < 1000; ++i) {
      raise(SIGUSR1);
    }
  });
  loop.run_turns(5);
  CHECK(calls == 1);

  raise(SIGUSR1);
  loop.run_turns(5);
  CHECK(calls == 2);
  loop->remove_signal_handler(SIGUSR1);
}

TEST_CASE("IOLoop::add_signal_handler handles several signals") {
  LoopFixture loop;
  std::vector<int> signals;
  for (const int signum : {SIGUSR1, SIGUSR2, SIGHUP, SIGRTMAX}) {
    loop->add_signal_handler(signum, [&](int s) { signals.push_back(s); });
  }
  CHECK(loop->statistics().signal_handlers == 4);
  raise(SIGHUP);
  raise(SIGRTMAX);
  loop.run_turns(3);

  CHECK(signals.size() == 2);
  for (const int signum : {SIGUSR1, SIGUSR2, SIGHUP, SIGRTMAX}) {
    loop->remove_signal_handler(signum);
  }
}

TEST_CASE("IOLoop::add_signal_handler gives the old disposition back") {
  const std::uintptr_t before = disposition_of(SIGUSR1);
  SUBCASE("when the handler is removed") {
    LoopFixture loop;
    loop->add_signal_handler(SIGUSR1, no_signal);
    CHECK(disposition_of(SIGUSR1) != before);
    loop->remove_signal_handler(SIGUSR1);
  }
  SUBCASE("when the loop is closed") {
    LoopFixture loop;
    loop->add_signal_handler(SIGUSR1, no_signal);
    loop->close();
  }
  SUBCASE("when the loop is destroyed") {
    IOLoop loop;
    loop.add_signal_handler(SIGUSR1, no_signal);
  }
  CHECK(disposition_of(SIGUSR1) == before);
}

TEST_CASE(
    "IOLoop::add_signal_handler refuses an empty callback and a signal "
    "that cannot be caught") {
  LoopFixture loop;
  CHECK_THROWS_AS(loop->add_signal_handler(SIGUSR1, nullptr),
                  std::invalid_argument);
  for (const int signum : {SIGKILL, SIGSTOP, 0, -1, 65, 1'000'000}) {
    CHECK_THROWS_AS(loop->add_signal_handler(signum, no_signal),
                    std::invalid_argument);
  }
  CHECK(loop->statistics().signal_handlers == 0);
}

TEST_CASE(
    "IOLoop::add_signal_handler refuses a signal that any loop handles, "
    "and a closed loop") {
  LoopFixture first;
  LoopFixture second;
  int calls = 0;
  first->add_signal_handler(SIGUSR1, [&](int) { ++calls; });
  CHECK_THROWS_AS(first->add_signal_handler(SIGUSR1, no_signal),
                  std::logic_error);
  CHECK_THROWS_AS(second->add_signal_handler(SIGUSR1, no_signal),
                  std::logic_error);
  second->remove_signal_handler(SIGUSR1);  // not its own
  raise(SIGUSR1);
  first.run_turns(2);
  CHECK(calls == 1);

  first->remove_signal_handler(SIGUSR1);
  second->add_signal_handler(SIGUSR1, [&](int) { ++calls; });
  raise(SIGUSR1);
  second.run_turns(2);
  CHECK(calls == 2);

  second->close();
  CHECK_THROWS_AS(second->add_signal_handler(SIGUSR1, no_signal),
                  std::logic_error);
}

TEST_CASE("IOLoop::remove_signal_handler takes effect at once") {
  LoopFixture loop;
  int calls = 0;
  SUBCASE("on a signal that was not told yet") {
    loop->add_signal_handler(SIGUSR1, no_signal);
    raise(SIGUSR1);
    loop->remove_signal_handler(SIGUSR1);
    loop->add_signal_handler(SIGUSR1, no_signal);
    loop.run_turns(2);
    loop->remove_signal_handler(SIGUSR1);
  }
  SUBCASE("inside the callback, which is destroyed after it has returned") {
    const auto held = std::make_shared<int>(7);
    loop->add_signal_handler(SIGUSR1, [&, held](int signum) {
      ++calls;
      loop->remove_signal_handler(signum);
      CHECK(*held == 7);
    });
    raise(SIGUSR1);
    loop.run_turns(3);
    CHECK(calls == 1);
    CHECK(held.use_count() == 1);
  }
  SUBCASE("inside the callback of another signal") {
    auto remove_both = [&](int) {
      ++calls;
      loop->remove_signal_handler(SIGUSR1);
      loop->remove_signal_handler(SIGUSR2);
    };
    loop->add_signal_handler(SIGUSR1, remove_both);
    loop->add_signal_handler(SIGUSR2, remove_both);
    raise(SIGUSR1);
    raise(SIGUSR2);
    loop.run_turns(3);
    CHECK(calls == 1);
  }
  loop->remove_signal_handler(SIGUSR1);  // has none
}

TEST_CASE("IOLoop reports what a signal handler throws") {
  LoopFixture loop;
  loop.expect_log(LogLevel::error, "add_signal_handler at ioloop_signal_test");
  loop->add_signal_handler(SIGUSR1, [](int) { throw 7; });
  raise(SIGUSR1);

  loop.run_turns(3);
  CHECK(loop.failures.size() == 1);
  loop->remove_signal_handler(SIGUSR1);
}

TEST_SUITE_END();
