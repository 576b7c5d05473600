// What other threads may do to a loop.

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "waterspout/ioloop.h"

#include "support/loop_fixture.h"
#include "support/sanitizers.h"

using waterspout::IOLoop;
using waterspout::test::LoopFixture;
using waterspout::test::scaled;

namespace {

using namespace std::chrono_literals;

}  // namespace

TEST_SUITE_BEGIN("ioloop_thread");

TEST_CASE(
    "IOLoop::add_callback runs all that eight threads add, each "
    "thread's in order") {
  constexpr std::size_t kThreads = 8;
  const int each = scaled(100'000);
  LoopFixture loop;
  loop.bound_turns(10'000'000);
  std::array<int, kThreads> next{};
  std::size_t ended = 0;
  bool in_order = true;
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < each; ++i) {
        loop->add_callback([&, t, i] {
          in_order = in_order && next[t] == i;
          ++next[t];
          if (next[t] == each && ++ended == kThreads) {
            loop.stop();
          }
        });
      }
    });
  }
  loop.run(50s);
  for (std::thread& thread : threads) {
    thread.join();
  }
  CHECK(in_order);
  CHECK(ended == kThreads);
}

TEST_CASE(
    "IOLoop::add_callback keeps the order of a thread that adds before "
    "and inside a turn") {
  LoopFixture loop;
  std::vector<int> calls;
  std::atomic<bool> other_added = false;
  auto note = [&](int value) {
    loop->add_callback([&calls, value] { calls.push_back(value); });
  };
  note(1);
  note(2);
  std::thread other([&] {
    loop->add_callback([] {});
    other_added = true;
  });
  loop->add_callback([&] {
    while (!other_added) {
      std::this_thread::yield();
    }
    note(3);
    note(4);
  });
  loop.run_turns(3);
  other.join();
  CHECK(calls == std::vector<int>{1, 2, 3, 4});
}

TEST_CASE(
    "IOLoop delivers what another thread has computed "
    "(test_add_future_threads)") {
  LoopFixture loop;
  std::unique_ptr<int> result;
  std::thread::id deliverer;
  std::thread worker([&] {
    loop->add_callback([&, value = std::make_unique<int>(42)]() mutable {
      result = std::move(value);
      deliverer = std::this_thread::get_id();
      loop.stop();
    });
  });
  loop.run();
  worker.join();
  CHECK(*result == 42);
  CHECK(deliverer == std::this_thread::get_id());
}

TEST_CASE(
    "IOLoop::close may race with add_callback, stop and "
    "add_callback_from_signal of other threads") {
  const auto held = std::make_shared<int>();
  for (int round = 0; round < scaled(100); ++round) {
    IOLoop loop;
    std::atomic<bool> closed = false;
    std::atomic<int> begun = 0;
    std::vector<std::thread> threads;
    for (int t = 0; t < 3; ++t) {
      threads.emplace_back([&] {
        ++begun;
        while (!closed) {
          loop.add_callback([held] {});
          static_cast<void>(loop.add_callback_from_signal([held] {}));
          loop.stop();
        }
        loop.add_callback([held] {});
      });
    }
    while (begun < 3) {
      std::this_thread::yield();
    }
    loop.start();
    loop.close();
    closed = true;
    for (std::thread& thread : threads) {
      thread.join();
    }
  }
  CHECK(held.use_count() == 1);
}

TEST_CASE("IOLoop::stop of another thread is never lost") {
  LoopFixture loop;
  const int rounds = scaled(2000);
  loop.bound_turns(1'000'000);
  std::atomic<int> started = 0;
  std::thread other([&] {
    for (int round = 0; round < rounds; ++round) {
      while (started.load() <= round) {
        std::this_thread::yield();
      }
      loop.stop();
    }
  });
  for (int round = 0; round < rounds; ++round) {
    ++started;  // the stop may come before, at or after the start
    loop->start();
  }
  other.join();
  CHECK(started == rounds);
}

TEST_CASE("Two loops on two threads share nothing") {
  // Plain loops: a fixture counts the descriptors of the whole process.
  auto count_to = [](int wanted) {
    IOLoop loop;
    int count = 0;
    bool current = true;
    std::function<void()> again = [&] {
      current = current && IOLoop::current_or_null() == &loop;
      if (++count == wanted) {
        loop.stop();
      } else {
        loop.call_later(0s, std::ref(again));
      }
    };
    loop.add_callback(std::ref(again));
    loop.start();
    return current ? count : 0;
  };
  int second = 0;
  std::thread other([&] { second = count_to(1000); });
  CHECK(count_to(1000) == 1000);
  other.join();
  CHECK(second == 1000);
}

TEST_SUITE_END();
