// Half-closed streams: each side ends by itself, and nothing is lost by it.

#include <cstddef>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>

#include <doctest/doctest.h>

#include "waterspout/iostream.h"

#include "support/loop_fixture.h"
#include "support/sockets.h"
#include "support/stream_helpers.h"
#include "support/stream_pair.h"

using waterspout::IOStream;
using waterspout::StreamClosedError;
using waterspout::StreamErrc;
using waterspout::test::bound_kernel_buffers;
using waterspout::test::EventLog;
using waterspout::test::LoopFixture;
using waterspout::test::make_pattern;
using waterspout::test::make_raw_pair;
using waterspout::test::RawPeer;
using waterspout::test::SteppedLoop;
using waterspout::test::Token;

namespace {

struct HalfCloseTest {
  SteppedLoop loop;
  RawPeer pair = make_raw_pair(loop, {.half_close = true}, false);
  std::shared_ptr<IOStream> stream = pair.stream;
  EventLog log;

  void note_ends() {
    stream->set_read_end_callback(log.note("end"));
    stream->set_close_callback(log.note("close"));
  }
};

}  // namespace

TEST_SUITE_BEGIN("iostream_half_close");

TEST_CASE("The peer's end is reported after the data, and writing goes on") {
  HalfCloseTest t;
  t.note_ends();
  t.stream->read_until("\n", [&](std::string_view line) {
    t.log.read("line")(line);
    t.stream->read_until("\n", t.log.read("line"));
  });
  t.pair.peer.send("one\ntwo\n");
  t.pair.peer.shutdown();
  t.loop.settle();
  CHECK(t.log.text() == "line(one\n) line(two\n) end");
  CHECK(t.stream->read_ended());
  CHECK_FALSE(t.stream->closed());
  t.stream->write("still here\n", t.log.note("written"));
  t.loop.settle();
  CHECK(t.pair.peer.recv_ready() == "still here\n");
  t.stream->shutdown_write();
  CHECK(t.stream->closed());
  CHECK(t.pair.peer.recv_all().empty());
  t.loop.settle();
  CHECK(t.log.text() == "line(one\n) line(two\n) end written close");
  CHECK_FALSE(t.stream->error());
}

TEST_CASE("Our end leaves after everything written, and reading goes on") {
  HalfCloseTest t;
  t.note_ends();
  bound_kernel_buffers(t.stream->fileno());
  const std::string data = make_pattern(300'000);
  t.stream->write(data, t.log.note("written"));
  t.stream->shutdown_write();
  t.stream->shutdown_write();
  CHECK_THROWS_AS(t.stream->write("late"), StreamClosedError);
  std::string got;
  while (got.size() < data.size()) {
    t.loop.settle();
    got += t.pair.peer.recv();
  }
  t.loop.settle();
  CHECK(got == data);
  CHECK(t.pair.peer.recv_all().empty());
  CHECK_FALSE(t.stream->closed());
  t.stream->read_until_close(t.log.read("answer"));
  t.pair.peer.send("yes");
  t.pair.peer.shutdown();
  t.loop.settle();
  CHECK(t.log.text() == "written answer(yes) end close");
  CHECK(t.stream->closed());
}

TEST_CASE("Our end asked for while connecting leaves when that is done") {
  LoopFixture loop;
  std::uint16_t port = 0;
  const waterspout::test::UniquePeerFd listener(
      waterspout::test::listen_on_loopback(port));
  const auto stream = IOStream::create(loop, {.half_close = true});
  stream->connect(waterspout::Address("127.0.0.1", port), [] {});
  stream->write("question");
  stream->shutdown_write();
  bool ended = false;
  stream->set_read_end_callback([&] { ended = true; });
  const auto peer = waterspout::test::accept_from(listener.get());
  std::string question;
  CHECK(loop.run_until([&] {
    question += peer.recv_ready();
    return question == "question";
  }));
  CHECK(peer.recv_all().empty());
  peer.shutdown();
  CHECK(loop.run_until([&] { return stream->closed(); }));
  CHECK(ended);
}

TEST_CASE(
    "Unread data stays readable after the peer's end, and what it cannot "
    "satisfy is refused") {
  HalfCloseTest t;
  t.pair.peer.send("abc");
  t.pair.peer.shutdown();
  t.stream->read_bytes(1, t.log.read("first"));
  t.loop.settle();
  CHECK_FALSE(t.stream->read_ended());  // nobody has looked so far
  t.stream->read_until("\n", t.log.read("never"));
  t.stream->set_read_end_callback(t.log.note("end"));
  t.loop.settle();
  CHECK(t.log.text() == "first(a) end");
  CHECK_FALSE(t.stream->reading());
  CHECK_THROWS_AS(t.stream->read_bytes(3, t.log.read("never")),
                  StreamClosedError);
  t.stream->read_bytes(1, t.log.read("second"));
  t.loop.settle();
  t.stream->read_until_close(t.log.read("rest"));
  t.loop.settle();
  t.stream->read_until_close(t.log.read("nothing"));
  t.loop.settle();
  CHECK(t.log.text() == "first(a) end second(b) rest(c) nothing()");
  CHECK_FALSE(t.stream->closed());
}

TEST_CASE("A read_until_close completes at the peer's end, also in pieces") {
  HalfCloseTest t;
  t.note_ends();
  t.stream->read_until_close({.streaming_callback = t.log.read("piece")},
                             t.log.read("all"));
  t.pair.peer.send("abc");
  t.loop.settle();
  t.pair.peer.shutdown();
  t.loop.settle();
  CHECK(t.log.text() == "piece(abc) all() end");
  t.stream->close();
  t.loop.settle();
}

TEST_CASE("The peer's end does not keep the loop busy") {
  HalfCloseTest t;
  t.note_ends();
  t.pair.peer.shutdown();
  t.loop.settle();
  CHECK(t.log.text() == "end");
  CHECK_FALSE(t.loop.step());
  t.stream->close();
  t.loop.settle();
}

TEST_CASE("A callback for the peer's end may be set after it, and taken back") {
  HalfCloseTest t;
  const Token token;
  t.stream->set_read_end_callback(
      [held = token.copy()] { FAIL_CHECK("was taken back"); });
  t.stream->set_read_end_callback({});
  CHECK(token.alive() == 0);
  t.stream->read_until_close(t.log.read("all"));
  t.pair.peer.shutdown();
  t.loop.settle();
  t.stream->set_read_end_callback(t.log.note("end"));
  t.loop.settle();
  CHECK(t.log.text() == "all() end");
}

TEST_CASE(
    "A stream that closes otherwise drops the callback for the peer's "
    "end") {
  for (const bool by_peer : {false, true}) {
    CAPTURE(by_peer);
    HalfCloseTest t;
    const Token token;
    t.stream->set_read_end_callback(
        [held = token.copy()] { FAIL_CHECK("has not ended"); });
    t.stream->set_close_callback(t.log.note("close"));
    if (by_peer) {
      t.stream->write("unread by the peer");
      t.loop.settle();
      t.pair.peer.close();
    } else {
      t.stream->close();
    }
    t.loop.settle();
    CHECK(t.log.text() == "close");
    CHECK(token.alive() == 0);
  }
}

TEST_CASE("The end and the close are reported both when they come together") {
  HalfCloseTest t;
  t.note_ends();
  t.stream->shutdown_write();
  t.pair.peer.shutdown();
  t.loop.settle();
  CHECK(t.log.text() == "end close");
  CHECK(t.stream->read_ended());
}

TEST_CASE("A half-closed stream may be closed, and written to the end") {
  HalfCloseTest t;
  t.note_ends();
  t.pair.peer.shutdown();
  t.loop.settle();
  t.stream->write("last words");
  t.stream->close_after_writing();
  t.loop.settle();
  CHECK(t.pair.peer.recv_all() == "last words");
  CHECK(t.log.text() == "end close");
}

TEST_CASE(
    "A half-closed stream with nothing to report, that nobody holds, "
    "closes") {
  HalfCloseTest t;
  t.note_ends();
  t.stream->set_close_callback({});
  const std::weak_ptr<IOStream> weak = t.stream;
  t.pair.stream.reset();
  t.stream.reset();
  t.loop.settle();
  CHECK_FALSE(weak.expired());  // it has to report the end
  t.pair.peer.shutdown();
  t.loop.settle();
  CHECK(t.log.text() == "end");
  CHECK(weak.expired());
  CHECK(t.pair.peer.recv_all().empty());
}

TEST_CASE(
    "Without half_close the peer's end closes, and neither function is "
    "to be had") {
  LoopFixture loop;
  RawPeer pair = make_raw_pair(loop);
  CHECK_THROWS_AS(pair.stream->shutdown_write(), std::logic_error);
  CHECK_THROWS_AS(pair.stream->set_read_end_callback([] {}), std::logic_error);
  pair.stream->set_close_callback([&] { loop.stop(); });
  pair.peer.shutdown();
  loop.run();
  CHECK_FALSE(pair.stream->read_ended());
  CHECK(pair.peer.recv_all().empty());
}

TEST_SUITE_END();
