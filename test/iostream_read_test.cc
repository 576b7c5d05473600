// What each read gives: read_until, read_bytes in its three forms and
// read_until_close; and that its bytes stay valid until the callback returns.

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include <doctest/doctest.h>

#include "waterspout/iostream.h"

#include "support/stream_helpers.h"
#include "support/stream_pair.h"

using waterspout::IOStream;
using waterspout::StreamClosedError;
using waterspout::test::EventLog;
using waterspout::test::kTcp;
using waterspout::test::make_pattern;
using waterspout::test::make_raw_pair;
using waterspout::test::RawPeer;
using waterspout::test::SteppedLoop;

namespace {

// A stream on a stepped loop, its peer, and a log: what every test here needs.
struct ReadTest {
  explicit ReadTest(IOStream::Options options = {}, bool tcp = false)
      : pair(make_raw_pair(loop, options, tcp)), stream(*pair.stream) {}

  void send(std::string_view data) {
    pair.peer.send(data);
    loop.settle();
  }

  SteppedLoop loop;
  RawPeer pair;
  IOStream& stream;
  EventLog log;
};

// Calls `keep(piece)` for every piece of a string cut in two, everywhere.
void for_each_cut(std::string_view text,
                  const std::function<void(std::string_view first,
                                           std::string_view second)>& keep) {
  for (std::size_t cut = 0; cut <= text.size(); ++cut) {
    keep(text.substr(0, cut), text.substr(cut));
  }
}

}  // namespace

TEST_SUITE_BEGIN("iostream_read");

TEST_CASE("IOStream::read_until gives all up to and including its delimiter") {
  ReadTest t;
  t.stream.read_until("\r\n", t.log.read("line"));
  t.send("abcd\r\nefgh");
  CHECK(t.log.text() == "line(abcd\r\n)");
  CHECK(t.stream.unread_bytes() == 4);  // what follows stays buffered

  t.stream.read_until("\r\n", t.log.read("line"));
  t.send("\r");
  CHECK(t.log.text() == "line(abcd\r\n)");
  t.send("\n");
  CHECK(t.log.text() == "line(abcd\r\n) line(efgh\r\n)");
}

TEST_CASE("IOStream::read_until finds a delimiter cut at any place") {
  const std::vector<std::string> delimiters = {
      "\n", "\r\n", "\r\n\r\n", "abcab", std::string("\0\0\1", 3)};
  for (const std::string& delimiter : delimiters) {
    CAPTURE(delimiter.size());
    ReadTest t;
    const std::string text = "xy" + delimiter + "z";
    int found = 0;
    for_each_cut(text, [&](std::string_view first, std::string_view second) {
      bool done = false;
      t.stream.read_until(delimiter, [&](std::string_view data) {
        CHECK(data == "xy" + delimiter);
        done = true;
        found += 1;
      });
      if (!first.empty()) {
        t.send(first);
      }
      CHECK(done == (first.size() >= 2 + delimiter.size()));
      t.send(second.empty() ? "" : second);
      CHECK(done);
      t.stream.read_bytes(1, [](std::string_view z) { CHECK(z == "z"); });
      t.loop.settle();
    });
    CHECK(found == static_cast<int>(text.size()) + 1);
  }
}

TEST_CASE("IOStream::read_until copies its delimiter") {
  ReadTest t;
  {
    std::string delimiter = "stop";
    t.stream.read_until(delimiter, t.log.read("got"));
    delimiter.assign(4, '#');
  }
  t.send("a####stop");
  CHECK(t.log.text() == "got(a####stop)");
}

TEST_CASE("Every value of a byte arrives unchanged") {
  ReadTest t;
  std::string bytes = make_pattern(50'000);
  const std::string delimiter("\0end\0", 5);
  std::string got;

  t.pair.peer.send(bytes + delimiter + bytes);
  t.stream.read_until(delimiter, [&](std::string_view data) {
    got = data;
    t.stream.read_bytes(bytes.size(),
                        [&](std::string_view more) { got += more; });
  });
  t.loop.settle();
  CHECK(got == bytes + delimiter + bytes);
}

TEST_CASE("IOStream::read_bytes gives as many bytes as it was asked for") {
  for (const std::size_t count :
       {1UL, 2UL, 255UL, 65535UL, 65536UL, 65537UL, 150'000UL}) {
    CAPTURE(count);
    ReadTest t;
    const std::string bytes = make_pattern(count);
    std::string got;
    t.stream.read_bytes(count, [&](std::string_view data) { got = data; });
    t.send(bytes.substr(0, count - 1));
    CHECK(got.empty());
    CHECK(t.stream.reading());
    t.send(bytes.substr(count - 1) + "rest");
    CHECK(got == bytes);
    t.stream.read_bytes(4, t.log.read("then"));
    t.loop.settle();
    CHECK(t.log.text() == "then(rest)");
  }
}

TEST_CASE("IOStream::read_bytes of 0 completes with an empty view") {
  ReadTest t;
  t.stream.read_bytes(0, t.log.read("plain"));
  t.loop.settle();
  t.stream.read_bytes(0, {.partial = true}, t.log.read("partial"));
  t.loop.settle();
  CHECK(t.log.text() == "plain() partial()");

  SUBCASE("without a piece, though bytes are buffered") {
    t.log.clear();
    t.stream.read_bytes(1, t.log.read("one"));
    t.send("12");
    t.stream.read_bytes(0, {.streaming_callback = t.log.read("piece")},
                        t.log.read("end"));
    t.loop.settle();
    CHECK(t.log.text() == "one(1) end()");
    CHECK(t.stream.unread_bytes() == 1);
  }
  SUBCASE("also on a closed stream") {
    t.stream.close();
    t.stream.read_bytes(0, t.log.read("closed"));
    t.loop.settle();
    CHECK(t.log.text() == "plain() partial() closed()");
  }
}

TEST_CASE("A partial read_bytes completes with what there is") {
  ReadTest t;
  SUBCASE("which is at least one byte") {
    t.stream.read_bytes(100, {.partial = true}, t.log.read("got"));
    t.loop.settle();
    CHECK(t.stream.reading());
    t.send("1");
    CHECK(t.log.text() == "got(1)");
  }
  SUBCASE("and never more than was asked for") {
    t.stream.read_bytes(3, {.partial = true}, t.log.read("got"));
    t.send("12345");
    t.stream.read_bytes(3, {.partial = true}, t.log.read("got"));
    t.loop.settle();
    CHECK(t.log.text() == "got(123) got(45)");
  }
  SUBCASE("and not at all when the end comes first") {
    t.stream.read_bytes(3, {.partial = true}, t.log.read("never"));
    t.pair.peer.shutdown();
    t.stream.set_close_callback(t.log.note("close"));
    t.loop.settle();
    CHECK(t.log.text() == "close");
  }
}

TEST_CASE("A streaming read_bytes gives every piece as it arrives") {
  ReadTest t;
  t.stream.read_bytes(1, t.log.read("first"));
  t.send("-ab");
  t.stream.read_bytes(6, {.streaming_callback = t.log.read("piece")},
                      t.log.read("end"));
  t.loop.settle();
  CHECK(t.log.text() == "first(-) piece(ab)");
  t.send("c");
  CHECK(t.log.text() == "first(-) piece(ab) piece(c)");
  CHECK(t.stream.unread_bytes() == 0);
  t.send("def+");
  CHECK(t.log.text() == "first(-) piece(ab) piece(c) piece(def) end()");
  CHECK(t.stream.unread_bytes() == 1);  // pieces never pass the count
}

TEST_CASE("Streaming pieces are never empty and make up the whole") {
  for (const std::size_t chunk : {1UL, 7UL, 4096UL, 65536UL}) {
    CAPTURE(chunk);
    ReadTest t({.read_chunk_size = chunk});
    const std::string bytes = make_pattern(20'000);
    std::string got;
    bool ended = false;
    t.stream.read_bytes(bytes.size(),
                        {.streaming_callback =
                             [&](std::string_view piece) {
                               CHECK_FALSE(ended);
                               CHECK_FALSE(piece.empty());
                               got += piece;
                             }},
                        [&](std::string_view rest) {
                          CHECK(rest.empty());
                          ended = true;
                        });
    t.loop.bound_turns(100'000);
    t.pair.peer.send(bytes);
    t.loop.settle(100'000);
    CHECK(ended);
    CHECK(got == bytes);
  }
}

TEST_CASE("A streaming read_bytes that the end cuts off is dropped") {
  ReadTest t;
  t.stream.set_close_callback(t.log.note("close"));
  t.stream.read_bytes(1, t.log.read("first"));
  t.send("-ab");
  SUBCASE("with its first piece still to be told") {
    t.stream.read_bytes(6, {.streaming_callback = t.log.read("piece")},
                        t.log.read("never"));
    t.stream.close();
    t.loop.settle();
    CHECK(t.log.text() == "first(-) piece(ab) close");
  }
  SUBCASE("with its last piece still to be told") {
    t.stream.read_bytes(2, {.streaming_callback = t.log.read("piece")},
                        t.log.read("end"));
    t.stream.close();
    t.loop.settle();
    CHECK(t.log.text() == "first(-) piece(ab) end() close");
  }
  SUBCASE("in a piece") {
    t.stream.read_bytes(6,
                        {.streaming_callback =
                             [&](std::string_view piece) {
                               t.log.read("piece")(piece);
                               t.stream.close();
                             }},
                        t.log.read("never"));
    t.loop.settle();
    CHECK(t.log.text() == "first(-) piece(ab) close");
  }
  CHECK_FALSE(t.stream.reading());
  t.stream.read_until_close(t.log.read("left"));
  t.loop.settle();
  CHECK(t.log.text().ends_with("close left()"));
}

TEST_CASE("A streaming read_bytes on a closed stream that lacks bytes throws") {
  ReadTest t;
  t.stream.read_bytes(9, t.log.read("never"));
  t.send("abc");
  t.stream.close();
  CHECK_THROWS_AS(
      t.stream.read_bytes(4, {.streaming_callback = t.log.read("piece")},
                          t.log.read("never")),
      StreamClosedError);
  t.stream.read_bytes(3, {.streaming_callback = t.log.read("piece")},
                      t.log.read("end"));
  t.loop.settle();
  CHECK(t.log.text() == "piece(abc) end()");
}

TEST_CASE("IOStream::read_until_close completes for whatever reason") {
  ReadTest t({}, kTcp);
  std::error_code error;
  t.stream.read_until_close([&](std::string_view data) {
    t.log.read("all")(data);
    CHECK(t.stream.closed());
    CHECK(t.stream.error() == error);
  });
  t.stream.set_close_callback(t.log.note("close"));
  t.send("12");
  t.loop.run_until([&] { return t.stream.unread_bytes() == 2; });

  SUBCASE("the peer's end") { t.pair.peer.shutdown(); }
  SUBCASE("a reset") {
    t.pair.peer.reset();
    error = std::make_error_code(std::errc::connection_reset);
  }
  SUBCASE("close()") { t.stream.close(); }
  SUBCASE("close() with an error") {
    error = std::make_error_code(std::errc::timed_out);
    t.stream.close(error);
  }
  SUBCASE("close_after_writing()") { t.stream.close_after_writing(); }

  t.loop.run_until([&] { return t.log.text().ends_with("close"); });
  CHECK(t.log.text() == "all(12) close");
  CHECK_FALSE(t.stream.reading());
}

TEST_CASE("A streaming read_until_close ends for whatever reason") {
  ReadTest t({}, kTcp);
  t.stream.read_until_close({.streaming_callback = t.log.read("piece")},
                            t.log.read("end"));
  t.stream.set_close_callback(t.log.note("close"));

  SUBCASE("with what came together with the end") {
    t.pair.peer.send("12");
    t.pair.peer.shutdown();
  }
  SUBCASE("with what came before") {
    t.send("12");
    t.loop.run_until([&] { return !t.log.empty(); });
    t.stream.close();
  }
  SUBCASE("with what came before a reset") {
    t.pair.peer.send("12");
    t.pair.peer.reset();
  }

  t.loop.run_until([&] { return t.log.text().ends_with("close"); });
  CHECK(t.log.text() == "piece(12) end() close");
}

TEST_CASE("IOStream::read_until_close on a closed stream gives what is left") {
  ReadTest t;
  t.stream.read_until("no such thing", t.log.read("never"));
  t.send("1234");
  t.stream.close();

  SUBCASE("at once") {
    t.stream.read_until_close(t.log.read("left"));
    t.stream.set_close_callback(t.log.note("close"));
    CHECK(t.log.empty());
    t.loop.settle();
    CHECK(t.log.text() == "left(1234) close");
  }
  SUBCASE("in a piece") {
    t.stream.read_until_close({.streaming_callback = t.log.read("piece")},
                              t.log.read("end"));
    t.loop.settle();
    CHECK(t.log.text() == "piece(1234) end()");
  }
  SUBCASE("of it, and never throws StreamClosedError") {
    t.stream.read_bytes(4, t.log.read("four"));
    t.loop.settle();
    t.stream.read_until_close(t.log.read("left"));
    t.loop.settle();
    t.stream.read_until_close({.streaming_callback = t.log.read("piece")},
                              t.log.read("end"));
    t.loop.settle();
    CHECK(t.log.text() == "four(1234) left() end()");
  }
}

TEST_CASE("A read whose callback starts the next one gets it all in order") {
  ReadTest t;
  auto rest = [&](std::string_view data) { t.log.read("rest")(data); };
  auto partial = [&](std::string_view data) {
    t.log.read("partial")(data);
    t.stream.read_until_close(rest);
  };
  auto bytes = [&](std::string_view data) {
    t.log.read("bytes")(data);
    t.stream.read_bytes(2, {.partial = true}, partial);
  };
  t.stream.read_until(":", [&](std::string_view data) {
    t.log.read("until")(data);
    t.stream.read_bytes(3, bytes);
  });

  SUBCASE("from one arrival") {
    t.pair.peer.send("a:bcdefgh");
    t.pair.peer.shutdown();
  }
  SUBCASE("from one for each byte") {
    t.loop.bound_turns(1000);
    for (const char byte : std::string_view("a:bcd")) {
      t.send(std::string_view(&byte, 1));
    }
    t.send("ef");
    t.send("gh");
    t.pair.peer.shutdown();
  }
  t.loop.settle();
  CHECK(t.log.text() == "until(a:) bytes(bcd) partial(ef) rest(gh)");
}

TEST_SUITE_END();
