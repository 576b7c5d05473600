// Who keeps a stream alive and until when; that it may be dropped anywhere, and
// that nothing is left of it.

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "waterspout/iostream.h"

#include "support/loop_fixture.h"
#include "support/read_kinds.h"
#include "support/sockets.h"
#include "support/stream_helpers.h"
#include "support/stream_pair.h"

using waterspout::Address;
using waterspout::IOLoop;
using waterspout::IOStream;
using waterspout::StreamClosedError;
using waterspout::StreamErrc;
using waterspout::test::BorrowedLoop;
using waterspout::test::EventLog;
using waterspout::test::kUnix;
using waterspout::test::listen_on_loopback;
using waterspout::test::LoopFixture;
using waterspout::test::make_raw_pair;
using waterspout::test::RawPeer;
using waterspout::test::read_kinds;
using waterspout::test::ReadKind;
using waterspout::test::SteppedLoop;
using waterspout::test::Token;
using waterspout::test::UniquePeerFd;

namespace {

using StreamPtr = std::shared_ptr<IOStream>;

template <class Loop>
std::size_t open_streams(Loop& loop) {
  return loop->statistics().streams;
}

// The echo server of the manual: its callbacks hold the stream, nobody else.
void echo_lines(StreamPtr stream) {
  IOStream& s = *stream;
  s.read_until("\n", [stream = std::move(stream)](std::string_view line) {
    stream->write(line, [stream] { echo_lines(stream); });
  });
}

// A capture that does something when it is destroyed.
class AtEnd {
 public:
  explicit AtEnd(std::function<void()> action)
      : action_(std::make_shared<Action>(std::move(action))) {}

 private:
  struct Action {
    explicit Action(std::function<void()> a) : action(std::move(a)) {}
    ~Action() { action(); }
    Action(const Action&) = delete;
    Action& operator=(const Action&) = delete;
    std::function<void()> action;
  };
  std::shared_ptr<Action> action_;
};

}  // namespace

TEST_SUITE_BEGIN("iostream_lifetime");

TEST_CASE("A stream with nothing to report and no owner left closes") {
  SteppedLoop loop;
  RawPeer pair = make_raw_pair(loop, {}, kUnix);
  CHECK(open_streams(loop) == 1);
  pair.stream.reset();
  CHECK(open_streams(loop) == 0);
  CHECK(pair.peer.recv_all().empty());
}

TEST_CASE("A stream with unread data, and nothing else, closes too") {
  SteppedLoop loop;
  RawPeer pair = make_raw_pair(loop, {}, kUnix);
  pair.stream->read_bytes(1, [](std::string_view) {});
  pair.peer.send("12345");
  loop.settle();
  pair.stream.reset();
  CHECK(open_streams(loop) == 0);
}

TEST_CASE("The loop keeps a stream as long as it has something to report") {
  SteppedLoop loop;
  EventLog log;
  RawPeer pair = make_raw_pair(loop, {}, kUnix);
  const std::weak_ptr<IOStream> watch = pair.stream;

  SUBCASE("a pending read") {
    for (const ReadKind& kind : read_kinds()) {
      CAPTURE(kind.name);
      RawPeer each = make_raw_pair(loop, {}, kUnix);
      bool ran = false;
      kind.start(*each.stream, [&](std::string_view) { ran = true; });
      each.stream.reset();
      loop.settle();
      CHECK(open_streams(loop) == 2);
      each.peer.send("abc\n");
      each.peer.shutdown();
      loop.settle();
      CHECK(ran);
      CHECK(open_streams(loop) == 1);
    }
    log.add("done");
  }
  SUBCASE("a write") {
    pair.stream->write("abc", log.note("done"));
    pair.stream.reset();
    loop.settle();
    CHECK(pair.peer.recv_all() == "abc");
  }
  SUBCASE("a close callback") {
    pair.stream->set_close_callback(log.note("done"));
    pair.stream.reset();
    loop.settle();
    CHECK(open_streams(loop) == 1);
    pair.peer.close();
    loop.settle();
  }
  SUBCASE("a close callback of a stream that has closed") {
    pair.stream->set_close_callback(log.note("done"));
    pair.stream->close();
    pair.stream.reset();
    loop.settle();
  }
  CHECK(log.text() == "done");
  pair.stream.reset();
  CHECK(watch.expired());
}

TEST_CASE("The loop keeps a stream while it connects") {
  SteppedLoop loop;
  std::uint16_t port = 0;
  const UniquePeerFd listener(listen_on_loopback(port));
  bool connected = false;
  IOStream::create(loop)->connect(Address("127.0.0.1", port),
                                  [&] { connected = true; });
  CHECK(open_streams(loop) == 1);
  loop.run_until([&] { return connected; });
  loop.settle();
  CHECK(open_streams(loop) == 0);
}

TEST_CASE("A close callback that is taken back lets the stream go") {
  SteppedLoop loop;
  RawPeer pair = make_raw_pair(loop, {}, kUnix);
  IOStream& stream = *pair.stream;
  stream.set_close_callback([] { FAIL_CHECK("it ran"); });
  pair.stream.reset();
  CHECK(open_streams(loop) == 1);
  stream.set_close_callback(nullptr);
  loop.settle();
  CHECK(open_streams(loop) == 0);
}

TEST_CASE_TEMPLATE("The last reference may be dropped in a callback", Loop,
                   LoopFixture, BorrowedLoop, SteppedLoop) {
  Loop loop;
  EventLog log;
  RawPeer pair = make_raw_pair(loop, {}, kUnix);
  const std::weak_ptr<IOStream> watch = pair.stream;
  auto drop = [&](const auto&...) {
    IOStream& stream = *pair.stream;
    pair.stream.reset();
    log.add(stream.closed() ? "closed" : "open");  // it is still there
  };

  SUBCASE("of a read") {
    pair.stream->read_until("\n", drop);
    pair.peer.send("1\n2\n");
  }
  SUBCASE("of the last piece") {
    pair.stream->read_bytes(1, {.streaming_callback = drop},
                            [](std::string_view) {});
    pair.peer.send("12");
  }
  SUBCASE("of a write") { pair.stream->write("1", drop); }
  SUBCASE("of a close") {
    pair.stream->set_close_callback(drop);
    pair.peer.close();
  }
  SUBCASE("of read_until_close") {
    pair.stream->read_until_close(drop);
    pair.peer.close();
  }

  loop.run_until([&] { return watch.expired(); });
  const bool right = log.text() == "open" || log.text() == "closed";
  CHECK(right);
}

TEST_CASE("The last reference may be dropped in a callback that is not its") {
  SteppedLoop loop;
  RawPeer pair = make_raw_pair(loop, {}, kUnix);
  const RawPeer other = make_raw_pair(loop, {}, kUnix);
  const std::weak_ptr<IOStream> watch = pair.stream;
  auto drop = [&](const auto&...) {
    pair.stream.reset();
    CHECK(watch.expired());
  };
  SUBCASE("but the loop's") { loop->spawn_callback(drop); }
  SUBCASE("but another stream's") { other.stream->write("1", drop); }
  SUBCASE("but another stream's, at its end") {
    other.stream->set_close_callback(drop);
    other.stream->close();
  }
  loop.settle();
  CHECK(watch.expired());
}

TEST_CASE("The last reference may be dropped in the connect callback") {
  SteppedLoop loop;
  std::uint16_t port = 0;
  const UniquePeerFd listener(listen_on_loopback(port));
  StreamPtr stream = IOStream::create(loop);
  const std::weak_ptr<IOStream> watch = stream;
  stream->connect(Address("127.0.0.1", port), [&] { stream.reset(); });
  loop.run_until([&] { return watch.expired(); });
  CHECK(watch.expired());
}

TEST_CASE("A11: closing a stream that is ready in this turn silences it") {
  SteppedLoop loop;
  RawPeer one = make_raw_pair(loop, {}, kUnix);
  RawPeer two = make_raw_pair(loop, {}, kUnix);
  int ran = 0;
  auto close_other = [&](RawPeer& other) {
    return [&ran, other = &other](std::string_view) {
      ran += 1;
      if (other->stream != nullptr) {
        other->stream->close();
        other->stream.reset();
      }
    };
  };
  one.stream->read_bytes(1, close_other(two));
  two.stream->read_bytes(1, close_other(one));
  one.stream->set_close_callback([] {});
  two.stream->set_close_callback([] {});
  loop.settle();

  SUBCASE("the one sent to first") {
    one.peer.send("x");
    two.peer.send("x");
  }
  SUBCASE("the other sent to first") {
    two.peer.send("x");
    one.peer.send("x");
  }
  loop.settle();
  CHECK(ran == 1);
  for (const RawPeer* pair : {&one, &two}) {
    if (pair->stream != nullptr) {
      pair->stream->close();
    }
  }
  loop.settle();
  CHECK(open_streams(loop) == 0);
}

TEST_CASE("A cycle through a callback ends with that callback") {
  SteppedLoop loop;
  RawPeer pair = make_raw_pair(loop, {}, kUnix);
  const std::weak_ptr<IOStream> watch = pair.stream;
  pair.stream->read_until("\n", [stream = pair.stream](std::string_view) {
    stream->write("x", [stream] { CHECK_FALSE(stream->closed()); });
  });
  pair.stream.reset();
  loop.settle();
  CHECK_FALSE(watch.expired());
  pair.peer.send("\n");
  loop.settle();
  CHECK(watch.expired());
}

TEST_CASE("No cycle survives a close") {
  SteppedLoop loop;
  RawPeer pair = make_raw_pair(loop, {}, kUnix);
  const std::weak_ptr<IOStream> watch = pair.stream;
  const StreamPtr stream = pair.stream;
  stream->read_bytes(9, {.streaming_callback = [stream](std::string_view) {}},
                     [stream](std::string_view) {});
  stream->write(std::string(std::size_t{8} * 1024 * 1024, 'x'), [stream] {});
  stream->set_close_callback([stream] {});

  SUBCASE("by us") { stream->close(); }
  SUBCASE("by the peer") { pair.peer.close(); }
  SUBCASE("by the loop") { loop->close(); }
  pair.stream.reset();
  if (loop->base() != nullptr) {
    loop.settle();
  }
  CHECK(stream->closed());
  CHECK(watch.use_count() == 1);
}

TEST_CASE(
    "A stream without a connection that its own read holds goes with the "
    "loop") {
  std::weak_ptr<IOStream> watch;
  {
    IOLoop loop;
    StreamPtr stream = IOStream::create(loop);
    watch = stream;
    IOStream& s = *stream;
    s.set_close_callback([] {});
    s.read_until("\n", [stream = std::move(stream)](std::string_view) {});
    CHECK_FALSE(watch.expired());
  }
  CHECK(watch.expired());
}

TEST_CASE("And with its close") {
  LoopFixture loop;
  StreamPtr stream = IOStream::create(loop);
  const std::weak_ptr<IOStream> watch = stream;
  IOStream& s = *stream;
  s.read_until("\n", [stream = std::move(stream)](std::string_view) {});
  s.close();
  CHECK(watch.expired());
}

TEST_CASE("The echo of the manual lets its streams go") {
  SteppedLoop loop;
  loop.bound_turns(5000);
  std::vector<UniquePeerFd> peers;
  for (int i = 0; i < 100; ++i) {
    RawPeer pair = make_raw_pair(loop, {}, kUnix);
    echo_lines(std::move(pair.stream));
    peers.push_back(std::move(pair.peer));
  }
  CHECK(open_streams(loop) == 100);
  for (int round = 0; round < 3; ++round) {
    for (const UniquePeerFd& peer : peers) {
      peer.send("hello\n");
    }
    loop.settle();
    for (const UniquePeerFd& peer : peers) {
      CHECK(peer.recv_ready() == "hello\n");
    }
  }
  peers.clear();
  loop.settle();
  CHECK(open_streams(loop) == 0);
}

TEST_CASE("A38: a loop that closes drops its streams' callbacks uncalled") {
  const Token token;
  auto never = [alive = token.copy()](const auto&...) { FAIL_CHECK("it ran"); };
  const long lambda = token.alive();
  std::vector<RawPeer> pairs;
  {
    SteppedLoop loop;
    for (std::size_t i = 0; i < read_kinds().size(); ++i) {
      pairs.push_back(make_raw_pair(loop, {}, kUnix));
    }
    for (std::size_t i = 0; i < pairs.size(); ++i) {
      IOStream& stream = *pairs[i].stream;
      read_kinds()[i].start(stream, never);
      stream.write(std::string(std::size_t{8} * 1024 * 1024, 'x'), never);
      stream.set_close_callback(never);
      pairs[i].peer.send("abc\n");  // there is something to deliver
    }
    loop->close();
    CHECK(token.alive() == lambda);
    for (RawPeer& pair : pairs) {
      pair.peer.close();
      CHECK(pair.stream->closed());
      CHECK(pair.stream->error() == StreamErrc::loop_closed);
      CHECK(pair.stream->fileno() == -1);
    }
  }
  pairs.clear();
}

TEST_CASE("A39: a stream that outlives its loop is closed and inert") {
  StreamPtr stream;
  {
    SteppedLoop loop;
    RawPeer pair = make_raw_pair(loop, {}, kUnix);
    stream = pair.stream;
    stream->read_bytes(1, [](std::string_view) {});
    pair.peer.send("12345");
    loop.settle();
    loop->close();
  }
  auto never = [](const auto&...) { FAIL_CHECK("it ran"); };
  CHECK_THROWS_AS(stream->write("x", never), StreamClosedError);
  CHECK_THROWS_AS(stream->connect(Address("127.0.0.1", 1), never),
                  StreamClosedError);
  CHECK_THROWS_AS(stream->read_bytes(100, never), StreamClosedError);
  CHECK_THROWS_AS(stream->read_until("\n", never), StreamClosedError);
  CHECK_NOTHROW(stream->set_close_callback(never));
  CHECK_NOTHROW(stream->close());
  CHECK_NOTHROW(stream->close_after_writing());
  CHECK_NOTHROW(stream->set_nodelay(true));
  CHECK_FALSE(stream->reading());
  CHECK_FALSE(stream->writing());
  CHECK(stream->peer_address() == Address());
  CHECK(stream->error() == StreamErrc::loop_closed);
  stream.reset();
}

TEST_CASE("A40: what a capture's destructor does while the loop closes") {
  auto loop = std::make_unique<SteppedLoop>();
  RawPeer pair = make_raw_pair(*loop, {}, kUnix);
  RawPeer other = make_raw_pair(*loop, {}, kUnix);
  int destroyed = 0;
  const StreamPtr stream = pair.stream;
  const StreamPtr second = other.stream;
  AtEnd end([&destroyed, &loop = *loop, stream, second] {
    destroyed += 1;
    loop->add_callback([] { FAIL_CHECK("it ran"); });
    stream->close();
    second->close();
    stream->set_close_callback([] { FAIL_CHECK("it ran"); });
    CHECK_THROWS_AS(stream->write("x"), StreamClosedError);
  });
  stream->read_bytes(1, [end = std::move(end)](std::string_view) {});
  loop->loop().close();
  CHECK(destroyed == 1);
  pair.peer.close();
  other.peer.close();
  loop.reset();
}

TEST_CASE("What a capture's destructor does while its stream closes") {
  SteppedLoop loop;
  RawPeer pair = make_raw_pair(loop, {}, kUnix);
  RawPeer other = make_raw_pair(loop, {}, kUnix);
  const std::weak_ptr<IOStream> watch = pair.stream;
  int destroyed = 0;
  auto reenter = [&] {
    destroyed += 1;
    if (const StreamPtr stream = watch.lock()) {
      CHECK(stream->closed());
      stream->close();
      stream->set_close_callback(nullptr);
      CHECK_THROWS_AS(stream->write("x"), StreamClosedError);
    }
    other.stream.reset();
  };
  pair.stream->read_bytes(9, [end = AtEnd(reenter)](std::string_view) {});
  pair.stream->write(std::string(std::size_t{8} * 1024 * 1024, 'x'),
                     [end = AtEnd(reenter)] {});
  loop.settle();
  pair.stream->close();
  loop.settle();
  CHECK(destroyed == 2);
  CHECK(other.stream == nullptr);
  pair.stream.reset();
  CHECK(watch.expired());
  CHECK(open_streams(loop) == 0);
}

TEST_CASE("Ten thousand streams come and go, and leave no memory behind") {
  SteppedLoop loop;
  loop.bound_turns(100'000);
  for (int i = 0; i < 10'000; ++i) {
    RawPeer pair = make_raw_pair(loop, {}, kUnix);
    pair.stream->set_close_callback([stream = pair.stream] {});
    pair.stream->read_until("\n", [stream = pair.stream](std::string_view d) {
      stream->write(d, [stream] { stream->close(); });
    });
    pair.stream.reset();
    pair.peer.send("hello\n");
    loop.settle();
    CHECK(pair.peer.recv_all() == "hello\n");
  }
  CHECK(open_streams(loop) == 0);
  CHECK(loop->statistics().pooled_bytes < std::size_t{1024} * 1024);
}

TEST_SUITE_END();
