// What becomes of written data when a stream closes: what was reported is sent,
// what was not is dropped, and close_after_writing waits for all.

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include <poll.h>

#include <doctest/doctest.h>

#include "waterspout/iostream.h"

#include "support/fd_count.h"
#include "support/loop_fixture.h"
#include "support/sockets.h"
#include "support/stream_helpers.h"
#include "support/stream_pair.h"
#include "support/virtual_clock.h"

using waterspout::Address;
using waterspout::IOStream;
using waterspout::LogLevel;
using waterspout::StreamClosedError;
using waterspout::StreamErrc;
using waterspout::test::accept_from;
using waterspout::test::bound_kernel_buffers;
using waterspout::test::EventLog;
using waterspout::test::fd_count;
using waterspout::test::kMegabyte;
using waterspout::test::kTcp;
using waterspout::test::kUnix;
using waterspout::test::listen_on_loopback;
using waterspout::test::LoopFixture;
using waterspout::test::make_pattern;
using waterspout::test::make_raw_pair;
using waterspout::test::RawPeer;
using waterspout::test::SteppedLoop;
using waterspout::test::Token;
using waterspout::test::UniquePeerFd;
using waterspout::test::VirtualClock;

using namespace std::chrono_literals;

namespace {

// Small writes, which are gathered; together less than may be gathered, and
// more than the bounded kernel takes.
constexpr std::size_t kSmall = 10'000;
constexpr std::size_t kGathered = 6 * kSmall;

template <class Loop>
RawPeer make_bounded_pair(Loop& loop, bool tcp = kUnix) {
  // A TCP window of a few kilobytes would open only every 200 ms.
  const int bytes = tcp ? 16'384 : 1;
  RawPeer pair = make_raw_pair(loop, {}, tcp);
  bound_kernel_buffers(pair.stream->fileno(), bytes);
  bound_kernel_buffers(pair.peer.get(), bytes);
  return pair;
}

bool is_readable(int fd) {
  pollfd state{.fd = fd, .events = POLLIN, .revents = 0};
  return poll(&state, 1, 0) == 1;
}

// Writes `data` in small pieces, the last of them with `callback`.
void write_small(IOStream& stream, std::string_view data,
                 IOStream::WriteCallback callback) {
  while (data.size() > kSmall) {
    stream.write(data.substr(0, kSmall));
    data.remove_prefix(kSmall);
  }
  stream.write(data, std::move(callback));
}

struct LingerTest {
  explicit LingerTest(bool tcp = kUnix)
      : pair(make_bounded_pair(loop, tcp)), stream(pair.stream) {
    loop.bound_turns(20'000);
  }

  // Runs `work` in a callback of the stream, as users do.
  void in_callback(std::function<void()> work) {
    stream->read_bytes(1,
                       [work = std::move(work)](std::string_view) { work(); });
    pair.peer.send("x");
    loop.settle();
  }

  // What the peer gets, a little at a time, until the end of the stream.
  std::string read_slowly() {
    std::string all;
    for (;;) {
      // TCP opens its window when it likes, and the stream goes on then.
      loop.run_until([&] { return is_readable(pair.peer.get()); });
      const auto some = pair.peer.recv_some(1000);
      if (!some) {
        return all;
      }
      all += *some;
      loop.settle();
    }
  }

  SteppedLoop loop;
  RawPeer pair;
  std::shared_ptr<IOStream> stream;
  EventLog log;
};

}  // namespace

TEST_SUITE_BEGIN("iostream_linger");

TEST_CASE("What was reported as written is never lost by close()") {
  for (const bool tcp : {kUnix, kTcp}) {
    CAPTURE(tcp);
    LingerTest t(tcp);
    const std::string data = make_pattern(kGathered);
    t.in_callback([&] {
      write_small(*t.stream, data, [&] {
        t.log.add("written");
        t.stream->close();
      });
    });
    REQUIRE(t.log.text() == "written");  // though the kernel is full
    CHECK(t.stream->closed());
    CHECK(t.stream->fileno() == -1);
    CHECK_FALSE(t.stream->writing());
    CHECK(t.read_slowly() == data);
  }
}

TEST_CASE("What was reported is sent, and nothing that came after") {
  LingerTest t;
  const std::string data = make_pattern(kGathered);
  t.in_callback([&] {
    write_small(*t.stream, data, [&] {
      t.log.add("written");
      // Past what may be gathered: the kernel refuses it, so it waits.
      t.stream->write(make_pattern(kMegabyte), t.log.note("never"));
      t.stream->close();
    });
  });
  REQUIRE(t.log.text() == "written");
  const std::string got = t.read_slowly();
  CHECK(got.substr(0, data.size()) == data);
  CHECK(got.size() < kMegabyte);
  CHECK(t.log.text() == "written");
}

TEST_CASE("Lingering output survives its stream") {
  LingerTest t;
  const std::string data = make_pattern(kGathered);
  t.in_callback([&] {
    write_small(*t.stream, data, [&] {
      t.log.add("written");
      t.stream->close();
      t.stream.reset();
      t.pair.stream.reset();
    });
  });
  REQUIRE(t.log.text() == "written");
  CHECK(t.read_slowly() == data);
}

TEST_CASE("What was reported is sent though the next callback throws") {
  LingerTest t;
  t.loop.expect_log(LogLevel::error, "Exception in callback");
  const std::string data = make_pattern(kGathered);
  t.in_callback([&] {
    write_small(*t.stream, data,
                [] { throw std::runtime_error("on purpose"); });
  });
  CHECK(t.stream->error() == StreamErrc::uncaught_exception);
  CHECK(t.read_slowly() == data);
}

TEST_CASE("An answer arrives where the callback that reports it closes") {
  for (const bool tcp : {kUnix, kTcp}) {
    CAPTURE(tcp);
    LingerTest t(tcp);
    t.stream->read_until("\n", [&](std::string_view) {
      t.stream->write("answer", [&] { t.stream->close(); });
    });
    t.pair.peer.send("question\n");
    // The peer says no more, as `printf question | nc` does.
    t.pair.peer.shutdown();
    t.loop.run_until([&] { return t.stream->closed(); });
    CHECK(t.pair.peer.recv_all() == "answer");
  }
}

TEST_CASE("Lingering output is given up when the peer has closed") {
  LingerTest t;
  const std::size_t open = fd_count();
  t.in_callback([&] {
    write_small(*t.stream, make_pattern(kGathered), [&] { t.stream->close(); });
  });
  CHECK(fd_count() == open);
  t.pair.peer.close();
  t.loop.run_until([&] { return fd_count() == open - 2; });
}

TEST_CASE("Lingering output ends with its loop") {
  LingerTest t;
  t.in_callback([&] {
    write_small(*t.stream, make_pattern(kGathered), [&] { t.stream->close(); });
  });
  CHECK(t.loop->statistics().streams == 0);
  t.loop->close();
  CHECK(t.pair.peer.recv_all().size() < kGathered);
}

TEST_CASE("Lingering output is given up after ten seconds") {
  VirtualClock clock;
  LoopFixture loop(clock.options());
  RawPeer pair = make_bounded_pair(loop);
  const std::size_t open = fd_count();
  pair.stream->read_bytes(1, [&](std::string_view) {
    write_small(*pair.stream, make_pattern(kGathered),
                [&] { pair.stream->close(); });
  });
  pair.peer.send("x");
  loop.run_turns(5);
  REQUIRE(pair.stream->closed());
  const auto then = loop->time();

  loop->call_at(then + 9900ms, [&] { CHECK(fd_count() == open); });
  loop->call_at(then + 10100ms, [&] {
    CHECK(fd_count() == open - 1);
    loop.stop();
  });
  loop.run();
  CHECK(pair.peer.recv_all().size() < kGathered);
}

TEST_CASE("IOStream::close drops writes whose callback did not run") {
  LingerTest t;
  const Token token;
  const std::string data = make_pattern(kMegabyte);
  t.stream->write(data, [alive = token.copy()] { FAIL_CHECK("it ran"); });
  t.stream->write("more", [alive = token.copy()] { FAIL_CHECK("it ran"); });
  t.loop.settle();
  CHECK(t.stream->writing());
  CHECK(token.alive() == 2);

  t.stream->close();
  CHECK_FALSE(t.stream->writing());
  CHECK(t.stream->unsent_bytes() == 0);
  const std::string got = t.read_slowly();
  CHECK(got.size() < data.size());
  CHECK(data.starts_with(got));
  CHECK(token.alive() == 0);
}

TEST_CASE("IOStream::close_after_writing closes when all has been taken") {
  LingerTest t;
  const std::string data = make_pattern(kMegabyte);
  t.stream->set_close_callback([&] {
    t.log.add("close");
    CHECK(t.stream->error() == std::error_code());
  });
  t.stream->write(data, t.log.note("written"));
  t.stream->close_after_writing();
  t.loop.settle();
  CHECK_FALSE(t.stream->closed());
  CHECK(t.log.empty());

  CHECK(t.read_slowly() == data);
  CHECK(t.stream->closed());
  CHECK(t.log.text() == "written close");
}

TEST_CASE("IOStream::close_after_writing closes at once with nothing to send") {
  LingerTest t;
  t.stream->set_close_callback(t.log.note("close"));
  t.stream->close_after_writing();
  CHECK(t.stream->closed());
  CHECK(t.log.empty());
  t.stream->close_after_writing();
  t.loop.settle();
  CHECK(t.log.text() == "close");
}

TEST_CASE("IOStream::close_after_writing in a callback sends what it wrote") {
  LingerTest t;
  const std::string data = make_pattern(kMegabyte);
  for (const std::size_t size : {5UL, kGathered, kMegabyte}) {
    CAPTURE(size);
    LingerTest each;
    each.in_callback([&] {
      each.stream->write(data.substr(0, size));
      each.stream->close_after_writing();
    });
    CHECK(each.read_slowly() == data.substr(0, size));
    CHECK(each.stream->closed());
  }
}

TEST_CASE("After close_after_writing no more writes are taken; reads go on") {
  LingerTest t;
  t.stream->write(make_pattern(kMegabyte));
  t.stream->close_after_writing();
  CHECK_THROWS_AS(t.stream->write("x"), StreamClosedError);
  CHECK_THROWS_AS(t.stream->write(""), StreamClosedError);

  t.stream->read_until("\n", [&](std::string_view line) {
    t.log.read("line")(line);
    t.stream->read_bytes(100, t.log.read("never"));
  });
  t.stream->set_close_callback(t.log.note("close"));
  t.pair.peer.send("one\ntwo");
  t.loop.settle();
  CHECK(t.log.text() == "line(one\n)");

  CHECK(t.read_slowly().size() == kMegabyte);
  CHECK(t.log.text() == "line(one\n) close");
}

TEST_CASE("IOStream::close_after_writing waits for the connection") {
  LoopFixture loop;
  std::uint16_t port = 0;
  const UniquePeerFd listener(listen_on_loopback(port));
  const auto stream = IOStream::create(loop);
  EventLog log;
  stream->set_close_callback([&] {
    log.add("close");
    loop.stop();
  });

  stream->connect(Address("127.0.0.1", port), log.note("connected"));
  stream->write("hello", log.note("written"));
  stream->close_after_writing();
  CHECK_FALSE(stream->closed());
  CHECK_THROWS_AS(stream->write("x"), StreamClosedError);

  loop.run();
  CHECK(log.text() == "connected written close");
  CHECK(stream->error() == std::error_code());
  CHECK(accept_from(listener.get()).recv_all() == "hello");
}

TEST_CASE("IOStream::close_after_writing is overtaken") {
  LingerTest t(kTcp);
  t.stream->set_close_callback(t.log.note("close"));
  t.stream->write(make_pattern(kMegabyte), t.log.note("never"));
  t.stream->close_after_writing();
  SUBCASE("by close(), which drops what is not reported") {
    t.stream->close();
    CHECK(t.stream->error() == std::error_code());
  }
  SUBCASE("by a failure of the connection") {
    t.loop.settle();
    t.pair.peer.reset();
    t.loop.run_until([&] { return t.stream->closed(); });
    CHECK(t.stream->error() != std::error_code());
  }
  t.loop.settle();
  CHECK(t.log.text() == "close");
}

TEST_CASE("Unsent data keeps a stream that nobody holds until it is sent") {
  LingerTest t;
  const std::string data = make_pattern(kMegabyte);
  SUBCASE("with a callback") { t.stream->write(data, t.log.note("written")); }
  SUBCASE("without one") {
    t.stream->write(data);
    t.log.add("written");
  }
  t.stream.reset();
  t.pair.stream.reset();
  t.loop.settle();
  CHECK(t.loop->statistics().streams == 1);
  CHECK(t.read_slowly() == data);
  CHECK(t.log.text() == "written");
  CHECK(t.loop->statistics().streams == 0);
}

TEST_SUITE_END();
