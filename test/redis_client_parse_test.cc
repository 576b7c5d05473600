// What redis_client makes of a server's bytes, and how it waits between two
// attempts.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "redis_client/backoff.h"
#include "redis_client/resp.h"
#include "support/redis_replies.h"
#include "support/text.h"

using redis_client::append_command;
using redis_client::Backoff;
using redis_client::Parser;
using redis_client::ProtocolError;
using redis_client::Reply;
using waterspout::test::array;
using waterspout::test::bulk;
using waterspout::test::contains;
using waterspout::test::error;
using waterspout::test::failure_of;
using waterspout::test::integer;
using waterspout::test::status;

namespace {

using Kind = Reply::Kind;
using namespace std::chrono_literals;

struct Example {
  std::string bytes;
  Reply reply;
};

std::vector<Example> examples() {
  return {
      {"+OK\r\n", status("OK")},
      {"+\r\n", status("")},
      {"-ERR unknown command 'x'\r\n", error("ERR unknown command 'x'")},
      {":0\r\n", integer(0)},
      {":1000\r\n", integer(1000)},
      {":-1\r\n", integer(-1)},
      {":9223372036854775807\r\n",
       integer(std::numeric_limits<std::int64_t>::max())},
      {":-9223372036854775808\r\n",
       integer(std::numeric_limits<std::int64_t>::min())},
      {"$5\r\nhello\r\n", bulk("hello")},
      {"$0\r\n\r\n", bulk("")},
      {"$4\r\n\r\n\r\n\r\n", bulk("\r\n\r\n")},
      {std::string("$3\r\n\0\xff\n\r\n", 9), bulk(std::string("\0\xff\n", 3))},
      {"$-1\r\n", Reply()},
      {"*-1\r\n", Reply()},
      {"*0\r\n", array({})},
      {"*2\r\n$3\r\nfoo\r\n$-1\r\n", array({bulk("foo"), Reply()})},
      {"*5\r\n+a\r\n-b\r\n:3\r\n$1\r\nd\r\n*-1\r\n",
       array({status("a"), error("b"), integer(3), bulk("d"), Reply()})},
      {"*2\r\n*2\r\n:1\r\n*0\r\n*1\r\n*1\r\n$1\r\nx\r\n",
       array({array({integer(1), array({})}), array({array({bulk("x")})})})},
  };
}

// What a parser with these limits makes of `bytes`, given in pieces of at most
// `piece` bytes. Everything has to be used.
std::vector<Reply> parse(std::string_view bytes,
                         std::size_t piece = std::string_view::npos,
                         Parser::Limits limits = {}) {
  Parser parser(limits);
  std::vector<Reply> replies;
  while (!bytes.empty()) {
    std::string_view part = bytes.substr(0, piece);
    bytes.remove_prefix(part.size());
    while (std::optional<Reply> reply = parser.feed(part)) {
      replies.push_back(std::move(*reply));
    }
    CHECK(part.empty());
  }
  return replies;
}

std::string refusal_of(std::string_view bytes, Parser::Limits limits = {}) {
  return failure_of<ProtocolError>([&] { return parse(bytes, 1, limits); });
}

}  // namespace

TEST_SUITE_BEGIN("redis_client_parse");

TEST_CASE("Parser gives every kind of reply") {
  for (const Example& example : examples()) {
    CAPTURE(example.bytes);
    CHECK(parse(example.bytes) == std::vector<Reply>{example.reply});
  }
}

TEST_CASE("Parser gives the same replies wherever the bytes are split") {
  for (const Example& example : examples()) {
    CAPTURE(example.bytes);
    for (std::size_t split = 0; split <= example.bytes.size(); split++) {
      CAPTURE(split);
      Parser parser;
      std::string_view first(example.bytes);
      std::string_view second = first.substr(split);
      first = first.substr(0, split);
      std::optional<Reply> reply = parser.feed(first);
      CHECK(reply.has_value() == (split == example.bytes.size()));
      if (!reply) {
        reply = parser.feed(second);
      }
      CHECK(reply == example.reply);
    }
  }
}

TEST_CASE("Parser takes pipelined replies apart, however they are cut") {
  std::string bytes;
  std::vector<Reply> replies;
  for (int round = 0; round < 3; round++) {
    for (const Example& example : examples()) {
      bytes += example.bytes;
      replies.push_back(example.reply);
    }
  }
  for (std::size_t piece = 1; piece < bytes.size(); piece++) {
    CAPTURE(piece);
    REQUIRE(parse(bytes, piece) == replies);
  }
}

TEST_CASE("Parser leaves what follows a reply to the next call") {
  Parser parser;
  std::string_view bytes = "+a\r\n:7\r\nrest";
  CHECK(parser.feed(bytes) == status("a"));
  CHECK(bytes == ":7\r\nrest");
  CHECK(parser.feed(bytes) == integer(7));
  CHECK(bytes == "rest");
}

TEST_CASE("Parser refuses what is not RESP2 at the first byte that shows it") {
  // The last byte of each is the first that is wrong.
  const std::vector<std::pair<std::string, std::string>> refused = {
      {"x", "a reply begins with 'x'"},
      {"\n", "a reply begins with '\\n'"},
      {"\r", "a reply begins with"},
      {"%", "a reply begins with '%'"},  // RESP3
      {"_", "a reply begins with '_'"},
      {std::string(1, '\0'), "a reply begins with"},
      {"H", "a reply begins with 'H'"},
      {"+OK\n", "without CR and LF"},
      {"+O\rK\r\n", "without CR and LF"},
      {"+OK\r\r\n", "without CR and LF"},
      {":\r\n", "'' is no integer"},
      {":+1\r\n", "'+1' is no integer"},
      {":-\r\n", "'-' is no integer"},
      {":--1\r\n", "'--1' is no integer"},
      {":-0\r\n", "'-0' is no integer"},
      {":01\r\n", "'01' is no integer"},
      {": 1\r\n", "' 1' is no integer"},
      {":1 \r\n", "'1 ' is no integer"},
      {":0x1\r\n", "is no integer"},
      {":1.0\r\n", "'1.0' is no integer"},
      {":9223372036854775808\r\n", "'9223372036854775808' is no integer"},
      {":-9223372036854775809\r\n", "is no integer"},
      {":11111111111111111111111", "a line of more than 23 bytes"},
      {"$\r\n", "'' is no length"},
      {"$-2\r\n", "'-2' is no length"},
      {"$-0\r\n", "'-0' is no length"},
      {"$+5\r\n", "'+5' is no length"},
      {"$05\r\n", "'05' is no length"},
      {"$5 \r\n", "'5 ' is no length"},
      {"$a\r\n", "'a' is no length"},
      {"$?\r\n", "'?' is no length"},  // RESP3's chunks
      {"*-2\r\n", "'-2' is no length"},
      {"*1x\r\n", "'1x' is no length"},
      {"$2\r\nabc\r", "followed by 'c\\r'"},
      {"$2\r\nab\n\r", "followed by '\\n\\r'"},
      {"$0\r\n+O", "followed by '+O'"},
      {"*2\r\n:1\r\n:x\r\n", "'x' is no integer"},
      {"*1\r\nx", "a reply begins with 'x'"},
      {"+OK\r\nx", "a reply begins with 'x'"},
  };
  for (const auto& example : refused) {
    const std::string& bytes = example.first;
    CAPTURE(bytes);
    CHECK(contains(refusal_of(bytes), example.second));
    // All but the last byte is no matter.
    const std::string_view before(bytes);
    CHECK(refusal_of(before.substr(0, before.size() - 1)).empty());
  }
}

TEST_CASE("Parser refuses what is larger than its limits") {
  SUBCASE("in lines") {
    const Parser::Limits limits{.line = 16};
    CHECK(refusal_of("+0123456789abc\r\n", limits).empty());
    CHECK(refusal_of("+0123456789abcd\r\n", limits) ==
          "a line of more than 16 bytes");
    CHECK(refusal_of("-0123456789abcdefghijkl", limits) ==
          "a line of more than 16 bytes");
  }
  SUBCASE("in bulk strings, as soon as they are announced") {
    const Parser::Limits limits{.reply = 1000};
    CHECK(refusal_of("$1000\r\n", limits).empty());
    CHECK(refusal_of("$1001\r\n", limits) == "a reply of more than 1000 bytes");
    CHECK(contains(refusal_of("$9223372036854775807\r\n"), "a reply of more"));
  }
  SUBCASE("in arrays, as soon as they are announced") {
    const Parser::Limits limits{.reply = 10 * sizeof(Reply)};
    CHECK(refusal_of("*10\r\n", limits).empty());
    CHECK(contains(refusal_of("*11\r\n", limits), "a reply of more"));
    CHECK(contains(refusal_of("*9223372036854775807\r\n"), "a reply of more"));
    CHECK(contains(refusal_of("*1\r\n*10\r\n", limits), "a reply of more"));
  }
  SUBCASE("in all elements together") {
    const Parser::Limits limits{.reply = 2 * sizeof(Reply) + 10};
    const std::string start = "*2\r\n$5\r\nhello\r\n";
    CHECK(refusal_of(start + "$5\r\n", limits).empty());
    CHECK(contains(refusal_of(start + "$6\r\n", limits), "a reply of more"));
    CHECK(contains(refusal_of(start + "+world!\r\n", limits), "a reply of"));
  }
  SUBCASE("but counts every reply by itself") {
    std::string bytes;
    for (int i = 0; i < 100; i++) {
      bytes += "$10\r\n0123456789\r\n";
    }
    CHECK(parse(bytes, 7, {.reply = 10}).size() == 100);
  }
}

TEST_CASE("Parser refuses arrays that are nested too deep") {
  auto nested = [](int depth) {
    std::string bytes;
    for (int i = 0; i < depth; i++) {
      bytes += "*1\r\n";
    }
    return bytes + ":1\r\n";
  };
  CHECK(refusal_of(nested(128)).empty());
  CHECK(refusal_of(nested(129)) == "arrays in arrays, deeper than 128");
  CHECK(contains(refusal_of(nested(1'000'000)), "deeper than 128"));
  CHECK(refusal_of(nested(3), {.depth = 3}).empty());
  CHECK(contains(refusal_of(nested(4), {.depth = 3}), "deeper than 3"));
  // Side by side is not inside one another.
  std::string beside = "*500\r\n";
  for (int i = 0; i < 500; i++) {
    beside += "*1\r\n:1\r\n";
  }
  CHECK(parse(beside).size() == 1);
}

TEST_CASE("Parser takes no memory for what is only announced") {
  // Half of what there is, several times at once, would not be there.
  std::vector<Parser> parsers(64);
  for (Parser& parser : parsers) {
    std::string_view bulk_header = "*2\r\n$536870912\r\nx";
    CHECK_FALSE(parser.feed(bulk_header).has_value());
  }
  for (Parser& parser : parsers) {
    parser = Parser();
    std::string_view array_header = "*10000000\r\n";
    CHECK_FALSE(parser.feed(array_header).has_value());
  }
}

TEST_CASE("Parser survives any bytes") {
  std::uint32_t state = 1;
  auto random = [&state] {
    state = state * 1664525 + 1013904223;
    return state >> 8;
  };
  constexpr std::string_view kLikely = "+-:$*0123456789\r\n\r\nab";
  int replies = 0;
  for (int round = 0; round < 20'000; round++) {
    std::string bytes;
    for (int i = 0; i < 40; i++) {
      bytes += kLikely[random() % kLikely.size()];
    }
    // The way it is cut changes neither the replies nor the refusal.
    auto outcome = [&bytes](std::size_t piece) {
      Parser parser;
      std::vector<Reply> got;
      try {
        for (std::size_t at = 0; at < bytes.size(); at += piece) {
          std::string_view part = std::string_view(bytes).substr(at, piece);
          while (std::optional<Reply> reply = parser.feed(part)) {
            got.push_back(std::move(*reply));
          }
        }
      } catch (const ProtocolError&) {
        got.push_back(error("refused"));
      }
      return got;
    };
    const std::vector<Reply> whole = outcome(bytes.size());
    REQUIRE(outcome(1) == whole);
    REQUIRE(outcome(3) == whole);
    replies += static_cast<int>(whole.size());
  }
  CHECK(replies > 20'000);
}

TEST_CASE("append_command writes an array of bulk strings") {
  std::string bytes;
  append_command(bytes, {"SET", "k", std::string("\r\n\0", 3)});
  append_command(bytes, {"GET", ""});
  CHECK(bytes == "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$3\r\n\r\n" +
                     std::string(1, '\0') +
                     "\r\n*2\r\n$3\r\nGET\r\n$0\r\n\r\n");
}

TEST_CASE("Backoff doubles up to its bound, less a part by chance") {
  Backoff backoff(100ms, 1s);
  for (int round = 0; round < 2; round++) {
    for (const auto full : {100ms, 200ms, 400ms, 800ms, 1000ms, 1000ms}) {
      const auto delay = backoff.next();
      CHECK(delay >= full / 2);
      CHECK(delay <= full);
    }
    backoff.reset();
  }
  Backoff short_one(10s, 1s);
  CHECK(short_one.next() <= 1s);
  CHECK(short_one.next() >= 500ms);
  Backoff longest(1s, std::chrono::nanoseconds::max());
  for (int i = 0; i < 100; i++) {
    CHECK(longest.next() > 0s);
  }
}

TEST_SUITE_END();
