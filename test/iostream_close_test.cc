// The end of a stream: when the close callback runs and what error() says, how
// the peer's end shows, and what is still readable afterwards.

#include <array>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>

#include <doctest/doctest.h>

#include "waterspout/iostream.h"

#include "support/loop_fixture.h"
#include "support/stream_helpers.h"
#include "support/stream_pair.h"

using waterspout::BaseIOStream;
using waterspout::IOStream;
using waterspout::StreamClosedError;
using waterspout::StreamErrc;
using waterspout::test::BorrowedLoop;
using waterspout::test::EventLog;
using waterspout::test::kTcp;
using waterspout::test::kUnix;
using waterspout::test::LoopFixture;
using waterspout::test::make_raw_pair;
using waterspout::test::over_tls;
using waterspout::test::RawPeer;
using waterspout::test::SteppedLoop;
using waterspout::test::Token;
using waterspout::test::wait_readable;

namespace {

struct CloseTest {
  explicit CloseTest(bool tcp = kUnix)
      : pair(make_raw_pair(loop, {}, tcp)), stream(*pair.stream) {
    stream.set_close_callback(log.note("close"));
  }

  void send(std::string_view data) {
    pair.peer.send(data);
    loop.settle();
  }

  void until_closed() {
    loop.run_until([&] { return log.text().ends_with("close"); });
    loop.settle();
  }

  SteppedLoop loop;
  RawPeer pair;
  IOStream& stream;
  EventLog log;
};

// Reads lines, one in the callback of the other, as long as there are any.
void read_lines(CloseTest& t) {
  t.stream.read_until("\n", [&](std::string_view line) {
    t.log.read("line")(line.substr(0, line.size() - 1));
    try {
      read_lines(t);
    } catch (const StreamClosedError&) {
      t.log.add("no more");
    }
  });
}

}  // namespace

TEST_SUITE_BEGIN("iostream_close");

TEST_CASE_TEMPLATE("The close callback runs once, after all others", Loop,
                   LoopFixture, BorrowedLoop, SteppedLoop) {
  Loop loop;
  const RawPeer pair = make_raw_pair(loop, {}, kUnix);
  EventLog log;
  pair.stream->set_close_callback(log.note("close"));
  pair.stream->read_until_close({.streaming_callback = log.read("piece")},
                                log.read("end"));
  pair.stream->write("data", log.note("written"));
  pair.peer.send("123");
  pair.peer.shutdown();

  loop.run_until([&] { return log.text().ends_with("close"); });
  loop.run_until([&] { return loop->statistics().callbacks == 0; });
  CHECK(log.text() == "written piece(123) end() close");
  CHECK(pair.stream->error() == std::error_code());
  CHECK(pair.stream->error_message().empty());
  CHECK(pair.stream->exception() == nullptr);
}

TEST_CASE("IOStream::close never runs the close callback itself") {
  CloseTest t;
  t.stream.close();
  CHECK(t.stream.closed());
  CHECK(t.log.empty());
  t.loop.settle();
  CHECK(t.log.text() == "close");
}

TEST_CASE("A second close() does nothing") {
  CloseTest t;
  SUBCASE("after an orderly one") {
    t.stream.close();
    t.stream.close(std::make_error_code(std::errc::timed_out));
    CHECK(t.stream.error() == std::error_code());
  }
  SUBCASE("after one with an error") {
    t.stream.close(std::make_error_code(std::errc::timed_out));
    t.stream.close(std::make_error_code(std::errc::io_error));
    t.stream.close();
    CHECK(t.stream.error() == std::errc::timed_out);
  }
  SUBCASE("in the close callback") {
    t.stream.set_close_callback([&] {
      t.log.add("close");
      t.stream.close(std::make_error_code(std::errc::io_error));
      CHECK(t.stream.error() == std::error_code());
    });
    t.stream.close();
  }
  t.loop.settle();
  t.stream.close();
  t.loop.settle();
  CHECK(t.log.text() == "close");
}

TEST_CASE("With an error, close() makes that what error() says") {
  CloseTest t;
  t.stream.close(StreamErrc::unsatisfiable_read);
  CHECK(t.stream.error() == StreamErrc::unsatisfiable_read);
  CHECK(t.stream.error_message().starts_with("close: "));
  CHECK_THROWS_AS(t.stream.read_bytes(1, t.log.read("?")), StreamClosedError);
  try {
    t.stream.read_bytes(1, t.log.read("?"));
  } catch (const StreamClosedError& error) {
    CHECK(error.cause() == StreamErrc::unsatisfiable_read);
  }
  t.until_closed();
  CHECK(t.log.text() == "close");
}

TEST_CASE("A null close callback takes it back") {
  CloseTest t;
  t.stream.set_close_callback(nullptr);
  t.stream.close();
  t.loop.settle();
  CHECK(t.log.empty());

  CloseTest closed;
  closed.stream.close();
  closed.stream.set_close_callback(nullptr);  // it has not run yet
  closed.loop.settle();
  CHECK(closed.log.empty());
}

TEST_CASE("A close callback set on a closed stream is called, once") {
  CloseTest t;
  t.stream.close();
  t.loop.settle();
  t.stream.set_close_callback(t.log.note("again"));
  CHECK(t.log.text() == "close");
  t.loop.settle();
  CHECK(t.log.text() == "close again");
  t.loop.settle();
  CHECK(t.log.text() == "close again");
}

TEST_CASE("close() in a callback is safe, and again, and again") {
  CloseTest t;
  auto close_thrice = [&](std::string_view name) {
    t.log.add(name);
    for (int i = 0; i < 3; ++i) {
      t.stream.close();
      CHECK(t.stream.closed());
    }
  };
  SUBCASE("of a read") {
    t.stream.read_bytes(1, [&](std::string_view) { close_thrice("callback"); });
    t.send("12");
  }
  SUBCASE("of a piece") {
    t.stream.read_bytes(
        2,
        {.streaming_callback =
             [&](std::string_view) { close_thrice("callback"); }},
        t.log.read("never"));
    t.send("1");
  }
  SUBCASE("of a write") {
    t.stream.write("1", [&] { close_thrice("callback"); });
    t.loop.settle();
  }
  SUBCASE("of another stream") {
    const RawPeer other = make_raw_pair(t.loop, {}, kUnix);
    other.stream->write("1", [&] { close_thrice("callback"); });
    t.loop.settle();
  }
  SUBCASE("of the loop") {
    t.loop->spawn_callback([&] { close_thrice("callback"); });
    t.loop.settle();
  }
  CHECK(t.log.text() == "callback close");
}

TEST_CASE("closed() is true before callbacks with data that had arrived") {
  CloseTest t;
  t.pair.peer.send("12");
  t.pair.peer.shutdown();
  t.stream.read_until_close([&](std::string_view data) {
    t.log.read("end")(data);
    CHECK(t.stream.closed());
    CHECK_THROWS_AS(t.stream.read_bytes(1, t.log.read("never")),
                    StreamClosedError);
    CHECK_THROWS_AS(t.stream.write("x"), StreamClosedError);
  });
  t.until_closed();
  CHECK(t.log.text() == "end(12) close");
}

TEST_CASE("N6: lines that came before the peer's end are all delivered") {
  for (const int lines : {0, 1, 2, 1000}) {
    for (const bool tcp : {kUnix, kTcp}) {
      CAPTURE(lines);
      CAPTURE(tcp);
      CloseTest t(tcp);
      std::string sent;
      std::string wanted;
      for (int i = 0; i < lines; ++i) {
        sent += std::to_string(i) + "\n";
        wanted += "line(" + std::to_string(i) + ") ";
      }
      t.pair.peer.send(sent);
      t.pair.peer.shutdown();
      read_lines(t);
      t.until_closed();
      // Where the end shows with the last bytes, the next read is refused.
      const std::string got = t.log.text();
      const bool right =
          got == wanted + "close" || got == wanted + "no more close";
      CHECK(right);
      CHECK(t.stream.error() == std::error_code());
    }
  }
}

TEST_CASE(
    "N7: after the end, an incomplete line is left for read_until_close") {
  CloseTest t;
  t.stream.read_until("\n", t.log.read("never"));
  t.pair.peer.send("incomplete");
  t.pair.peer.shutdown();
  t.until_closed();
  CHECK(t.stream.unread_bytes() == 10);
  t.stream.read_until_close(t.log.read("left"));
  t.loop.settle();
  CHECK(t.log.text() == "close left(incomplete)");
}

TEST_CASE("N1: a reset of an idle stream is seen with a close callback") {
  CloseTest t(kTcp);
  t.loop.settle();
  t.pair.peer.reset();
  t.until_closed();
  CHECK(t.stream.error() == std::errc::connection_reset);
  CHECK(t.stream.error_message().ends_with("Connection reset by peer"));
}

TEST_CASE("N2: a reset while a read is pending drops the read") {
  CloseTest t(kTcp);
  t.stream.read_bytes(4, t.log.read("never"));
  SUBCASE("without data") {}
  SUBCASE("with too little") {
    t.send("123");
    t.loop.run_until([&] { return t.stream.unread_bytes() == 3; });
  }
  t.pair.peer.reset();
  t.until_closed();
  CHECK(t.log.text() == "close");
  CHECK(t.stream.error() == std::errc::connection_reset);
}

TEST_CASE("N3: a read is satisfied from what came before a reset") {
  CloseTest t(kTcp);
  t.pair.peer.send("12345");
  t.pair.peer.reset();
  wait_readable(t.stream.fileno());
  t.stream.read_bytes(2, [&](std::string_view data) {
    t.log.read("first")(data);
    t.stream.read_bytes(3, t.log.read("second"));
  });
  t.until_closed();
  CHECK(t.log.text() == "first(12) second(345) close");
  CHECK(t.stream.error() == std::errc::connection_reset);
}

TEST_CASE("N4: an answer is delivered though the peer left ours unread") {
  CloseTest t(kTcp);
  t.stream.write("unread");
  t.loop.settle();
  t.pair.peer.send("answer");
  t.pair.peer.close();
  t.stream.read_bytes(6, t.log.read("read"));
  t.until_closed();
  CHECK(t.log.text() == "read(answer) close");
  if (!over_tls()) {  // there its end in order was read first
    CHECK(t.stream.error() == std::errc::connection_reset);
  }
}

TEST_CASE("N5: the peer's end while a read is pending is no error") {
  for (const bool tcp : {kUnix, kTcp}) {
    CAPTURE(tcp);
    CloseTest t(tcp);
    t.stream.read_bytes(4, t.log.read("never"));
    t.loop.settle();
    t.pair.peer.close();
    t.until_closed();
    CHECK(t.log.text() == "close");
    CHECK(t.stream.error() == std::error_code());
  }
}

TEST_CASE("N8: a peer that ends its side ends the stream once that is read") {
  CloseTest t(kTcp);
  t.stream.read_until("\n", t.log.read("line"));
  t.pair.peer.send("question\n");
  t.pair.peer.shutdown();
  t.until_closed();
  CHECK(t.log.text() == "line(question\n) close");
  CHECK(t.stream.error() == std::error_code());
  CHECK(t.pair.peer.recv_all().empty());
}

TEST_CASE("N41: data and the end in one segment satisfy an exact read") {
  CloseTest t(kTcp);
  t.stream.read_bytes(5, t.log.read("read"));
  t.pair.peer.send("12345");
  t.pair.peer.shutdown();
  t.until_closed();
  CHECK(t.log.text() == "read(12345) close");
}

TEST_CASE("With a close callback the peer's close is noticed without a read") {
  for (const bool tcp : {kUnix, kTcp}) {
    CAPTURE(tcp);
    CloseTest t(tcp);
    t.loop.settle();
    t.pair.peer.close();
    t.until_closed();
    CHECK(t.log.text() == "close");
    CHECK(t.stream.error() == std::error_code());
  }
}

TEST_CASE("A close callback set after the peer has closed notices that") {
  for (const bool tcp : {kUnix, kTcp}) {
    CAPTURE(tcp);
    CloseTest t(tcp);
    t.stream.set_close_callback(nullptr);
    t.loop.settle();
    t.pair.peer.close();
    t.loop.settle();
    CHECK_FALSE(t.stream.closed());
    t.stream.set_close_callback(t.log.note("close"));
    t.until_closed();
    CHECK(t.log.text() == "close");
    CHECK(t.stream.error() == std::error_code());
  }
}

TEST_CASE("Without a close callback an idle stream does not look") {
  SteppedLoop loop;
  RawPeer pair = make_raw_pair(loop, {}, kUnix);
  pair.peer.send("12");
  pair.peer.close();
  loop.settle();
  const auto turns = loop->statistics().turns;
  for (int i = 0; i < 5; ++i) {
    loop.step();
  }
  CHECK_FALSE(pair.stream->closed());
  CHECK(pair.stream->unread_bytes() == 0);
  CHECK(loop->statistics().turns < turns + 5);  // nor does it spin
}

TEST_CASE("While unread data is buffered the peer's close is not noticed") {
  CloseTest t;
  t.stream.read_bytes(1, t.log.read("first"));
  t.send("12");
  t.pair.peer.close();
  const auto turns = t.loop->statistics().turns;
  for (int i = 0; i < 10; ++i) {
    t.loop.step();
  }
  CHECK(t.loop->statistics().turns - turns < 5);  // nor does it spin
  CHECK(t.log.text() == "first(1)");
  CHECK_FALSE(t.stream.closed());

  t.stream.read_bytes(1, t.log.read("second"));
  t.until_closed();
  CHECK(t.log.text() == "first(1) second(2) close");
}

TEST_CASE("Data that nobody asked for does not make an idle stream spin") {
  CloseTest t;
  t.send("unasked for");
  const auto turns = t.loop->statistics().turns;
  for (int i = 0; i < 10; ++i) {
    t.loop.step();
  }
  CHECK(t.loop->statistics().turns - turns < 5);
  t.stream.read_bytes(7, t.log.read("read"));
  t.loop.settle();
  CHECK(t.log.text() == "read(unasked)");
  t.stream.close();
  t.until_closed();
}

TEST_SUITE_END();
