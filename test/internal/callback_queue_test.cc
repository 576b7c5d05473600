#include "loop/callback_queue.h"

#include <array>
#include <cstddef>
#include <functional>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "waterspout/callback.h"

using waterspout::Callback;
using waterspout::CallbackQueue;

namespace {

using Numbers = std::vector<int>;

// A queue whose callbacks add their number to `called`.
struct Numbered {
  CallbackQueue queue;
  Numbers called;

  Callback<void()> numbered(int number) {
    return [this, number] { called.push_back(number); };
  }

  void add_in_turn(int number) { queue.add_in_turn(numbered(number)); }

  bool add_from_any_thread(int number) {
    return queue.add_from_any_thread(numbered(number));
  }

  // Runs a batch and returns its numbers.
  Numbers run_batch() {
    called.clear();
    queue.begin_batch();
    while (Callback<void()>* const callback = queue.next_in_batch()) {
      callback->call_once();
    }
    return std::exchange(called, {});
  }
};

// Does what `when_moved` says, once, when it is moved; small enough for a
// callback to hold it.
struct SlowToMove {
  SlowToMove(std::function<void()>& when_moved_once, Numbers& numbers)
      : when_moved(when_moved_once), called(numbers) {}
  SlowToMove(SlowToMove&& other) noexcept
      : when_moved(other.when_moved), called(other.called) {
    if (when_moved) {
      std::exchange(when_moved, nullptr)();
    }
  }
  void operator()() const { called.push_back(0); }

  std::function<void()>& when_moved;
  Numbers& called;
};

}  // namespace

TEST_SUITE_BEGIN("callback_queue");

TEST_CASE("CallbackQueue gives what was added, in order, once") {
  Numbered test;
  test.add_in_turn(1);
  test.add_in_turn(2);
  static_cast<void>(test.add_from_any_thread(3));
  static_cast<void>(test.add_from_any_thread(4));
  Callback<void()> fifth = test.numbered(5);
  CHECK(test.queue.add_from_signal(fifth));
  CHECK(test.queue.wants_turn());
  CHECK(test.queue.size() == 5);

  CHECK(test.run_batch() == Numbers{1, 2, 3, 4, 5});
  CHECK_FALSE(test.queue.wants_turn());
  CHECK(test.queue.size() == 0);
  CHECK(test.run_batch().empty());
}

TEST_CASE("CallbackQueue keeps what a batch adds for the next one") {
  Numbered test;
  test.queue.add_in_turn([&] {
    test.add_in_turn(2);
    CHECK(test.queue.size() == 2);
  });
  static_cast<void>(test.queue.add_from_any_thread([&] {
    static_cast<void>(test.add_from_any_thread(3));
    test.add_in_turn(4);
  }));
  CHECK(test.run_batch().empty());
  CHECK(test.queue.wants_turn());
  CHECK(test.run_batch() == Numbers{2, 3, 4});
}

TEST_CASE(
    "CallbackQueue lets a turn's callbacks queue behind those that were "
    "added outside of it") {
  Numbered test;
  static_cast<void>(test.add_from_any_thread(1));
  test.add_in_turn(2);
  static_cast<void>(test.add_from_any_thread(3));
  CHECK(test.run_batch() == Numbers{1, 2, 3});
}

TEST_CASE(
    "CallbackQueue has the loop woken by the first that is added while "
    "it rests, and by no other") {
  Numbered test;
  CHECK(test.add_from_any_thread(1));
  CHECK_FALSE(test.add_from_any_thread(2));
  CHECK_FALSE(test.queue.rest());

  test.queue.begin_batch();
  CHECK_FALSE(test.add_from_any_thread(3));
  while (Callback<void()>* const callback = test.queue.next_in_batch()) {
    callback->call_once();
  }
  CHECK_FALSE(test.queue.rest());
  CHECK(std::exchange(test.called, {}) == Numbers{1, 2});

  CHECK(test.run_batch() == Numbers{3});
  CHECK_FALSE(test.add_from_any_thread(4));
  CHECK_FALSE(test.queue.rest());
  CHECK(test.run_batch() == Numbers{4});
  CHECK(test.queue.rest());
  CHECK(test.add_from_any_thread(5));
}

TEST_CASE(
    "CallbackQueue ends a batch before what is still being added, and has the "
    "loop woken once that is there") {
  Numbered test;
  std::function<void()> while_added;
  Callback<void()> slow(SlowToMove(while_added, test.called));
  CHECK(test.run_batch().empty());
  CHECK(test.queue.rest());
  CHECK(test.add_from_any_thread(1));
  while_added = [&] {
    CHECK(test.run_batch() == Numbers{1});
    CHECK(test.queue.rest());
    CHECK(test.add_from_any_thread(2));  // in vain: it comes behind
    CHECK(test.run_batch().empty());
    CHECK(test.queue.rest());
  };
  CHECK(test.queue.add_from_any_thread(std::move(slow)));
  CHECK_FALSE(test.queue.rest());
  CHECK(test.run_batch() == Numbers{0, 2});
  CHECK(test.queue.rest());
}

TEST_CASE("CallbackQueue destroys a callback before it gives the next") {
  Numbered test;
  const auto held = std::make_shared<int>();
  const auto alone = [&held] { return held.use_count() == 1; };
  static_cast<void>(test.queue.add_from_any_thread([held] {}));
  static_cast<void>(test.queue.add_from_any_thread([&] { CHECK(alone()); }));
  test.run_batch();
  test.queue.add_in_turn([held] {});
  test.queue.add_in_turn([&] { CHECK(alone()); });
  test.run_batch();
  CHECK(alone());
}

TEST_CASE("CallbackQueue keeps the order through bursts of every size") {
  Numbered test;
  int added = 0;
  int expected = 0;
  for (int burst = 1; burst < 3000; burst = burst * 3 / 2 + 1) {
    for (int i = 0; i < burst; ++i) {
      static_cast<void>(test.add_from_any_thread(added++));
    }
    bool in_order = true;
    for (const int number : test.run_batch()) {
      in_order = in_order && number == expected++;
    }
    CHECK(in_order);
    CHECK(expected == added);
  }
}

TEST_CASE(
    "CallbackQueue::close destroys everything, and later ones are "
    "refused, also from destructors") {
  CallbackQueue queue;
  struct AddsAnother {
    explicit AddsAnother(CallbackQueue& owner) : queue(owner) {}
    ~AddsAnother() {
      CHECK_FALSE(queue.add_from_any_thread([] {}));
    }
    CallbackQueue& queue;
  };
  const auto held = std::make_shared<int>();
  const auto another = [&] { return std::make_shared<AddsAnother>(queue); };
  queue.add_in_turn([held, last = another()] {});
  for (int i = 0; i < 200; ++i) {
    static_cast<void>(queue.add_from_any_thread([held, last = another()] {}));
  }
  Callback<void()> from_signal = [held] {};
  CHECK(queue.add_from_signal(from_signal));

  queue.close();
  CHECK(held.use_count() == 1);
  CHECK(queue.size() == 0);
  CHECK_FALSE(queue.wants_turn());

  Callback<void()> refused = [held] {};
  CHECK_FALSE(queue.add_from_any_thread(std::move(refused)));
  CHECK(queue.size() == 0);
}

TEST_CASE("CallbackQueue loses nothing that threads add, nor their order") {
  constexpr std::size_t kThreads = 3;
  constexpr int kEach = 20'000;
  CallbackQueue queue;
  std::array<int, kThreads> next = {};
  bool in_order = true;
  std::vector<std::thread> threads;
  for (std::size_t thread = 0; thread < kThreads; ++thread) {
    threads.emplace_back([&, thread] {
      for (int i = 0; i < kEach; ++i) {
        static_cast<void>(queue.add_from_any_thread(
            [&, thread, i] { in_order = in_order && next[thread]++ == i; }));
      }
    });
  }
  std::size_t called = 0;
  while (called < kThreads * kEach) {
    queue.begin_batch();
    while (Callback<void()>* const callback = queue.next_in_batch()) {
      callback->call_once();
      ++called;
    }
    static_cast<void>(queue.rest());
    std::this_thread::yield();
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  CHECK(in_order);
  CHECK(queue.size() == 0);
}

TEST_SUITE_END();
