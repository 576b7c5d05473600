// The bounds on reading: max_bytes and max_buffer_size, one below, at and one
// past each; and sizes at the ends of their type.

#include <cstddef>
#include <functional>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include <doctest/doctest.h>

#include "waterspout/iostream.h"

#include "support/stream_helpers.h"
#include "support/stream_pair.h"

using waterspout::IOStream;
using waterspout::LogLevel;
using waterspout::StreamErrc;
using waterspout::test::EventLog;
using waterspout::test::kUnix;
using waterspout::test::make_raw_pair;
using waterspout::test::RawPeer;
using waterspout::test::SteppedLoop;

namespace {

constexpr std::size_t kMax = std::numeric_limits<std::size_t>::max();
constexpr std::size_t kBuffer = 1000;
constexpr IOStream::Options kSmallBuffer{.max_buffer_size = kBuffer,
                                         .read_chunk_size = kBuffer / 2};

struct LimitTest {
  explicit LimitTest(IOStream::Options options = {})
      : pair(make_raw_pair(loop, options, kUnix)), stream(*pair.stream) {
    stream.set_close_callback(log.note("close"));
    loop.bound_turns(20'000);
  }

  ~LimitTest() {
    stream.close();
    loop.settle();
  }

  void send(std::string_view data) {
    pair.peer.send(data);
    loop.settle();
  }

  SteppedLoop loop;
  RawPeer pair;
  IOStream& stream;
  EventLog log;
};

// The ways by which `text` can come to a read that `start` asks for.
struct Arrival {
  const char* name;
  std::function<void(LimitTest&, std::string_view text,
                     const std::function<void()>& start)>
      run;
};

const std::vector<Arrival>& arrivals() {
  static const std::vector<Arrival> all = {
      {"after the read was asked for",
       [](LimitTest& t, std::string_view text, const auto& start) {
         start();
         t.loop.settle();
         t.send(text);
       }},
      {"byte for byte",
       [](LimitTest& t, std::string_view text, const auto& start) {
         start();
         for (const char byte : text) {
           if (!t.stream.closed()) {
             t.send(std::string_view(&byte, 1));
           }
         }
       }},
      {"in the kernel before",
       [](LimitTest& t, std::string_view text, const auto& start) {
         t.pair.peer.send(text);
         start();
         t.loop.settle();
       }},
      {"in the buffer before",
       [](LimitTest& t, std::string_view text, const auto& start) {
         t.stream.read_bytes(1, [](std::string_view) {});
         t.send("-" + std::string(text));
         CHECK(t.stream.unread_bytes() == text.size());
         start();
         t.loop.settle();
       }},
  };
  return all;
}

// What reading `text` until "ab" within `limit` came to.
std::string read_within(std::size_t limit, std::string_view text,
                        const Arrival& arrival, bool closes) {
  LimitTest t;
  if (closes) {
    t.loop.expect_log(LogLevel::info, "read_until");
  }
  arrival.run(t, text, [&] {
    t.stream.read_until("ab", {.max_bytes = limit}, t.log.read("got"));
  });
  CHECK(t.stream.closed() == closes);
  CHECK(t.stream.reading() == t.log.empty());
  if (closes) {
    CHECK(t.stream.error() == StreamErrc::unsatisfiable_read);
  }
  return t.log.text();
}

}  // namespace

TEST_SUITE_BEGIN("iostream_limits");

TEST_CASE("max_bytes bounds the result, its delimiter included") {
  for (const Arrival& arrival : arrivals()) {
    CAPTURE(arrival.name);
    CHECK(read_within(7, "xxxxab", arrival, false) == "got(xxxxab)");
    CHECK(read_within(6, "xxxxab", arrival, false) == "got(xxxxab)");
    CHECK(read_within(5, "xxxxab", arrival, true) == "close");
    CHECK(read_within(4, "xxxxab", arrival, true) == "close");
    CHECK(read_within(0, "xxxxab", arrival, true) == "close");
    CHECK(read_within(kMax, "xxxxab", arrival, false) == "got(xxxxab)");
    CHECK(read_within(kMax - 1, "xxxxab", arrival, false) == "got(xxxxab)");
    CHECK(read_within(6, "xxxxabyyy", arrival, false) == "got(xxxxab)");
  }
}

TEST_CASE("Without a delimiter the read waits at max_bytes, closes past it") {
  for (const Arrival& arrival : arrivals()) {
    CAPTURE(arrival.name);
    CHECK(read_within(6, "xxxxx", arrival, false).empty());
    CHECK(read_within(6, "xxxxxx", arrival, false).empty());
    CHECK(read_within(6, "xxxxxa", arrival, false).empty());
    CHECK(read_within(6, "xxxxxxa", arrival, true) == "close");
    CHECK(read_within(6, "xxxxxab", arrival, true) == "close");
  }
}

TEST_CASE("Unread data stays readable after max_bytes was passed") {
  LimitTest t;
  t.loop.expect_log(LogLevel::info, "read_until");
  t.stream.read_until("\n", {.max_bytes = 4}, t.log.read("never"));
  t.send("12345");
  t.stream.read_until_close(t.log.read("left"));
  t.loop.settle();
  CHECK(t.log.text() == "close left(12345)");
}

TEST_CASE("A max_bytes does not outlive its read") {
  LimitTest t;
  t.stream.read_until("\n", {.max_bytes = 2}, t.log.read("short"));
  t.send("1\n");
  t.stream.read_until("\n", t.log.read("long"));
  t.send("a longer line\n");
  CHECK(t.log.text() == "short(1\n) long(a longer line\n)");
}

TEST_CASE("Passing max_buffer_size closes with read_buffer_full") {
  LimitTest t(kSmallBuffer);
  t.stream.read_until("\n", t.log.read("never"));
  t.send(std::string(kBuffer - 1, 'x'));
  CHECK_FALSE(t.stream.closed());
  t.send("x");
  CHECK_FALSE(t.stream.closed());
  CHECK(t.stream.unread_bytes() == kBuffer);
  CHECK(t.log.empty());

  t.loop.expect_log(LogLevel::info, "");
  t.send("x");
  CHECK(t.log.text() == "close");
  CHECK(t.stream.error() == StreamErrc::read_buffer_full);
}

TEST_CASE("A line as long as max_buffer_size is read") {
  LimitTest t(kSmallBuffer);
  t.stream.read_until("\n", t.log.note("line"));
  t.send(std::string(kBuffer - 1, 'x'));
  t.send("\n");
  CHECK(t.log.text() == "line");
}

TEST_CASE("IOStream::read_bytes of more than max_buffer_size") {
  LimitTest t(kSmallBuffer);
  std::size_t got = 0;
  auto count = [&](std::string_view data) { got += data.size(); };

  SUBCASE("closes when that much has arrived") {
    t.stream.read_bytes(kBuffer + 1, t.log.read("never"));
    t.send(std::string(kBuffer, 'x'));
    CHECK_FALSE(t.stream.closed());
    t.loop.expect_log(LogLevel::info, "");
    t.send("x");
    CHECK(t.log.text() == "close");
    CHECK(t.stream.error() == StreamErrc::read_buffer_full);
  }
  SUBCASE("completes in pieces with a streaming callback") {
    t.stream.read_bytes(10 * kBuffer, {.streaming_callback = count},
                        t.log.read("end"));
    t.send(std::string(10 * kBuffer, 'x'));
    CHECK(t.log.text() == "end()");
    CHECK(got == 10 * kBuffer);
  }
  SUBCASE("completes in part") {
    t.stream.read_bytes(10 * kBuffer, {.partial = true}, count);
    t.send("12345");
    CHECK(got == 5);
  }
  SUBCASE("but not of just as much") {
    t.stream.read_bytes(kBuffer, count);
    t.send(std::string(10 * kBuffer, 'x'));
    CHECK(got == kBuffer);
    CHECK(t.stream.unread_bytes() <= kBuffer);
  }
}

TEST_CASE("IOStream::read_until_close of more than max_buffer_size") {
  LimitTest t(kSmallBuffer);
  std::size_t got = 0;

  SUBCASE("closes, and completes for that reason") {
    t.loop.expect_log(LogLevel::info, "");
    t.stream.read_until_close([&](std::string_view data) {
      got = data.size();
      t.log.add("end");
    });
    t.send(std::string(2 * kBuffer, 'x'));
    CHECK(t.log.text() == "end close");
    CHECK(got >= kBuffer);
    CHECK(got <= kBuffer + kBuffer / 2);
    CHECK(t.stream.error() == StreamErrc::read_buffer_full);
  }
  SUBCASE("completes in pieces with a streaming callback") {
    t.stream.read_until_close(
        {.streaming_callback =
             [&](std::string_view piece) { got += piece.size(); }},
        t.log.read("end"));
    t.send(std::string(20 * kBuffer, 'x'));
    t.pair.peer.shutdown();
    t.loop.settle();
    CHECK(t.log.text() == "end() close");
    CHECK(got == 20 * kBuffer);
  }
}

TEST_CASE("A length at the end of its type is as good as for ever") {
  const std::size_t int_max = std::numeric_limits<int>::max();
  for (const std::size_t count : {kMax, kMax - 1, int_max + 1, int_max}) {
    CAPTURE(count);
    LimitTest t;
    t.stream.read_until("0", {.max_bytes = count}, t.log.read("line"));
    t.send("0");
    t.stream.read_bytes(count, {.partial = true}, t.log.read("part"));
    t.send("12");
    CHECK(t.log.text() == "line(0) part(12)");
    t.log.clear();

    t.stream.read_bytes(count, t.log.read("never"));
    t.send("345");
    CHECK(t.stream.reading());
    t.pair.peer.shutdown();
    t.loop.settle();
    t.stream.read_until_close(t.log.read("left"));
    t.loop.settle();
    CHECK(t.log.text() == "close left(345)");

    LimitTest streaming;
    streaming.stream.read_bytes(
        count, {.streaming_callback = streaming.log.read("piece")},
        streaming.log.read("never"));
    streaming.send("1234");
    streaming.pair.peer.shutdown();
    streaming.loop.settle();
    CHECK(streaming.log.text() == "piece(1234) close");
  }
}

TEST_CASE("A limit on buffers may be as large as its type") {
  LimitTest t({.max_buffer_size = kMax, .max_write_buffer_size = kMax});
  t.stream.write("1234");
  t.stream.read_until("4", t.log.read("line"));
  t.send("1234");
  CHECK(t.log.text() == "line(1234)");
  CHECK(t.pair.peer.recv() == "1234");
}

TEST_CASE("Reading stops at what the pending read needs") {
  LimitTest t(kSmallBuffer);
  const std::string flood(100 * kBuffer, 'x');
  auto bounded = [&] {
    t.loop.settle();
    CHECK_FALSE(t.stream.closed());
    CHECK(t.stream.unread_bytes() <= kBuffer);
  };

  CHECK(t.pair.peer.send_some(flood) > kBuffer);
  bounded();  // no read is pending
  t.stream.read_bytes(1, [](std::string_view) {});
  bounded();
  t.stream.read_until("x", [](std::string_view) {});
  bounded();
  t.stream.read_bytes(0, [](std::string_view) {});
  bounded();
  t.stream.read_bytes(kBuffer, [](std::string_view) {});
  bounded();
}

TEST_SUITE_END();
