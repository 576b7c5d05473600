// IOStream::read_until_regex: what it finds, however the bytes arrive, and that
// hostile input costs bounded time. With Tornado's tests of it.

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <regex>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "waterspout/iostream.h"

#include "support/loop_fixture.h"
#include "support/stream_helpers.h"
#include "support/stream_pair.h"

using waterspout::IOStream;
using waterspout::LogLevel;
using waterspout::StreamClosedError;
using waterspout::StreamErrc;
using waterspout::test::cpu_time;
using waterspout::test::EventLog;
using waterspout::test::kManyTurns;
using waterspout::test::kUnix;
using waterspout::test::LoopFixture;
using waterspout::test::make_raw_pair;
using waterspout::test::make_stream_pair;
using waterspout::test::make_unix_pair;
using waterspout::test::RawPeer;
using waterspout::test::SteppedLoop;
using waterspout::test::StreamPair;
using waterspout::test::words;

namespace {

struct RegexTest {
  RegexTest() {
    loop.bound_turns(kManyTurns);
    stream.set_close_callback(log.note("close"));
  }
  ~RegexTest() {
    stream.close();
    loop.settle();
  }

  void send(std::string_view data) {
    pair.peer.send(data);
    loop.settle();
  }

  SteppedLoop loop;
  RawPeer pair = make_raw_pair(loop, {}, kUnix);
  IOStream& stream = *pair.stream;
  EventLog log;
};

// What `pattern` gives of the text that arrives in these pieces.
std::string read_in_pieces(SteppedLoop& loop, const std::string& pattern,
                           const std::vector<std::string>& pieces) {
  const RawPeer pair = make_raw_pair(loop, {}, kUnix);
  EventLog log;
  pair.stream->read_until_regex(pattern, log.read("got"));
  for (const std::string& piece : pieces) {
    pair.peer.send(piece);
    loop.settle();
  }
  pair.stream->close();
  return log.text();
}

std::string read_in_pieces(const std::string& pattern,
                           const std::vector<std::string>& pieces) {
  SteppedLoop loop;
  return read_in_pieces(loop, pattern, pieces);
}

// Cuts `text` behind byte i where bit i of `cuts` is set.
std::vector<std::string> cut(const std::string& text, unsigned cuts) {
  std::vector<std::string> pieces(1);
  for (std::size_t i = 0; i < text.size(); ++i) {
    pieces.back() += text[i];
    if ((cuts >> i & 1U) != 0 && i + 1 < text.size()) {
      pieces.emplace_back();
    }
  }
  return pieces;
}

// The same by the C++ library, which begins anew with every piece.
std::string search_in_pieces(const std::regex& pattern,
                             const std::vector<std::string>& pieces) {
  std::string text;
  for (const std::string& piece : pieces) {
    text += piece;
    std::smatch match;
    if (std::regex_search(text, match, pattern)) {
      const auto end = match.position() + match.length();
      return "got(" + text.substr(0, static_cast<std::size_t>(end)) + ")";
    }
  }
  return "";
}

// Processor time until `size` bytes of 'a' have been searched, or refused.
std::chrono::nanoseconds cost(const std::string& pattern, std::size_t size,
                              std::size_t chunk) {
  LoopFixture loop;
  loop.bound_turns(kManyTurns);
  const StreamPair pair = make_unix_pair(loop, {}, {.read_chunk_size = chunk});
  const auto before = cpu_time();
  pair.server->read_until_regex(pattern, [](std::string_view) {});
  pair.client->write(std::string(size, 'a'));
  loop.run_until(
      [&] {
        return pair.server->closed() || pair.server->unread_bytes() == size;
      },
      std::chrono::seconds(20));
  if (pair.server->closed()) {
    loop.expect_log(LogLevel::info, "read_until_regex: ");
    CHECK(pair.server->error() == StreamErrc::regex_limit);
  }
  pair.server->close();
  pair.client->close();
  return cpu_time() - before;
}

}  // namespace

TEST_SUITE_BEGIN("iostream_regex");

TEST_CASE(
    "IOStream::read_until_regex within max_bytes "
    "(test_read_until_regex_max_bytes)") {
  LoopFixture loop;
  const StreamPair pair = make_stream_pair(loop);
  EventLog log;
  auto read_def = [&](std::size_t limit, const char* name) {
    pair.client->read_until_regex("def", {.max_bytes = limit},
                                  [&, name](std::string_view data) {
                                    log.read(name)(data);
                                    loop.stop();
                                  });
  };
  read_def(50, "far");
  pair.server->write("abcdef");
  loop.run();
  read_def(6, "equal");
  pair.server->write("abcdef");
  loop.run();
  CHECK(log.text() == "far(abcdef) equal(abcdef)");

  loop.expect_log(LogLevel::info, "read_until_regex");
  pair.client->set_close_callback([&] { loop.stop(); });
  read_def(5, "never");
  pair.server->write("123456");
  loop.run();
  CHECK(log.text() == "far(abcdef) equal(abcdef)");
  CHECK(pair.client->error() == StreamErrc::unsatisfiable_read);
}

TEST_CASE("IOStream::read_until_regex past max_bytes closes") {
  LoopFixture loop;
  loop.expect_log(LogLevel::info, "read_until_regex");
  const StreamPair pair = make_stream_pair(loop);
  EventLog log;
  pair.client->set_close_callback([&] {
    log.add("close");
    loop.stop();
  });

  SUBCASE(
      "with the data in the kernel (test_read_until_regex_max_bytes_inline)") {
    pair.server->write("123456", [&] {
      pair.client->read_until_regex("def", {.max_bytes = 5}, log.read("never"));
    });
  }
  SUBCASE(
      "though the match came too "
      "(test_read_until_regex_max_bytes_ignores_extra)") {
    pair.server->write("abcdef");
    pair.client->read_until_regex("def", {.max_bytes = 5}, log.read("never"));
  }

  loop.run();
  CHECK(log.text() == "close");
  CHECK(pair.client->error() == StreamErrc::unsatisfiable_read);
}

TEST_CASE("IOStream::read_until_regex gives everything up to the match's end") {
  RegexTest t;
  t.stream.read_until_regex("\r?\n\r?\n", t.log.read("head"));
  t.send("GET /\r\nA: b\r\n\r\nbody");
  CHECK(t.log.text() == "head(GET /\r\nA: b\r\n\r\n)");
  CHECK(t.stream.unread_bytes() == 4);
  t.stream.read_until_regex("o.", t.log.read("next"));
  t.loop.settle();
  CHECK(t.log.text().ends_with("next(bod)"));
}

TEST_CASE("An open-ended pattern matches as soon as it can") {
  CHECK(read_in_pieces("a+", {"xa", "aaa"}) == "got(xa)");
  CHECK(read_in_pieces("a+", {"xaaa", "a"}) == "got(xaaa)");
  CHECK(read_in_pieces("[0-9]+", {"ab1", "23"}) == "got(ab1)");
}

TEST_CASE("An empty buffer is never matched") {
  for (const char* pattern : {"", "x*", "$", "^"}) {
    CAPTURE(pattern);
    RegexTest t;
    t.stream.read_until_regex(pattern, t.log.note("matched"));
    t.loop.settle();
    CHECK(t.log.empty());
    t.send("ab");
    CHECK(t.log.text() == "matched");
  }
}

TEST_CASE("A pattern and its data may be any bytes") {
  const std::string zeros("\0\0", 2);
  const std::string pattern("\\x00\xff", 5);
  CHECK(read_in_pieces(pattern, {"a" + zeros, "\xff"}) ==
        "got(a" + zeros + "\xff)");
  CHECK(read_in_pieces(zeros + "+b", {zeros, zeros, "b"}) ==
        "got(" + zeros + zeros + "b)");
  CHECK(read_in_pieces("[^\x80-\xff]{3}", {"\xc3\xa9"
                                           "abc"}) ==
        "got(\xc3\xa9"
        "abc)");
}

TEST_CASE("A match cut at any place is found, as if all had come at once") {
  const std::vector<std::string> patterns = {
      "ab",  "a|bb", "(ab)+b", "a.b",        "b{3}", "aab|b.b",
      "^ba", "b$",   "\\bb",   "(?:aab?)+b", "a*b",  "[ab]{4}"};
  SteppedLoop loop;
  loop.bound_turns(kManyTurns);
  for (const std::string& pattern : patterns) {
    CAPTURE(pattern);
    const std::regex reference(pattern);
    for (const std::string& text : words(5)) {
      CAPTURE(text);
      for (unsigned cuts = 0; cuts < 1U << 4; ++cuts) {
        CAPTURE(cuts);
        const auto pieces = cut(text, cuts);
        CHECK(read_in_pieces(loop, pattern, pieces) ==
              search_in_pieces(reference, pieces));
      }
    }
  }
}

TEST_CASE("What stands before a match counts, also when it came earlier") {
  CHECK(read_in_pieces("(?<=ab)c", {"a", "b", "c"}) == "got(abc)");
  CHECK(read_in_pieces("(?<=ab)c", {"xbc", "abc"}) == "got(xbcabc)");
  CHECK(read_in_pieces("(?<!a)b", {"a", "b", "b"}) == "got(abb)");
  CHECK(read_in_pieces("\\Bc", {"c b", "c"}) == "got(c bc)");
  CHECK(read_in_pieces("(a+)-\\1!", {"aa-a", "a!"}) == "got(aa-aa!)");
}

TEST_CASE("A match longer than a chunk is found") {
  RegexTest t;
  std::size_t got = 0;
  t.stream.read_until_regex("<[^>]*>",
                            [&](std::string_view data) { got = data.size(); });
  t.send("head <");
  for (int i = 0; i < 100; ++i) {
    t.send(std::string(2000, 'x'));
  }
  t.send("> tail");
  CHECK(got == 200'007);
  CHECK(t.stream.unread_bytes() == 5);
}

TEST_CASE("A pattern that does not compile is an invalid_argument") {
  RegexTest t;
  for (const char* pattern : {"(", "a{2,1}", "[", "*", "(?<name", "\\"}) {
    CAPTURE(pattern);
    CHECK_THROWS_AS(t.stream.read_until_regex(pattern, t.log.read("never")),
                    std::invalid_argument);
    CHECK_FALSE(t.stream.reading());
  }
  try {
    t.stream.read_until_regex("(a", t.log.read("never"));
  } catch (const std::invalid_argument& error) {
    const std::string_view what = error.what();
    CHECK(what.starts_with("read_until_regex: "));
    CHECK(what.find("parenthesis") != std::string_view::npos);  // PCRE2's
  }
  t.stream.read_until_regex("b", t.log.read("got"));
  t.send("ab");
  CHECK(t.log.text() == "got(ab)");
}

TEST_CASE("IOStream::read_until_regex on a closed stream") {
  RegexTest t;
  t.stream.read_bytes(100, t.log.read("never"));
  t.send("ab12");
  t.stream.close();
  t.stream.read_until_regex("[0-9]", t.log.read("got"));
  t.loop.settle();
  CHECK(t.log.text() == "got(ab1) close");
  CHECK_THROWS_AS(t.stream.read_until_regex("[a-z]", t.log.read("never")),
                  StreamClosedError);
  t.stream.read_until_regex("[0-9]", t.log.read("last"));
  t.loop.settle();
  CHECK(t.log.text() == "got(ab1) close last(2)");
}

TEST_CASE("A chain of different patterns") {
  RegexTest t;
  t.stream.read_until_regex("1", [&](std::string_view one) {
    t.log.read("one")(one);
    t.stream.read_until_regex("2|3", [&](std::string_view two) {
      t.log.read("two")(two);
      t.stream.read_until_regex("2|3", t.log.read("three"));
    });
  });
  t.send("a1b2c3d");
  CHECK(t.log.text() == "one(a1) two(b2) three(c3)");
}

namespace {

// Unbounded, these patterns would take years.
constexpr std::chrono::seconds kBounded(30);

}  // namespace

TEST_CASE("A peer that makes a pattern backtrack for long is closed") {
  for (const char* pattern :
       {"(a+)+$!", "(a|aa)+b", "(.*)*x", "(a*)*b", "^(([a-z])+.)+[A-Z]$!"}) {
    CAPTURE(pattern);
    const auto spent = cost(pattern, 10'000, 65536);
    CHECK(spent < kBounded);
  }
}

TEST_CASE("A peer that sends byte by byte gains nothing by it") {
  for (const char* pattern :
       {"(a+)+$!", "a+b", "[^z]*z", "a*a*a*b", "(a|aa)+b"}) {
    CAPTURE(pattern);
    const auto spent = cost(pattern, 10'000, 1);
    CHECK(spent < kBounded);
  }
}

TEST_SUITE_END();
