#include "loop/timeout_queue.h"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <iterator>
#include <map>
#include <memory>
#include <numeric>
#include <random>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "waterspout/ioloop.h"

#include "support/failing_memory.h"

using waterspout::Callback;
using waterspout::TimeoutHandle;
using waterspout::TimePoint;
using waterspout::detail::TimeoutQueue;
using waterspout::test::FailingMemory;
using waterspout::test::kReplacesNew;

namespace {

using namespace std::chrono_literals;

constexpr TimePoint kStart{};

// A queue whose timeouts add their number to `fired`.
struct NumberedTimeouts {
  TimeoutQueue queue;
  std::vector<int> fired;

  TimeoutHandle add(std::chrono::seconds deadline, int number) {
    return queue.add(kStart + deadline,
                     [this, number] { fired.push_back(number); });
  }

  // Runs what is due and returns the numbers.
  std::vector<int> run_due(std::chrono::seconds now) {
    fired.clear();
    queue.collect_due(kStart + now);
    while (Callback<void()> callback = queue.take_due()) {
      callback();
    }
    return std::exchange(fired, {});
  }
};

using Numbers = std::vector<int>;

}  // namespace

TEST_SUITE_BEGIN("timeout_queue");

TEST_CASE(
    "TimeoutQueue gives what is due in the order of deadlines, equal "
    "ones in that of adding") {
  NumberedTimeouts test;
  test.add(3s, 1);
  test.add(1s, 2);
  test.add(2s, 3);
  test.add(1s, 4);
  test.add(4s, 5);
  test.add(1s, 6);
  CHECK(test.queue.size() == 6);
  CHECK(test.queue.next_deadline() == kStart + 1s);

  CHECK(test.run_due(0s).empty());
  CHECK(test.run_due(3s) == Numbers{2, 4, 6, 3, 1});
  CHECK(test.queue.next_deadline() == kStart + 4s);
  CHECK(test.run_due(4s) == Numbers{5});
  CHECK(test.queue.size() == 0);
  CHECK_FALSE(test.queue.next_deadline());
}

TEST_CASE("TimeoutQueue does not give what was added after it was collected") {
  NumberedTimeouts test;
  test.queue.add(kStart, [&] { test.add(0s, 2); });
  test.add(0s, 1);
  CHECK(test.run_due(0s) == Numbers{1});
  CHECK(test.run_due(0s) == Numbers{2});
}

TEST_CASE("TimeoutQueue::remove gives the callback back, once") {
  NumberedTimeouts test;
  const TimeoutHandle timeout = test.add(1s, 1);
  CHECK(test.queue.remove(timeout));
  CHECK_FALSE(test.queue.remove(timeout));
  CHECK_FALSE(test.queue.remove(TimeoutHandle()));
  CHECK(test.queue.size() == 0);
  CHECK_FALSE(test.queue.next_deadline());
  CHECK(test.run_due(9s).empty());
}

TEST_CASE(
    "TimeoutQueue::remove of what was marked due keeps it from being "
    "given") {
  NumberedTimeouts test;
  TimeoutHandle second;
  test.queue.add(kStart, [&] { CHECK(test.queue.remove(second)); });
  second = test.add(0s, 2);
  test.add(0s, 3);
  CHECK(test.run_due(0s) == Numbers{3});
}

TEST_CASE(
    "TimeoutQueue takes a handle to what has fired for nothing, also "
    "when its place is taken again") {
  NumberedTimeouts test;
  const TimeoutHandle old = test.add(1s, 1);
  test.run_due(1s);
  const TimeoutHandle fresh = test.add(2s, 2);
  CHECK_FALSE(test.queue.remove(old));
  CHECK_FALSE(test.queue.move(old, kStart));
  CHECK(test.queue.next_deadline() == kStart + 2s);
  CHECK(test.queue.remove(fresh));
}

TEST_CASE("TimeoutQueue::move takes what was marked due out of the batch") {
  NumberedTimeouts test;
  TimeoutHandle later;
  TimeoutHandle now;
  test.queue.add(kStart, [&] {
    CHECK(test.queue.move(later, kStart + 5s));
    CHECK(test.queue.move(now, kStart));
  });
  later = test.add(0s, 2);
  now = test.add(0s, 3);
  CHECK(test.run_due(0s).empty());
  CHECK(test.run_due(0s) == Numbers{3});
  CHECK(test.run_due(5s) == Numbers{2});
}

TEST_CASE("TimeoutQueue::next_deadline knows of deadlines that moved") {
  NumberedTimeouts test;
  const TimeoutHandle first = test.add(1s, 1);
  test.add(3s, 2);
  test.queue.move(first, kStart + 5s);
  CHECK(test.queue.next_deadline() == kStart + 3s);
  test.queue.move(first, kStart + 2s);
  CHECK(test.queue.next_deadline() == kStart + 2s);
}

TEST_CASE(
    "TimeoutQueue::take_any takes one callback out after the other, also those "
    "due and those that a destructor removes") {
  NumberedTimeouts test;
  const auto held = std::make_shared<int>();
  TimeoutHandle removed;
  struct RemovesAnother {
    explicit RemovesAnother(std::function<void()> what)
        : remove(std::move(what)) {}
    RemovesAnother(RemovesAnother&&) = default;
    ~RemovesAnother() {
      if (remove) {
        remove();
      }
    }
    void operator()() const {}
    std::function<void()> remove;
  };
  test.queue.add(kStart, [held] {});
  const TimeoutHandle due = test.queue.add(kStart, [held] {});
  removed = test.queue.add(kStart + 2h, [held] {});
  const TimeoutHandle pending = test.queue.add(
      kStart + 1h,
      RemovesAnother([&test, &removed, held] { test.queue.remove(removed); }));
  test.queue.collect_due(kStart);

  int taken = 0;
  while (test.queue.take_any()) {
    ++taken;
  }
  CHECK(taken == 3);
  CHECK(test.queue.size() == 0);
  CHECK_FALSE(test.queue.take_due());
  CHECK_FALSE(test.queue.remove(due));
  CHECK_FALSE(test.queue.remove(pending));
  CHECK(held.use_count() == 1);

  test.add(1s, 1);  // and it goes on
  CHECK(test.run_due(1s) == Numbers{1});
}

TEST_CASE(
    "TimeoutQueue survives losing its last timeout in the middle of a "
    "batch after it grew") {
  NumberedTimeouts test;
  std::vector<TimeoutHandle> handles;
  for (int i = 0; i < 5000; ++i) {
    handles.push_back(test.add(0s, i));
  }
  test.queue.collect_due(kStart);
  test.queue.take_due()();
  for (const TimeoutHandle& handle : handles) {
    test.queue.remove(handle);
  }
  CHECK(test.queue.size() == 0);
  const TimeoutHandle fresh = test.add(0s, 7);
  CHECK_FALSE(test.queue.take_due());
  CHECK(test.fired == Numbers{0});
  CHECK(test.run_due(0s) == Numbers{7});
  CHECK_FALSE(test.queue.remove(fresh));
}

TEST_CASE(
    "TimeoutQueue keeps the order where thousands are due at once and "
    "some have moved") {
  std::mt19937 random(1147);
  const auto second = [&random] {
    return std::chrono::seconds(random() % 500);
  };
  NumberedTimeouts test;
  std::vector<TimeoutHandle> handles;
  std::vector<std::chrono::seconds> deadlines;
  for (int i = 0; i < 5000; ++i) {
    deadlines.push_back(second());
    handles.push_back(test.add(deadlines.back(), i));
  }
  std::vector<int> order(5000);
  std::iota(order.begin(), order.end(), 0);
  for (int i = 0; i < 5000; i += 3) {
    const auto index = static_cast<std::size_t>(i);
    deadlines[index] = second();
    CHECK(test.queue.move(handles[index], kStart + deadlines[index]));
    order.push_back(std::exchange(order[index], -1));
  }
  std::erase(order, -1);
  const auto deadline_of = [&](int i) {
    return deadlines[static_cast<std::size_t>(i)];
  };
  std::stable_sort(order.begin(), order.end(), [&](int left, int right) {
    return deadline_of(left) < deadline_of(right);
  });

  Numbers fired;
  for (const auto now : {0s, 1s, 300s, 301s, 420s, 499s}) {
    for (const int number : test.run_due(now)) {
      CHECK(deadline_of(number) <= now);
      fired.push_back(number);
    }
    CHECK(test.queue.size() == order.size() - fired.size());
  }
  CHECK(fired == order);
}

TEST_CASE(
    "TimeoutQueue agrees with a simple model through a long random "
    "life") {
  struct Entry {
    TimePoint deadline;
    std::uint64_t order;
    TimeoutHandle handle;
  };
  std::mt19937 random(4711);
  auto below = [&random](std::size_t bound) { return random() % bound; };
  NumberedTimeouts test;
  std::map<int, Entry> model;
  std::uint64_t order = 0;
  std::chrono::seconds now = 0s;
  bool agreed = true;
  for (int step = 0; step < 50'000 && agreed; ++step) {
    const auto deadline = now + std::chrono::seconds(below(20));
    const std::size_t action = below(10);
    if (action < 4) {
      model[step] = {kStart + deadline, ++order, test.add(deadline, step)};
    } else if (action < 8 && !model.empty()) {
      auto entry = model.begin();
      std::advance(entry, static_cast<std::ptrdiff_t>(below(model.size())));
      if (action == 4) {
        agreed = static_cast<bool>(test.queue.remove(entry->second.handle));
        model.erase(entry);
      } else {
        agreed = test.queue.move(entry->second.handle, kStart + deadline);
        entry->second.deadline = kStart + deadline;
        entry->second.order = ++order;
      }
    } else {
      now += std::chrono::seconds(below(4));
      std::map<std::pair<TimePoint, std::uint64_t>, int> due;
      for (const auto& [number, entry] : model) {
        if (entry.deadline <= kStart + now) {
          due[{entry.deadline, entry.order}] = number;
        }
      }
      Numbers expected;
      for (const auto& [key, number] : due) {
        expected.push_back(number);
        model.erase(number);
      }
      agreed = test.run_due(now) == expected;
    }
    agreed = agreed && test.queue.size() == model.size();
  }
  CHECK(agreed);
}

TEST_CASE(
    "TimeoutQueue goes on where there is no memory for all that is due, in "
    "order" *
    doctest::skip(!kReplacesNew)) {
  NumberedTimeouts test;
  Numbers expected(5000);
  std::iota(expected.begin(), expected.end(), 0);
  for (const int number : expected) {
    const int latest_first = 4999 - number;
    test.add(std::chrono::seconds(latest_first), latest_first);
  }
  test.fired.reserve(expected.size());
  int batches = 0;
  while (test.queue.size() != 0) {
    const FailingMemory failing(0, 1);
    test.queue.collect_due(kStart + 10'000s);
    while (Callback<void()> callback = test.queue.take_due()) {
      callback();
    }
    ++batches;
  }
  CHECK(batches > 1);
  CHECK(test.fired == expected);
}

TEST_SUITE_END();
