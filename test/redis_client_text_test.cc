// What redis_client makes of text, and text of replies: lines, the command
// line, output.

#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "redis_client/format.h"
#include "redis_client/options.h"
#include "redis_client/resp.h"
#include "redis_client/words.h"
#include "support/redis_replies.h"
#include "support/text.h"

using redis_client::format_raw;
using redis_client::format_typed;
using redis_client::Options;
using redis_client::parse_options;
using redis_client::quote;
using redis_client::Reply;
using redis_client::split_words;
using redis_client::UsageError;
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

Options parse_words(std::vector<std::string> words) {
  words.insert(words.begin(), "redis_client");
  std::vector<char*> argv;
  argv.reserve(words.size() + 1);
  for (std::string& word : words) {
    argv.push_back(word.data());
  }
  argv.push_back(nullptr);
  return parse_options(static_cast<int>(words.size()), argv.data());
}

}  // namespace

TEST_SUITE_BEGIN("redis_client_text");

TEST_CASE("format_typed shows types, and arrays numbered and indented") {
  const Reply inner = array({integer(1), array({}), array({Reply()})});
  CHECK(format_typed(status("OK")) == "OK\n");
  CHECK(format_typed(error("ERR no")) == "(error) ERR no\n");
  CHECK(format_typed(integer(-7)) == "(integer) -7\n");
  CHECK(format_typed(bulk("a \"b\"\n")) == "\"a \\\"b\\\"\\n\"\n");
  CHECK(format_typed(Reply()) == "(nil)\n");
  CHECK(format_typed(array({})) == "(empty array)\n");
  CHECK(format_typed(array({bulk("x"), inner, integer(2)})) ==
        "1) \"x\"\n"
        "2) 1) (integer) 1\n"
        "   2) (empty array)\n"
        "   3) 1) (nil)\n"
        "3) (integer) 2\n");

  std::vector<Reply> ten(10, integer(0));
  ten[1] = array({integer(1), integer(2)});
  const std::string text = format_typed(array(std::move(ten)));
  CHECK(
      text.starts_with(" 1) (integer) 0\n"
                       " 2) 1) (integer) 1\n"
                       "    2) (integer) 2\n"
                       " 3) (integer) 0\n"));
  CHECK(text.ends_with("10) (integer) 0\n"));
}

TEST_CASE("format_raw shows bytes as they are") {
  CHECK(format_raw(status("OK")) == "OK\n");
  CHECK(format_raw(integer(-7)) == "-7\n");
  CHECK(format_raw(bulk(std::string("a\0\"\n", 4))) ==
        std::string("a\0\"\n\n", 5));
  CHECK(format_raw(Reply()) == "\n");
  CHECK(format_raw(array({})) == "\n");
  CHECK(format_raw(array({bulk("a"), array({integer(1), Reply()}),
                          error("b")})) == "a\n1\n\nb\n");
}

TEST_CASE("quote and split_words are inverse for any bytes") {
  std::string bytes;
  for (int value = 0; value < 256; value++) {
    bytes += static_cast<char>(value);
  }
  bytes += "\\x41\\\\\"'";
  CHECK(split_words(quote(bytes)) == std::vector<std::string>{bytes});
}

TEST_CASE("split_words splits at blanks and reads quotes") {
  const std::vector<std::pair<std::string, std::vector<std::string>>> lines = {
      {"", {}},
      {" \t\r\v\f", {}},
      {"PING", {"PING"}},
      {"  SET\tkey  value\r", {"SET", "key", "value"}},
      {R"(SET k "a b")", {"SET", "k", "a b"}},
      {R"(SET k "")", {"SET", "k", ""}},
      {R"(SET k '')", {"SET", "k", ""}},
      {R"("\n\r\t\a\b\\\"\q")", {"\n\r\t\a\b\\\"q"}},
      {R"("\x41\x0a\xFf\xg1\x4")", {"A\n\xffxg1x4"}},
      {R"('a\nb\'c"d')", {"a\\nb'c\"d"}},
      {R"(a\b)", {"a\\b"}},
      {R"(ab"cd" 'e'	f)", {"abcd", "e", "f"}},
      {"\xc3\xa4", {"\xc3\xa4"}},
  };
  for (const auto& example : lines) {
    CAPTURE(example.first);
    CHECK(split_words(example.first) == example.second);
  }
}

TEST_CASE("split_words refuses quotes that do not end a word") {
  for (const std::string line : {"\"", "'", "a \"b", "a 'b", "\"a\\\"", "'a\\'",
                                 "\"\\x4", "\"a\\", "\"a\"b", "'a'b", "''''"}) {
    CAPTURE(line);
    CHECK_FALSE(failure_of<std::invalid_argument>([&] {
                  return split_words(line);
                }).empty());
  }
}

TEST_CASE("the command line says where the server is and what to do") {
  ::unsetenv("REDISCLI_AUTH");
  const Options plain = parse_words({});
  CHECK(plain.host == "127.0.0.1");
  CHECK(plain.port == 6379);
  CHECK(plain.repeat == 1);
  CHECK(plain.command.empty());
  CHECK_FALSE(plain.timeout.has_value());

  const Options all = parse_words(
      {"--host",     "::1",      "--port=7000", "--tls",      "--cacert",
       "ca.pem",     "--user",   "u",           "--password", "p",
       "--database", "3",        "--repeat",    "5",          "--timeout",
       "0.5",        "--no-raw", "SET",         "--host",     "-5"});
  CHECK(all.host == "::1");
  CHECK(all.port == 7000);
  CHECK(all.tls);
  CHECK(all.ca_file == "ca.pem");
  CHECK(all.user == "u");
  CHECK(all.password == "p");
  CHECK(all.database == 3);
  CHECK(all.repeat == 5);
  CHECK(all.timeout == 500ms);
  CHECK(all.format == Options::Format::typed);
  CHECK(all.command == std::vector<std::string>{"SET", "--host", "-5"});

  CHECK(parse_words({"--unix", "/x", "--raw"}).unix_path == "/x");
  CHECK(parse_words({"--help", "--repeat", "2"}).help);

  ::setenv("REDISCLI_AUTH", "secret", 1);
  CHECK(parse_words({}).password == "secret");
  CHECK(parse_words({"--password", "p"}).password == "p");
  ::unsetenv("REDISCLI_AUTH");
}

TEST_CASE("the command line is refused where it makes no sense") {
  const std::vector<std::pair<std::vector<std::string>, std::string>> lines = {
      {{"--port", "0", "PING"}, "--port: '0' is no number from 1 to 65535"},
      {{"--port", "65536"}, "--port: '65536'"},
      {{"--port", "1x"}, "--port: '1x'"},
      {{"--database", "-1"}, "--database: '-1'"},
      {{"--repeat", "0", "PING"}, "--repeat: '0'"},
      {{"--repeat", "2"}, "--repeat: needs a command"},
      {{"--timeout", "0"}, "--timeout: '0'"},
      {{"--timeout", "nan"}, "--timeout: 'nan'"},
      {{"--timeout", "1e10"}, "--timeout: '1e10'"},
      {{"--cacert", "x"}, "of no use without --tls"},
      {{"--insecure"}, "of no use without --tls"},
      {{"--tls", "--insecure", "--cacert", "x"}, "of no use with --insecure"},
      {{"--tls", "--unix", "/x"}, "--tls: not over a Unix domain socket"},
      {{"--user", "u"}, "--user: needs a --password"},
      {{"--port"}, "--port: its argument is missing"},
      {{"--nonsense"}, "--nonsense: no such option"},
      {{"-x"}, "-x: no such option"},
  };
  for (const auto& example : lines) {
    CAPTURE(example.first.front());
    const std::string failure =
        failure_of<UsageError>([&] { return parse_words(example.first); });
    CHECK(contains(failure, example.second));
  }
}

TEST_SUITE_END();
