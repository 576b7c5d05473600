// Long chains of callbacks: a million operations that the stream can answer at
// once use constant stack, cost no system calls, and leave others their turn.

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include <doctest/doctest.h>

#include "waterspout/iostream.h"

#include "support/loop_fixture.h"
#include "support/stream_helpers.h"
#include "support/stream_pair.h"
#include "support/syscall_counter.h"

using waterspout::IOStream;
using waterspout::test::BorrowedLoop;
using waterspout::test::kUnix;
using waterspout::test::LoopFixture;
using waterspout::test::make_raw_pair;
using waterspout::test::make_unix_pair;
using waterspout::test::RawPeer;
using waterspout::test::SteppedLoop;
using waterspout::test::StreamPair;
using waterspout::test::SyscallCounter;

namespace {

constexpr int kMillion = 1'000'000;
constexpr std::size_t kStackBound = std::size_t{64} * 1024;
// A trip through the poller after so many callbacks is cheap; after fewer it
// would be a price on each.
constexpr int kCallbacksPerPoll = 100;
// What others wait at most for their turn.
constexpr int kBudget = 10'000;
constexpr std::uint64_t kManyTurns = 1'000'000;

// How far apart the frames of callbacks are.
class StackMeter {
 public:
  void note() {
    const auto here =
        reinterpret_cast<std::uintptr_t>(__builtin_frame_address(0));
    low_ = std::min(low_, here);
    high_ = std::max(high_, here);
  }
  [[nodiscard]] std::size_t used() const { return high_ - low_; }

 private:
  std::uintptr_t low_ = std::numeric_limits<std::uintptr_t>::max();
  std::uintptr_t high_ = 0;
};

// Calls `operation(callback)`, and again inside the callback, so many times.
class Chain {
 public:
  using Operation = std::function<void(Chain&)>;

  Chain(int length, Operation operation)
      : left_(length), operation_(std::move(operation)) {
    next();
  }

  // What the operation gives as its callback.
  auto callback() {
    return [this](const auto&...) {
      meter.note();
      left_ -= 1;
      if (left_ > 0) {
        next();
      }
    };
  }

  [[nodiscard]] bool done() const { return left_ == 0; }
  [[nodiscard]] int left() const { return left_; }

  StackMeter meter;

 private:
  void next() { operation_(*this); }

  int left_;
  Operation operation_;
};

// A stream that is closed and has so many line ends unread.
template <class Loop>
std::shared_ptr<IOStream> closed_stream_with_lines(Loop& loop, int lines) {
  const StreamPair pair = make_unix_pair(loop);
  const auto size = static_cast<std::size_t>(lines);
  pair.client->write(std::string(size, '\n'));
  pair.server->read_until("no such thing", [](std::string_view) {});
  loop.run_until([&] { return pair.server->unread_bytes() == size; });
  pair.server->close();
  return pair.server;
}

}  // namespace

TEST_SUITE_BEGIN("iostream_chain");

TEST_CASE_TEMPLATE("A chain of a million buffered reads uses constant stack",
                   Loop, LoopFixture, BorrowedLoop, SteppedLoop) {
  Loop loop;
  loop.bound_turns(kManyTurns);
  const auto stream = closed_stream_with_lines(loop, kMillion);
  const SyscallCounter counter;
  Chain chain(kMillion,
              [&](Chain& self) { stream->read_until("\n", self.callback()); });

  loop.run_until([&] { return chain.done(); }, std::chrono::seconds(20));
  CHECK(chain.done());
  CHECK(chain.meter.used() < kStackBound);
  CHECK(counter.counts().epoll_wait < kMillion / kCallbacksPerPoll);
  CHECK(counter.counts().epoll_ctl < 10);
  CHECK(stream->unread_bytes() == 0);
}

TEST_CASE("A chain of a million reads of an open stream") {
  LoopFixture loop;
  loop.bound_turns(kManyTurns);
  const StreamPair pair = make_unix_pair(loop);
  SyscallCounter counter(pair.server->fileno());
  pair.client->write(std::string(kMillion, '\n'));
  Chain chain(kMillion, [&](Chain& self) {
    pair.server->read_until("\n", self.callback());
  });

  loop.run_until([&] { return chain.done(); }, std::chrono::seconds(20));
  CHECK(chain.done());
  CHECK(chain.meter.used() < kStackBound);
  CHECK(counter.counts().epoll_wait < kMillion / kCallbacksPerPoll);
  CHECK(counter.counts().recv < 1000);  // not one for each of the reads
}

TEST_CASE("A chain of a million reads of nothing uses constant stack") {
  LoopFixture loop;
  loop.bound_turns(kManyTurns);
  const StreamPair pair = make_unix_pair(loop);
  Chain chain(kMillion, [&](Chain& self) {
    pair.server->read_bytes(0, self.callback());
  });

  loop.run_until([&] { return chain.done(); }, std::chrono::seconds(20));
  CHECK(chain.done());
  CHECK(chain.meter.used() < kStackBound);
}

TEST_CASE("A chain of a million writes uses constant stack") {
  LoopFixture loop;
  loop.bound_turns(kManyTurns);
  const StreamPair pair = make_unix_pair(loop);
  SyscallCounter counter(pair.client->fileno());
  std::size_t arrived = 0;
  pair.server->read_until_close(
      {.streaming_callback =
           [&](std::string_view piece) { arrived += piece.size(); }},
      [](std::string_view) {});
  Chain chain(kMillion,
              [&](Chain& self) { pair.client->write("x", self.callback()); });

  loop.run_until([&] { return arrived == kMillion; }, std::chrono::seconds(20));
  CHECK(chain.done());
  CHECK(chain.meter.used() < kStackBound);
  CHECK(counter.counts().send < kMillion / kCallbacksPerPoll);
  pair.server->close();
  loop.run_turns(2);
}

TEST_CASE("A long chain gives other streams their turn") {
  LoopFixture loop;
  loop.bound_turns(kManyTurns);
  const auto stream = closed_stream_with_lines(loop, kMillion);
  const StreamPair other = make_unix_pair(loop);
  int longest_wait = 0;
  int turns = 0;
  Chain chain(kMillion,
              [&](Chain& self) { stream->read_until("\n", self.callback()); });
  int left_before = chain.left();
  // Back and forth between the ends of the other connection.
  std::function<void(IOStream&, IOStream&)> ping = [&](IOStream& from,
                                                       IOStream& to) {
    from.write("x");
    to.read_bytes(1, [&](std::string_view) {
      longest_wait = std::max(longest_wait, left_before - chain.left());
      left_before = chain.left();
      turns += 1;
      if (!chain.done()) {
        ping(to, from);
      }
    });
  };
  ping(*other.client, *other.server);

  loop.run_until([&] { return chain.done(); }, std::chrono::seconds(20));
  loop.run_until(
      [&] { return !other.client->reading() && !other.server->reading(); });
  CHECK(turns >= kMillion / kBudget);
  CHECK(longest_wait <= kBudget);
}

TEST_CASE("A long chain gives timeouts and callbacks their turn") {
  LoopFixture loop;
  loop.bound_turns(kManyTurns);
  const auto stream = closed_stream_with_lines(loop, kMillion);
  int callbacks = 0;
  int timeouts = 0;
  Chain chain(kMillion,
              [&](Chain& self) { stream->read_until("\n", self.callback()); });
  std::function<void()> again = [&] {
    callbacks += 1;
    if (!chain.done()) {
      loop->add_callback(std::ref(again));
    }
  };
  std::function<void()> later = [&] {
    timeouts += 1;
    if (!chain.done()) {
      loop->call_later(std::chrono::nanoseconds(1), std::ref(later));
    }
  };
  again();
  later();

  loop.run_until([&] { return chain.done(); }, std::chrono::seconds(20));
  loop.run_until([&] {
    return loop->statistics().timeouts + loop->statistics().callbacks == 0;
  });
  CHECK(callbacks >= kMillion / kBudget);
  CHECK(timeouts >= 2);
}

TEST_CASE("Two long chains take turns") {
  LoopFixture loop;
  loop.bound_turns(kManyTurns);
  constexpr int kLines = 200'000;
  const auto first_stream = closed_stream_with_lines(loop, kLines);
  const auto second_stream = closed_stream_with_lines(loop, kLines);
  Chain first(kLines, [&](Chain& self) {
    first_stream->read_until("\n", self.callback());
  });
  int furthest = 0;
  Chain second(kLines, [&](Chain& self) {
    furthest = std::max(furthest, std::abs(first.left() - self.left()));
    second_stream->read_until("\n", self.callback());
  });

  loop.run_until([&] { return first.done() && second.done(); },
                 std::chrono::seconds(20));
  CHECK(furthest <= kBudget);
}

TEST_CASE("A peer that never pauses gives other streams their turn") {
  LoopFixture loop;
  loop.bound_turns(kManyTurns);
  constexpr std::size_t kFlood = std::size_t{64} * 1024 * 1024;
  const StreamPair flood = make_unix_pair(loop);
  const RawPeer other = make_raw_pair(loop, {}, kUnix);
  std::size_t arrived = 0;
  std::size_t arrived_then = kFlood;
  flood.client->write(std::string(kFlood, 'x'));
  flood.server->read_until_close(
      {.streaming_callback =
           [&](std::string_view piece) { arrived += piece.size(); }},
      [](std::string_view) {});
  loop.run_until([&] { return arrived > 0; });

  const std::size_t arrived_before = arrived;
  other.peer.send("x");
  other.stream->read_bytes(1, [&](std::string_view) {
    arrived_then = arrived;
    loop.stop();
  });
  loop.run();
  CHECK(arrived_then - arrived_before < kFlood / 4);
  flood.server->close();
  flood.client->close();
  loop.run_turns(2);
}

TEST_SUITE_END();
