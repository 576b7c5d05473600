// Writing: what is sent and when, who is told and in which order, and the
// bound on what may wait.

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include <poll.h>

#include <doctest/doctest.h>

#include "waterspout/iostream.h"

#include "support/loop_fixture.h"
#include "support/stream_helpers.h"
#include "support/stream_pair.h"

using waterspout::IOStream;
using waterspout::StreamBufferFullError;
using waterspout::StreamClosedError;
using waterspout::StreamErrc;
using waterspout::test::BorrowedLoop;
using waterspout::test::bound_kernel_buffers;
using waterspout::test::EventLog;
using waterspout::test::kMegabyte;
using waterspout::test::kTcp;
using waterspout::test::kUnix;
using waterspout::test::LoopFixture;
using waterspout::test::make_pattern;
using waterspout::test::make_raw_pair;
using waterspout::test::make_stream_pair;
using waterspout::test::over_tls;
using waterspout::test::RawPeer;
using waterspout::test::SteppedLoop;
using waterspout::test::StreamPair;
using waterspout::test::Token;

namespace {

// A stream whose kernel holds a few kilobytes, and a peer that reads when the
// test says so.
struct WriteTest {
  explicit WriteTest(IOStream::Options options = {}, bool tcp = kUnix)
      : pair(make_raw_pair(loop, options, tcp)), stream(*pair.stream) {
    bound_kernel_buffers(stream.fileno());
    bound_kernel_buffers(pair.peer.get());
    loop.bound_turns(20'000);
  }

  ~WriteTest() {
    stream.close();
    loop.settle();
  }

  // Lets the peer read all that comes.
  void drain() {
    pollfd state{.fd = pair.peer.get(), .events = POLLIN, .revents = 0};
    loop.settle();
    while (poll(&state, 1, 0) == 1) {
      const auto some = pair.peer.recv_some(65'536);
      if (!some) {
        return;
      }
      received += *some;
      loop.settle();
    }
  }

  // Writes until bytes wait for the kernel; returns what was written.
  std::string fill() {
    std::string all;
    while (!stream.writing()) {
      const std::string piece = make_pattern(100'000);
      stream.write(piece);
      all += piece;
      loop.settle();
    }
    return all;
  }

  SteppedLoop loop;
  RawPeer pair;
  IOStream& stream;
  EventLog log;
  std::string received;
};

}  // namespace

TEST_SUITE_BEGIN("iostream_write");

TEST_CASE_TEMPLATE("IOStream::write sends data in the order of the calls", Loop,
                   LoopFixture, BorrowedLoop, SteppedLoop) {
  Loop loop;
  loop.bound_turns(20'000);
  const StreamPair pair = make_stream_pair(loop);
  const std::vector<std::size_t> sizes = {1,      0,       100'000, 2,  65536,
                                          16'384, 300'000, 0,       77, 16'383};
  std::string sent;
  std::string got;
  EventLog log;
  std::string wanted;
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    const std::string piece = make_pattern(sizes[i] + i).substr(i);
    sent += piece;
    pair.client->write(piece, log.note(std::to_string(i)));
    wanted += (i == 0 ? "" : " ") + std::to_string(i);
  }
  CHECK(log.empty());
  pair.server->read_bytes(sent.size(),
                          [&](std::string_view data) { got = data; });

  loop.run_until([&] { return got.size() == sent.size(); });
  CHECK(got == sent);
  CHECK(log.text() == wanted);  // every write's callback runs, in order
  CHECK_FALSE(pair.client->writing());
}

TEST_CASE("Written data is sent or copied before write returns") {
  WriteTest t;
  std::string sent;
  for (const std::size_t size : {10UL, 20'000UL, 200'000UL}) {
    std::string data = make_pattern(size);
    sent += data;
    t.stream.write(data);
    data.assign(size, '#');
  }
  t.drain();
  CHECK(t.received == sent);
}

TEST_CASE("The callback of a large write waits for the kernel") {
  WriteTest t;
  const std::string data = make_pattern(kMegabyte);
  t.stream.write(data, [&] {
    t.log.add("written");
    CHECK_FALSE(t.stream.writing());
    CHECK(t.stream.unsent_bytes() == 0);
  });
  t.loop.settle();
  CHECK(t.log.empty());
  CHECK(t.stream.writing());
  CHECK(t.stream.unsent_bytes() > 0);
  // Protected bytes count until the kernel has all that was gathered of them.
  CHECK(t.stream.unsent_bytes() < data.size() + (over_tls() ? 1 : 0));

  t.drain();
  CHECK(t.log.text() == "written");
  CHECK(t.received == data);
}

TEST_CASE("Behind a full kernel every callback waits, also of nothing") {
  WriteTest t;
  std::string sent = t.fill();
  t.stream.write("a", t.log.note("small"));
  t.stream.write("", t.log.note("empty"));
  t.stream.write("b", t.log.note("last"));
  sent += "ab";
  t.loop.settle();
  CHECK(t.log.empty());

  t.drain();
  CHECK(t.log.text() == "small empty last");
  CHECK(t.received == sent);
}

TEST_CASE("No write waits longer than the end of the current turn") {
  SteppedLoop loop;
  const RawPeer pair = make_raw_pair(loop, {}, kUnix);
  const RawPeer other = make_raw_pair(loop, {}, kUnix);
  pair.stream->read_bytes(1, [&](std::string_view) {
    pair.stream->write("to the one");
    other.stream->write("to another");
  });
  loop.settle();

  pair.peer.send("x");
  loop.step();
  CHECK(pair.peer.recv_ready() == "to the one");
  CHECK(other.peer.recv_ready() == "to another");

  loop->spawn_callback([&] { pair.stream->write("from a callback"); });
  loop.step();
  CHECK(pair.peer.recv_ready() == "from a callback");

  pair.stream->write("from outside of the loop");
  loop.step();
  CHECK(pair.peer.recv_ready() == "from outside of the loop");
}

TEST_CASE("A write callback that writes again gets it all out in order") {
  WriteTest t;
  std::string sent;
  std::function<void(int)> write_next = [&](int left) {
    const std::string piece = make_pattern(static_cast<std::size_t>(left * 97));
    sent += piece;
    t.stream.write(piece, [&, left] {
      t.log.add(std::to_string(left));
      if (left > 1) {
        write_next(left - 1);
      }
    });
  };
  write_next(200);
  t.drain();
  CHECK(t.received == sent);
  CHECK(t.log.text().starts_with("200 199 198"));
  CHECK(t.log.text().ends_with("3 2 1"));
}

TEST_CASE("A write without a callback reports nothing and arrives") {
  WriteTest t;
  t.stream.write("first ");
  t.stream.write("second ", nullptr);
  t.stream.write("third", t.log.note("third"));
  t.drain();
  CHECK(t.received == "first second third");
  CHECK(t.log.text() == "third");
}

TEST_CASE("StreamBufferFullError if max_write_buffer_size would be passed") {
  WriteTest t({.max_write_buffer_size = 200'000});
  const Token token;
  const std::string before = t.fill();
  const std::size_t unsent = t.stream.unsent_bytes();
  const std::size_t room = 200'000 - unsent;
  const std::string most = make_pattern(room);

  CHECK_THROWS_AS(
      t.stream.write(most + "x", [&, alive = token.copy()] { t.log.add("?"); }),
      StreamBufferFullError);
  CHECK(token.alive() == 0);
  CHECK(t.stream.unsent_bytes() == unsent);  // nothing was queued
  CHECK_FALSE(t.stream.closed());            // and the stream stays open

  t.stream.write(most, t.log.note("most"));
  CHECK(t.stream.unsent_bytes() == 200'000);
  CHECK_THROWS_AS(t.stream.write("x"), StreamBufferFullError);
  CHECK_NOTHROW(t.stream.write("", t.log.note("empty")));

  t.drain();
  CHECK(t.received == before + most);
  CHECK(t.log.text() == "most empty");
  CHECK_NOTHROW(t.stream.write("x"));
}

TEST_CASE("A write of more than max_write_buffer_size never fits") {
  WriteTest t({.max_write_buffer_size = 100});
  CHECK_THROWS_AS(t.stream.write(std::string(101, 'x')), StreamBufferFullError);
  CHECK_NOTHROW(t.stream.write(std::string(100, 'x')));
  t.drain();
  CHECK(t.received == std::string(100, 'x'));
}

TEST_CASE("max_write_buffer_size bounds what is queued before a connection") {
  LoopFixture loop;
  const auto stream = IOStream::create(loop, {.max_write_buffer_size = 10});
  stream->write("12345678");
  CHECK(stream->unsent_bytes() == 8);
  CHECK_THROWS_AS(stream->write("abc"), StreamBufferFullError);
  CHECK_NOTHROW(stream->write("ab"));
  CHECK(stream->unsent_bytes() == 10);
}

TEST_CASE("The message of a StreamBufferFullError says by how much") {
  WriteTest t({.max_write_buffer_size = 10});
  try {
    t.stream.write("more than ten bytes");
    FAIL_CHECK("write did not throw");
  } catch (const StreamBufferFullError& error) {
    CHECK(error.code() == StreamErrc::write_buffer_full);
    CHECK(std::string_view(error.what()).starts_with("write: "));
    CHECK(std::string_view(error.what()).find("19 bytes") !=
          std::string_view::npos);
  }
}

TEST_CASE("IOStream::write throws StreamClosedError on a closed stream") {
  WriteTest t;
  SUBCASE("which has no cause after an orderly close") {
    t.stream.close();
    CHECK_THROWS_AS(t.stream.write("x"), StreamClosedError);
    CHECK_THROWS_AS(t.stream.write("", t.log.note("?")), StreamClosedError);
  }
  SUBCASE("which carries the cause") {
    t.stream.close(std::make_error_code(std::errc::timed_out));
    try {
      t.stream.write("x", t.log.note("?"));
      FAIL_CHECK("write did not throw");
    } catch (const StreamClosedError& error) {
      CHECK(error.code() == StreamErrc::closed);
      CHECK(error.cause() == std::errc::timed_out);
    }
  }
  t.loop.settle();
  CHECK(t.log.empty());
}

TEST_CASE("A failure of the connection never throws in write") {
  WriteTest t({}, kTcp);
  t.stream.set_close_callback(t.log.note("close"));
  t.stream.read_bytes(1, t.log.read("never"));
  SUBCASE("after a reset") { t.pair.peer.reset(); }
  SUBCASE("after the peer has closed with our data unread") {
    t.stream.write("unread");
    t.loop.settle();
    t.pair.peer.close();
  }
  for (int i = 0; i < 5 && !t.stream.closed(); ++i) {
    CHECK_NOTHROW(t.stream.write("data"));
  }
  t.loop.run_until([&] { return !t.log.empty(); });
  CHECK(t.log.text() == "close");
  CHECK(t.stream.error() != std::error_code());
}

TEST_CASE("Writing after the peer's close ends in EPIPE and no signal") {
  WriteTest t;
  t.pair.peer.close();
  while (!t.stream.closed()) {
    t.stream.write("data", t.log.note("written"));
    t.loop.settle();
  }
  CHECK(t.log.empty());
  CHECK(t.stream.error() == std::errc::broken_pipe);
  CHECK(t.stream.error_message().starts_with("write: "));
}

TEST_CASE("A slow peer gets everything, and no callback is lost") {
  WriteTest t;
  std::string sent;
  std::string wanted;
  for (int i = 0; i < 50; ++i) {
    const std::string piece =
        make_pattern(static_cast<std::size_t>(i * i * 13 % 9973));
    sent += piece;
    t.stream.write(piece, t.log.note(std::to_string(i)));
    wanted += (i == 0 ? "" : " ") + std::to_string(i);
  }
  while (t.received.size() < sent.size()) {
    t.loop.settle();
    t.received += t.pair.peer.recv_some(1000).value_or("");
  }
  t.loop.settle();
  CHECK(t.received == sent);
  CHECK(t.log.text() == wanted);
}

TEST_CASE("A stream that has sent everything does not spin") {
  WriteTest t;
  const std::string sent = t.fill();
  t.drain();
  CHECK(t.received == sent);
  CHECK_FALSE(t.stream.writing());
  for (int i = 0; i < 5; ++i) {
    CHECK_FALSE(t.loop.step());
  }
}

TEST_CASE("Both directions at once do not disturb each other") {
  LoopFixture loop;
  loop.bound_turns(20'000);
  const StreamPair pair = make_stream_pair(loop);
  const std::string data = make_pattern(2 * kMegabyte);
  std::string there;
  std::string back;
  pair.client->write(data);
  pair.server->write(data);
  pair.client->read_bytes(data.size(), [&](std::string_view d) { back = d; });
  pair.server->read_bytes(data.size(), [&](std::string_view d) { there = d; });

  loop.run_until([&] { return !there.empty() && !back.empty(); });
  CHECK(there == data);
  CHECK(back == data);
}

TEST_CASE(
    "Writes of a callback behind one that the kernel has no room for wait for "
    "it, while the next read is pending") {
  for (const std::size_t size : {std::size_t{12'000}, kMegabyte}) {
    CAPTURE(size);
    WriteTest t;
    const std::string much = make_pattern(size);
    t.stream.read_bytes(1, [&](std::string_view) {
      // From the second event on, nothing is out of the ordinary.
      t.stream.read_bytes(1, [&](std::string_view) {
        t.stream.write(much);
        t.stream.read_bytes(1, [&](std::string_view) {
          t.stream.write("behind", t.log.note("behind"));
          t.stream.read_bytes(1, t.log.note("never"));
        });
        if (size == kMegabyte) {
          t.stream.write("next to it, ", t.log.note("next to it"));
        }
      });
    });
    for (const char* const request : {"1", "2", "3"}) {
      t.pair.peer.send(request);
      t.loop.settle();
    }

    CHECK(t.stream.writing());
    CHECK(t.log.empty());
    t.drain();
    const bool large = size == kMegabyte;
    CHECK(t.received == much + (large ? "next to it, behind" : "behind"));
    CHECK(t.log.text() == std::string(large ? "next to it behind" : "behind"));
  }
}

TEST_SUITE_END();
