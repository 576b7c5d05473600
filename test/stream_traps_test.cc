// The traps that sockets set for a stream, one test each. The numbers are those
// of the project's list of reproduced traps ("trap 0.12").

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <unistd.h>

#include <doctest/doctest.h>

#include "waterspout/error.h"
#include "waterspout/ioloop.h"
#include "waterspout/iostream.h"

#include "support/loop_fixture.h"
#include "support/sanitizers.h"
#include "support/sockets.h"
#include "support/stream_pair.h"

using waterspout::IOStream;
using waterspout::LogLevel;
using waterspout::StreamClosedError;
using waterspout::StreamErrc;
using waterspout::test::LoopFixture;
using waterspout::test::make_raw_pair;
using waterspout::test::make_stream_pair;
using waterspout::test::make_unix_pair;
using waterspout::test::RawPeer;
using waterspout::test::RefusingPort;
using waterspout::test::scaled;
using waterspout::test::StreamPair;
using waterspout::test::UniquePeerFd;

namespace {

using namespace std::chrono_literals;

void must_not_read(std::string_view /*data*/) { FAIL_CHECK("a read ended"); }

// Lets `loop` run for a moment and returns how often it turned.
std::uint64_t turns_in_a_moment(LoopFixture& loop) {
  const std::uint64_t before = loop->statistics().turns;
  loop->call_later(30ms, [&] { loop.stop(); });
  loop.run();
  return loop->statistics().turns - before;
}

// How far apart the stack frames lie that it was asked in.
class StackDepth {
 public:
  void look() {
    const auto address =
        reinterpret_cast<std::uintptr_t>(__builtin_frame_address(0));
    lowest_ = std::min(lowest_, address);
    highest_ = std::max(highest_, address);
  }
  [[nodiscard]] std::uintptr_t bytes() const { return highest_ - lowest_; }

 private:
  std::uintptr_t lowest_ = UINTPTR_MAX;
  std::uintptr_t highest_ = 0;
};

constexpr std::uintptr_t kStackBound = std::uintptr_t{64} * 1024;

}  // namespace

TEST_SUITE_BEGIN("stream_traps");

TEST_CASE("An idle stream with a close callback notices a reset (trap 0.1)") {
  LoopFixture loop;
  RawPeer pair = make_raw_pair(loop);
  pair.stream->set_close_callback([&] { loop.stop(); });
  pair.peer.reset();
  loop.run();
  CHECK(pair.stream->closed());
  CHECK(pair.stream->error() == std::errc::connection_reset);
}

TEST_CASE(
    "An idle stream without a close callback does not spin at a reset "
    "or an end (trap 0.1)") {
  LoopFixture loop;
  RawPeer pair = make_raw_pair(loop);
  // A read that is over leaves the stream with its interest registered.
  pair.stream->read_bytes(1, [&](std::string_view) { loop.stop(); });
  pair.peer.send("x");
  loop.run();
  SUBCASE("reset") { pair.peer.reset(); }
  SUBCASE("end") { pair.peer.close(); }
  CHECK(turns_in_a_moment(loop) < 10);
}

TEST_CASE(
    "A stream with unread data does not spin at a reset or an end (trap "
    "0.1)") {
  LoopFixture loop;
  RawPeer pair = make_raw_pair(loop);
  std::string got;
  pair.stream->set_close_callback([] {});
  pair.stream->read_bytes(1, [&](std::string_view data) {
    got = data;
    loop.stop();
  });
  pair.peer.send("unread");
  loop.run();
  SUBCASE("reset") { pair.peer.reset(); }
  SUBCASE("end") { pair.peer.close(); }
  CHECK(turns_in_a_moment(loop) < 10);
  CHECK(got == "u");
  pair.stream->set_close_callback(nullptr);
}

TEST_CASE(
    "A socket that takes a closed stream's number gets its own events "
    "(trap 0.2)") {
  LoopFixture loop;
  RawPeer old = make_raw_pair(loop, {}, false);
  RawPeer fresh;
  std::string got;
  old.stream->read_bytes(1, [&](std::string_view) {
    const int number = old.stream->fileno();
    old.stream->close();
    const int next = dup(STDIN_FILENO);
    CHECK(next == number);  // it is free already
    close(next);
  });
  auto read_fresh = [&] {
    fresh = make_raw_pair(loop, {}, false);
    fresh.stream->read_bytes(5, [&](std::string_view data) {
      got = data;
      loop.stop();
    });
    fresh.peer.send("fresh");
  };
  old.stream->set_close_callback(read_fresh);
  old.peer.send("old");
  loop.run();
  CHECK(got == "fresh");
}

TEST_CASE(
    "A stream that closes while a copy of its descriptor lives does not "
    "make the loop spin (trap 0.3)") {
  LoopFixture loop;
  RawPeer pair = make_raw_pair(loop);
  const UniquePeerFd copy(dup(pair.stream->fileno()));
  pair.stream->read_until("\n", must_not_read);
  loop.run_turns(2);
  pair.stream->close();
  pair.peer.send("x\n");
  CHECK(turns_in_a_moment(loop) < 10);
}

TEST_CASE("A refused connection keeps its reason (trap 0.11)") {
  LoopFixture loop;
  const RefusingPort refusing;
  const auto stream = IOStream::create(loop);
  const std::string reason =
      "connect: " + refusing.address().to_string() + ": Connection refused";
  loop.expect_log(LogLevel::warning, reason);
  stream->set_close_callback([&] {
    CHECK(stream->error() == std::errc::connection_refused);
    loop.stop();
  });
  stream->connect(refusing.address(), [] { FAIL_CHECK("connected"); });
  loop.run();
  CHECK(stream->error() == std::errc::connection_refused);
  CHECK(stream->error_message() == reason);
}

TEST_CASE("A reset is not mistaken for an end by looking again (trap 0.12)") {
  LoopFixture loop;
  RawPeer pair = make_raw_pair(loop);
  pair.stream->read_until("\n", must_not_read);
  pair.stream->set_close_callback([&] { loop.stop(); });
  pair.peer.reset();
  loop.run();
  CHECK(pair.stream->error() == std::errc::connection_reset);

  std::error_code cause;
  try {
    pair.stream->read_until("\n", must_not_read);
  } catch (const StreamClosedError& error) {
    cause = error.cause();
  }
  CHECK(cause == std::errc::connection_reset);
  pair.stream->read_until_close([&](std::string_view) { loop.stop(); });
  loop.run();
  CHECK(pair.stream->error() == std::errc::connection_reset);
}

TEST_CASE(
    "A write to a peer that has gone closes the stream and kills nobody "
    "(trap 0.12)") {
  LoopFixture loop;
  RawPeer pair = make_raw_pair(loop);
  pair.stream->set_close_callback([&] { loop.stop(); });
  pair.peer.close();
  std::function<void()> again = [&] {
    if (!pair.stream->closed()) {
      pair.stream->write("x");
      loop->call_later(1ms, std::ref(again));
    }
  };
  again();
  loop.run();
  CHECK(pair.stream->closed());
  loop.run_until([&] { return loop->statistics().timeouts == 0; });
}

TEST_CASE(
    "A peer that closes with unread data resets, and what it had sent is "
    "read first (trap 0.13)") {
  LoopFixture loop;
  RawPeer pair = make_raw_pair(loop);
  std::vector<std::string> log;
  pair.stream->write("never read", [&] { loop.stop(); });
  loop.run();
  loop.run_turns(2);
  pair.peer.send("hello\nrest");
  pair.peer.close();

  pair.stream->set_close_callback([&] {
    log.emplace_back("closed");
    loop.stop();
  });
  pair.stream->read_until("\n", [&](std::string_view line) {
    log.emplace_back(line);
    pair.stream->read_until_close(
        [&](std::string_view data) { log.emplace_back(data); });
  });
  loop.run();
  CHECK(log == std::vector<std::string>{"hello\n", "rest", "closed"});
  CHECK(pair.stream->error() == std::errc::connection_reset);
}

TEST_CASE(
    "Data that came before a reset satisfies a read after the close "
    "(trap 0.13)") {
  LoopFixture loop;
  RawPeer pair = make_raw_pair(loop);
  pair.stream->set_close_callback([&] { loop.stop(); });
  pair.stream->read_until("\n", must_not_read);
  pair.peer.send("four");
  pair.peer.reset();
  loop.run();
  CHECK(pair.stream->closed());

  std::string got;
  pair.stream->read_bytes(4, [&](std::string_view data) {
    got = data;
    loop.stop();
  });
  CHECK(got.empty());
  loop.run();
  CHECK(got == "four");
}

TEST_CASE(
    "A million chained reads use constant stack and let others have "
    "their turn (trap 0.14)") {
  const int count = scaled(1'000'000);
  LoopFixture loop;
  loop.bound_turns(100'000);
  const StreamPair pair = make_unix_pair(loop);
  RawPeer other = make_raw_pair(loop);
  StackDepth depth;
  int reads = 0;
  int reads_at_other = -1;
  bool all_lines = true;
  std::function<void(std::string_view)> next = [&](std::string_view line) {
    depth.look();
    all_lines = all_lines && line == "\n";
    if (++reads == count) {
      loop.stop();
    } else {
      pair.server->read_until("\n", std::ref(next));
    }
  };
  pair.server->read_until("\n", std::ref(next));
  other.stream->read_until("\n",
                           [&](std::string_view) { reads_at_other = reads; });
  other.peer.send("\n");
  pair.client->write(std::string(static_cast<std::size_t>(count), '\n'));
  loop.run(50s);
  CHECK(reads == count);
  CHECK(all_lines);
  CHECK(depth.bytes() < kStackBound);
  CHECK(reads_at_other >= 0);
  CHECK(reads_at_other < count / 2);
}

TEST_CASE(
    "A million chained writes use constant stack and let others have "
    "their turn (trap 0.14)") {
  const int count = scaled(1'000'000);
  LoopFixture loop;
  loop.bound_turns(10'000'000);
  const StreamPair pair = make_unix_pair(loop);
  StackDepth depth;
  int writes = 0;
  int writes_at_timeout = -1;
  std::size_t received = 0;
  std::function<void()> next = [&] {
    depth.look();
    if (++writes < count) {
      pair.client->write("x", std::ref(next));
    } else {
      pair.client->close();
    }
  };
  pair.client->write("x", std::ref(next));
  loop->call_later(1ms, [&] { writes_at_timeout = writes; });
  pair.server->read_until_close(
      {.streaming_callback =
           [&](std::string_view piece) { received += piece.size(); }},
      [&](std::string_view) { loop.stop(); });
  loop.run(50s);
  CHECK(writes == count);
  CHECK(received == static_cast<std::size_t>(count));
  CHECK(depth.bytes() < kStackBound);
  CHECK(writes_at_timeout < count);
}

TEST_CASE(
    "Callbacks that hold their own stream are released when it closes "
    "(trap 0.17)") {
  LoopFixture loop;
  StreamPair pair = make_stream_pair(loop);
  const std::weak_ptr<IOStream> watch = pair.server;
  pair.server->set_close_callback([stream = pair.server] {});
  pair.server->read_until(
      "\n", [stream = pair.server](std::string_view) { must_not_read({}); });
  pair.server->write("x", [stream = pair.server] {});
  SUBCASE("by its owner") { pair.server->close(); }
  SUBCASE("by its peer") { pair.client->close(); }
  pair.server.reset();
  CHECK(loop.run_until([&] { return watch.expired(); }));
}

TEST_CASE("A stream that outlives its loop is closed and inert (trap 0.20)") {
  std::shared_ptr<IOStream> stream;
  const auto held = std::make_shared<int>();
  bool destroyed = false;
  SUBCASE("when the loop is destroyed") { destroyed = true; }
  SUBCASE("when the loop is closed") {}
  auto loop = std::make_unique<LoopFixture>();
  RawPeer pair = make_raw_pair(*loop);
  stream = std::move(pair.stream);
  stream->read_until("\n", [held](std::string_view) { must_not_read({}); });
  stream->write("x", [held] { FAIL_CHECK("written"); });
  stream->set_close_callback([held] { FAIL_CHECK("told of the close"); });
  (*loop)->close();
  if (destroyed) {
    pair.peer.close();
    loop.reset();
    CHECK_THROWS_AS(static_cast<void>(stream->loop()), std::logic_error);
  }

  CHECK(stream->closed());
  CHECK(stream->error() == StreamErrc::loop_closed);
  CHECK(stream->fileno() == -1);
  CHECK(held.use_count() == 1);
  CHECK_FALSE(stream->reading());
  CHECK_FALSE(stream->writing());
  CHECK_THROWS_AS(stream->read_until("\n", must_not_read), StreamClosedError);
  CHECK_THROWS_AS(stream->write("x"), StreamClosedError);
  stream->set_close_callback([] { FAIL_CHECK("no loop to call it"); });
  stream->set_nodelay(true);
  stream->close();
  stream->close_after_writing();
}

TEST_CASE(
    "A stream may be destroyed inside a destructor that closing the loop "
    "runs (trap 0.20)") {
  LoopFixture loop;
  StreamPair pair = make_stream_pair(loop);
  StreamPair second = make_stream_pair(loop);
  // Each pair's callback owns the other pair, which dies with it.
  IOStream& first_client = *pair.client;
  IOStream& second_client = *second.client;
  first_client.read_until("\n", [keep = second](std::string_view) {});
  second_client.read_until("\n", [keep = pair](std::string_view) {});
  pair = {};
  second = {};
  CHECK(loop->statistics().streams == 4);
  loop->close();
  CHECK(loop->statistics().streams == 0);
}

TEST_SUITE_END();
