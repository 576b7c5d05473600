// What holds for every operation of a stream: when callbacks run, that there is
// one read at a time, which misuse is refused, and what a stream tells of
// itself.

#include <array>
#include <cstddef>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <doctest/doctest.h>

#include "waterspout/iostream.h"

#include "support/loop_fixture.h"
#include "support/read_kinds.h"
#include "support/stream_helpers.h"
#include "support/stream_pair.h"

using waterspout::Address;
using waterspout::IOLoop;
using waterspout::IOStream;
using waterspout::StreamErrc;
using waterspout::test::BorrowedLoop;
using waterspout::test::EventLog;
using waterspout::test::kUnix;
using waterspout::test::LoopFixture;
using waterspout::test::make_raw_pair;
using waterspout::test::make_stream_pair;
using waterspout::test::make_unix_sockets;
using waterspout::test::RawPeer;
using waterspout::test::read_kinds;
using waterspout::test::ReadKind;
using waterspout::test::SocketPair;
using waterspout::test::SteppedLoop;
using waterspout::test::StreamPair;
using waterspout::test::Token;
using waterspout::test::wrong_reads;

namespace {

// Watches calls of the library: a callback that runs inside one fails the test.
class NotInside {
 public:
  template <class Call>
  void call(const Call& operation) {
    inside_ = true;
    operation();
    inside_ = false;
  }

  auto callback() {
    return [this](auto&&...) {
      CHECK_FALSE(inside_);
      ran_ += 1;
    };
  }

  [[nodiscard]] int ran() const noexcept { return ran_; }

 private:
  bool inside_ = false;
  int ran_ = 0;
};

int option_of(int fd, int level, int name) {
  int value = 0;
  socklen_t size = sizeof(value);
  REQUIRE(getsockopt(fd, level, name, &value, &size) == 0);
  return value;
}

bool is_open(int fd) { return fcntl(fd, F_GETFD) >= 0; }

}  // namespace

TEST_SUITE_BEGIN("iostream_contract");

TEST_CASE_TEMPLATE("No callback runs inside the call that registered it", Loop,
                   LoopFixture, BorrowedLoop, SteppedLoop) {
  Loop loop;
  const RawPeer pair = make_raw_pair(loop, {}, kUnix);
  IOStream& stream = *pair.stream;
  NotInside guard;
  int expected = 0;
  auto calls = [&](const auto& operation, int callbacks = 1) {
    guard.call(operation);
    expected += callbacks;
    loop.run_until([&] { return guard.ran() >= expected; });
    CHECK(guard.ran() == expected);
  };

  pair.peer.send("x12\n3456789");
  calls([&] { stream.read_bytes(1, guard.callback()); });
  REQUIRE(stream.unread_bytes() == 10);  // what follows is buffered

  calls([&] { stream.read_until("\n", guard.callback()); });
  calls([&] { stream.read_bytes(0, guard.callback()); });
  calls([&] { stream.read_bytes(2, guard.callback()); });
  calls([&] { stream.read_bytes(1, {.partial = true}, guard.callback()); });
  calls(
      [&] {
        stream.read_bytes(2, {.streaming_callback = guard.callback()},
                          guard.callback());
      },
      2);
  calls([&] { stream.write("", guard.callback()); });
  calls([&] { stream.write("data", guard.callback()); });
  calls(
      [&] {
        stream.read_until_close({.streaming_callback = guard.callback()},
                                guard.callback());
        stream.set_close_callback(guard.callback());
        stream.close();
      },
      3);
  calls([&] { stream.set_close_callback(guard.callback()); });
  calls([&] { stream.read_until_close(guard.callback()); });
  calls([&] { stream.read_bytes(0, guard.callback()); });
}

TEST_CASE_TEMPLATE("Callbacks of one stream never nest", Loop, LoopFixture,
                   BorrowedLoop, SteppedLoop) {
  Loop loop;
  const RawPeer pair = make_raw_pair(loop, {}, kUnix);
  IOStream& stream = *pair.stream;
  EventLog log;
  int depth = 0;
  auto alone = [&](const char* name, auto action) {
    return [&, name, action](auto&&...) {
      depth += 1;
      CHECK(depth == 1);
      log.add(name);
      action();
      depth -= 1;
    };
  };
  auto nothing = [] {};
  stream.set_close_callback(alone("close", nothing));

  auto end = alone("piece", [&] { stream.close(); });
  auto third = alone("third", [&] {
    stream.read_until_close({.streaming_callback = end}, alone("end", nothing));
  });
  auto second = alone("second", [&] {
    stream.write("", alone("written", nothing));
    stream.read_bytes(0, third);
  });
  stream.read_until("\n", alone("first", [&] {
                      stream.write("abc", alone("sent", nothing));
                      stream.read_until("\n", second);
                    }));
  pair.peer.send("1\n2\n3");

  loop.run_until([&] { return log.text().ends_with("close"); });
  CHECK(depth == 0);
  for (const char* name : {"first", "second", "third", "sent", "written",
                           "piece", "end", "close"}) {
    CAPTURE(name);
    const auto place = log.text().find(name);
    REQUIRE(place != std::string::npos);
    CHECK(log.text().find(name, place + 1) == std::string::npos);
  }
}

TEST_CASE("A callback is destroyed promptly after it ran") {
  SteppedLoop loop;
  const Token token;
  bool looked = false;
  auto look_next_turn = [&, alive = token.copy()](auto&&...) {
    CHECK(token.alive() == 2);  // this one and the one that was copied
    loop->spawn_callback([&] {
      CHECK(token.alive() == 1);
      looked = true;
    });
  };
  auto has_looked = [&] {
    loop.settle();
    return std::exchange(looked, false);
  };

  for (const ReadKind& kind : read_kinds()) {
    CAPTURE(kind.name);
    const RawPeer pair = make_raw_pair(loop, {}, kUnix);
    kind.start(*pair.stream, look_next_turn);
    pair.peer.send("abc\n");
    pair.peer.shutdown();
    CHECK(has_looked());
    pair.stream->set_close_callback(look_next_turn);
    pair.stream->close();
    CHECK(has_looked());
  }
  const RawPeer pair = make_raw_pair(loop, {}, kUnix);
  pair.stream->write("x", look_next_turn);
  CHECK(has_looked());
}

TEST_CASE("A callback is destroyed promptly when it can run no more") {
  SteppedLoop loop;
  const RawPeer pair = make_raw_pair(loop, {}, kUnix);
  IOStream& stream = *pair.stream;
  const Token token;
  auto never = [alive = token.copy()](auto&&...) { FAIL_CHECK("it ran"); };
  const long lambda = token.alive();

  SUBCASE("as the stream was closed") {
    stream.read_bytes(4, {.streaming_callback = never}, never);
    CHECK(token.alive() == lambda + 2);
    stream.close();
  }
  SUBCASE("as the peer has closed") {
    stream.read_bytes(4, never);
    pair.peer.shutdown();
  }
  SUBCASE("as the close callback was taken back") {
    stream.set_close_callback(never);
    stream.set_close_callback(nullptr);
  }
  SUBCASE("as another close callback has replaced it") {
    stream.set_close_callback(never);
    stream.set_close_callback([] {});
  }
  SUBCASE("as the operation was refused") {
    stream.read_bytes(4, [](std::string_view) {});
    CHECK_THROWS_AS(stream.read_bytes(4, never), std::logic_error);
    CHECK(token.alive() == lambda);
  }

  loop.settle();
  CHECK(token.alive() == lambda);
  stream.close();
  loop.settle();
}

TEST_CASE("A second read is a logic_error and changes nothing") {
  std::vector<ReadKind> second_reads = read_kinds();
  second_reads.insert(second_reads.end(), wrong_reads().begin(),
                      wrong_reads().end());
  for (const ReadKind& first : read_kinds()) {
    CAPTURE(first.name);
    SteppedLoop loop;
    const RawPeer pair = make_raw_pair(loop, {}, kUnix);
    EventLog log;
    first.start(*pair.stream, [&](std::string_view) { log.add("done"); });
    loop.settle();
    for (const ReadKind& second : second_reads) {
      CAPTURE(second.name);
      CHECK_THROWS_AS(second.start(*pair.stream, log.read("never")),
                      std::logic_error);
      CHECK(pair.stream->reading());
      CHECK_FALSE(pair.stream->closed());
    }

    pair.peer.send("abc\n");
    pair.peer.shutdown();
    loop.settle();
    CHECK(log.text() == "done");
  }
}

TEST_CASE("A read is no longer pending when its callback runs") {
  for (const ReadKind& kind : read_kinds()) {
    CAPTURE(kind.name);
    SteppedLoop loop;
    const RawPeer pair = make_raw_pair(loop, {}, kUnix);
    bool ran = false;
    CHECK_FALSE(pair.stream->reading());
    kind.start(*pair.stream, [&](std::string_view) {
      ran = true;
      CHECK_FALSE(pair.stream->reading());
    });
    CHECK(pair.stream->reading());
    pair.peer.send("abc\n");
    pair.peer.shutdown();
    loop.settle();
    CHECK(ran);
    CHECK_FALSE(pair.stream->reading());
  }
}

TEST_CASE("A read with wrong arguments is an invalid_argument and no read") {
  SteppedLoop loop;
  const RawPeer pair = make_raw_pair(loop, {}, kUnix);
  EventLog log;
  for (const ReadKind& wrong : wrong_reads()) {
    CAPTURE(wrong.name);
    CHECK_THROWS_AS(wrong.start(*pair.stream, log.read("never")),
                    std::invalid_argument);
    CHECK_FALSE(pair.stream->reading());
  }

  pair.stream->read_until("\n", log.read("line"));
  pair.peer.send("abc\n");
  loop.settle();
  CHECK(log.text() == "line(abc\n)");
}

TEST_CASE(
    "IOStream::create throws invalid_argument for options out of bounds") {
  LoopFixture loop;
  const std::vector<IOStream::Options> wrong = {
      {.max_buffer_size = 0},
      {.read_chunk_size = 0},
      {.read_chunk_size = 131073},
  };
  for (const IOStream::Options& options : wrong) {
    CAPTURE(options.max_buffer_size);
    CAPTURE(options.read_chunk_size);
    CHECK_THROWS_AS(IOStream::create(loop, options), std::invalid_argument);
    const int fd = make_unix_sockets().client.release();
    CHECK_THROWS_AS(IOStream::create(loop, fd, options), std::invalid_argument);
    CHECK_FALSE(is_open(fd));  // it owns fd, also if it throws
  }
  CHECK_NOTHROW(IOStream::create(loop, {.read_chunk_size = 1}));
  CHECK_NOTHROW(IOStream::create(loop, {.read_chunk_size = 131072}));
}

TEST_CASE("A read_chunk_size past half of max_buffer_size is cut to that") {
  SteppedLoop loop;
  const RawPeer pair = make_raw_pair(
      loop, {.max_buffer_size = 100, .read_chunk_size = 65536}, kUnix);
  pair.peer.send(std::string(1000, 'x'));
  for (int i = 0; i < 10; ++i) {
    bool ran = false;
    pair.stream->read_bytes(
        100, [&](std::string_view data) { ran = data.size() == 100; });
    loop.settle();
    CHECK(ran);
    CHECK(pair.stream->unread_bytes() <= 100);
  }
  CHECK_FALSE(pair.stream->closed());
}

TEST_CASE("IOStream::create throws system_error for what is no socket") {
  LoopFixture loop;
  std::array<int, 2> ends{};
  REQUIRE(pipe2(ends.data(), O_CLOEXEC) == 0);

  CHECK_THROWS_AS(IOStream::create(loop, ends[0]), std::system_error);
  CHECK_FALSE(is_open(ends[0]));  // it owns fd, also if it throws
  CHECK_THROWS_AS(IOStream::create(loop, -1), std::system_error);
  close(ends[1]);
}

TEST_CASE("IOStream::create makes its socket non-blocking, close-on-exec") {
  LoopFixture loop;
  int fd = -1;
  {
    std::array<int, 2> ends{};
    REQUIRE(socketpair(AF_UNIX, SOCK_STREAM, 0, ends.data()) == 0);
    close(ends[1]);
    fd = ends[0];
    const auto stream = IOStream::create(loop, fd);
    CHECK((fcntl(fd, F_GETFL) & O_NONBLOCK) != 0);
    CHECK((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
    CHECK(stream->fileno() == fd);
  }
  CHECK_FALSE(is_open(fd));
}

TEST_CASE("IOStream::fileno is -1 once closed or not yet there") {
  LoopFixture loop;
  CHECK(IOStream::create(loop)->fileno() == -1);

  const StreamPair pair = make_stream_pair(loop);
  CHECK(is_open(pair.client->fileno()));
  pair.client->close();
  CHECK(pair.client->fileno() == -1);
}

TEST_CASE("IOStream::loop throws logic_error once that is gone") {
  std::shared_ptr<IOStream> stream;
  {
    LoopFixture loop;
    stream = make_raw_pair(loop).stream;
    CHECK(&stream->loop() == &loop.loop());
    loop->close();
  }
  CHECK_THROWS_AS(static_cast<void>(stream->loop()), std::logic_error);
  CHECK(stream->error() == StreamErrc::loop_closed);
}

TEST_CASE("IOStream::local_address and peer_address are both ends' addresses") {
  LoopFixture loop;
  const auto unconnected = IOStream::create(loop);
  CHECK(unconnected->local_address() == Address());
  CHECK(unconnected->peer_address() == Address());

  const StreamPair pair = make_stream_pair(loop);
  CHECK(pair.client->local_address().ip() == "127.0.0.1");
  CHECK(pair.client->local_address() == pair.server->peer_address());
  CHECK(pair.client->peer_address() == pair.server->local_address());
}

TEST_CASE("IOStream::set_nodelay switches TCP_NODELAY on or off") {
  LoopFixture loop;
  const StreamPair pair = make_stream_pair(loop);
  const int fd = pair.client->fileno();

  pair.client->set_nodelay(false);
  CHECK(option_of(fd, IPPROTO_TCP, TCP_NODELAY) == 0);
  pair.client->set_nodelay(true);
  CHECK(option_of(fd, IPPROTO_TCP, TCP_NODELAY) != 0);
}

TEST_CASE("IOStream::set_nodelay does nothing on a stream that is") {
  LoopFixture loop;
  SUBCASE("closed") {
    const StreamPair pair = make_stream_pair(loop);
    pair.client->close();
    CHECK_NOTHROW(pair.client->set_nodelay(true));
  }
  SUBCASE("no TCP socket") {
    const RawPeer pair = make_raw_pair(loop, {}, kUnix);
    CHECK_NOTHROW(pair.stream->set_nodelay(true));
  }
  SUBCASE("without a socket") {
    CHECK_NOTHROW(IOStream::create(loop)->set_nodelay(true));
  }
  SUBCASE("on a connection that is going") {
    RawPeer pair = make_raw_pair(loop);
    pair.peer.reset();
    CHECK_NOTHROW(pair.stream->set_nodelay(true));
  }
}

TEST_CASE("A stream tells how many bytes have arrived and are not read") {
  SteppedLoop loop;
  const RawPeer pair = make_raw_pair(loop, {}, kUnix);
  pair.peer.send("12345");
  pair.stream->read_bytes(2, [](std::string_view) {});
  CHECK(pair.stream->reading());
  loop.settle();
  CHECK_FALSE(pair.stream->reading());
  CHECK(pair.stream->unread_bytes() == 3);

  pair.stream->read_bytes(
      3, [&](std::string_view) { CHECK_FALSE(pair.stream->reading()); });
  loop.settle();
  CHECK(pair.stream->unread_bytes() == 0);
}

TEST_SUITE_END();
