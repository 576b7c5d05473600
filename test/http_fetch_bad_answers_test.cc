// Servers that break the rules: each gives one clear line and exit status 1.

#include <chrono>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "support/http_fetch.h"
#include "support/program.h"
#include "support/scripted_http_server.h"

using waterspout::test::http_fetch;
using waterspout::test::ProgramResult;
using waterspout::test::ScriptedAnswer;
using waterspout::test::ScriptedHttpServer;

namespace {

using End = ScriptedAnswer::End;

const std::string kOk = "HTTP/1.1 200 OK\r\n";

// What http_fetch says of an answer, without the part that is always the same.
std::string reason_for(ScriptedAnswer answer,
                       std::vector<std::string> arguments = {}) {
  ScriptedHttpServer server(std::move(answer));
  arguments.push_back(server.url());
  const ProgramResult result = http_fetch(std::move(arguments));
  CHECK(result.exit_code == 1);
  const std::string start = "http_fetch: " + server.url() + ": ";
  CHECK(result.err.substr(0, start.size()) == start);
  CHECK(result.err.find('\n') == result.err.size() - 1);
  return result.err.substr(start.size(), result.err.size() - start.size() - 1);
}

struct Example {
  std::string bytes;
  std::string reason;
};

void check(const std::vector<Example>& examples, End end = End::close) {
  for (const Example& example : examples) {
    CAPTURE(example.bytes);
    CHECK(reason_for({example.bytes, end}) == example.reason);
  }
}

}  // namespace

TEST_SUITE_BEGIN("http_fetch_bad_answers");

TEST_CASE("http_fetch tells a malformed head") {
  check({
      {kOk + "no colon\r\n\r\n",
       "malformed response: no ':' in the header line 'no colon'"},
      {kOk + "Two Words: x\r\n\r\n",
       "malformed response: 'Two Words' is no header name"},
      {kOk + "A: 1\r\n folded\r\n\r\n",
       "malformed response: a header line begins with a blank: ' folded'"},
      {kOk + "A: \x1b[2J\r\n\r\n",
       "malformed response: a control character in the value of 'A'"},
      {"HTTP/1.1 101 Switching Protocols\r\n\r\n",
       "malformed response: it switches to a protocol that nobody asked for"},
  });
}

TEST_CASE("http_fetch tells what is not http") {
  check({
      {"SSH-2.0-OpenSSH_9.2\r\n",
       "not http: the answer begins with 'SSH-2.0-OpenSSH_9.2'"},
      {"HTTP/2.0 200 OK\r\n\r\n",
       "not http: the answer begins with 'HTTP/2.0 200 OK'"},
      {"<html>", "not http: the answer begins with '<html>'"},
      {std::string("\x15\x03\x01\0\x02\x02\x16", 7),
       "not http: the answer begins with "
       "'\\x15\\x03\\x01\\x00\\x02\\x02\\x16'"},
  });
  // A mail server waits for us, so its first line must do.
  CHECK(reason_for({"220 mail.example ESMTP\r\n", End::hold}) ==
        "not http: the answer begins with '220 mail.example ESMTP'");
}

TEST_CASE("http_fetch tells a head that is cut short") {
  check({
      {"", "connection closed without a response"},
      {"HT", "response head cut short"},
      {"HTTP/1.1 200 OK", "response head cut short"},
      {kOk, "response head cut short"},
      {kOk + "Content-Le", "response head cut short"},
      {"HTTP/1.1 100 Continue\r\n\r\n", "response head cut short"},
  });
  check({{"", "connection closed without a response: Connection reset by peer"},
         {kOk, "response head cut short: Connection reset by peer"}},
        End::reset);
}

TEST_CASE("http_fetch gives up on a head larger than 64 KiB") {
  const std::string reason = "response head larger than 65536 bytes";
  const std::string field = "A: " + std::string(1000, 'x') + "\r\n";
  std::string many = kOk;
  while (many.size() < 65536) {
    many += field;
  }
  std::string interim;
  while (interim.size() <= 65536) {
    interim += "HTTP/1.1 100 Continue\r\n\r\n";
  }
  check({{many + "\r\n", reason},
         {kOk + "A: " + std::string(70000, 'x'), reason},
         {std::string(70000, 'x'), reason},
         {interim, reason}},
        End::hold);
}

TEST_CASE("http_fetch takes a head of exactly 64 KiB") {
  std::string head = kOk + "Content-Length: 2\r\nA: ";
  head += std::string(65536 - head.size() - 4, 'x') + "\r\n\r\n";
  REQUIRE(head.size() == 65536);

  ScriptedHttpServer server(head + "ok");
  CHECK(http_fetch({server.url()}).out == "ok");
  server.set_answer("/more", {"HTTP/1.1 100 Continue\r\n\r\n" + head + "ok"});
  CHECK(http_fetch({server.url("/more")}).exit_code == 1);
}

TEST_CASE("http_fetch tells contradictory and impossible lengths") {
  const std::string text = "\r\n\r\nhello";
  check({
      {kOk + "Content-Length: 5\r\nContent-Length: 6" + text,
       "malformed response: contradictory lengths 5 and 6"},
      {kOk + "Content-Length: 5\r\nTransfer-Encoding: chunked" + text,
       "malformed response: contradictory lengths: Content-Length and chunked"},
      {kOk + "Content-Length: -5" + text,
       "malformed response: Content-Length '-5' is no length"},
      {kOk + "Content-Length: 9223372036854775808" + text,
       "malformed response: Content-Length '9223372036854775808' is no length"},
      {kOk + "Content-Length: 18446744073709551621" + text,
       "malformed response: Content-Length '18446744073709551621' is no "
       "length"},
      {kOk + "Transfer-Encoding: gzip, chunked" + text,
       "transfer coding 'gzip' and more: only 'chunked' is supported"},
  });
}

TEST_CASE("http_fetch tells how much of a body has come") {
  const std::string half =
      kOk + "Content-Length: 1024\r\n\r\n" + std::string(512, 'x');
  check({
      {half, "body cut short: got 512 of 1024 bytes"},
      {kOk + "Content-Length: 1\r\n\r\n", "body cut short: got 0 of 1 bytes"},
  });
  CHECK(reason_for({half, End::reset}) ==
        "body cut short: got 512 of 1024 bytes: Connection reset by peer");
  CHECK(reason_for({kOk + "\r\nhello", End::reset}) ==
        "body cut short: got 5 bytes: Connection reset by peer");
}

TEST_CASE("http_fetch tells bad chunks") {
  const std::string head = kOk + "Transfer-Encoding: chunked\r\n\r\n";
  check({
      {head + "x\r\n", "malformed response: bad chunk size 'x'"},
      {head + "-1\r\n", "malformed response: bad chunk size '-1'"},
      {head + "5\r\nhello\r\n8000000000000000\r\n",
       "malformed response: bad chunk size '8000000000000000'"},
      {head + "5\r\nhello!\r\n",
       "malformed response: a chunk is longer than its size"},
      {head + "5\r\nhel", "body cut short: got 3 bytes"},
      {head + "5\r\nhello\r\n", "body cut short: got 5 bytes"},
      {head + "5\r\nhello\r\n0\r\n", "body cut short: got 5 bytes"},
      {head, "body cut short: got 0 bytes"},
  });
  check({{head + "1" + std::string(5000, ' '),
          "malformed response: a chunk's size or the trailer is too long"},
         {head + "0\r\nA: " + std::string(70000, 'x'),
          "malformed response: a chunk's size or the trailer is too long"}},
        End::hold);
}

TEST_CASE("http_fetch gives up when the time is up, and says at what") {
  const std::vector<std::string> timeout = {"--timeout", "0.2"};
  CHECK(reason_for({"", End::hold}, timeout) ==
        "timed out after 0.2 s, waiting for the response head");
  CHECK(reason_for({kOk + "Content-Length: 9\r\n\r\nhello", End::hold},
                   timeout) ==
        "timed out after 0.2 s, reading the body (got 5 of 9 bytes)");
  CHECK(reason_for({kOk + "\r\nhello", End::hold}, timeout) ==
        "timed out after 0.2 s, reading the body (got 5 bytes)");
}

TEST_CASE("http_fetch bounds the whole fetch, not each step of it") {
  // There is news all the time, but it never comes to an end.
  ScriptedAnswer slow{kOk + "Content-Length: 65536\r\n\r\n", End::hold};
  slow.bytes += std::string(2000, 'x');
  slow.bytewise = true;
  ScriptedHttpServer server(slow);
  const auto begin = std::chrono::steady_clock::now();
  const ProgramResult result = http_fetch({"--timeout", "0.3", server.url()});
  const auto took = std::chrono::steady_clock::now() - begin;
  CHECK(result.exit_code == 1);
  CHECK(result.err.find("timed out after 0.3 s") != std::string::npos);
  CHECK(took >= std::chrono::milliseconds(300));
  CHECK(took < std::chrono::seconds(4));  // the server holds for five
}

TEST_CASE("http_fetch sleeps while it waits") {
  ScriptedHttpServer server(
      ScriptedAnswer{kOk + "Content-Length: 9\r\n\r\nhello", End::hold});
  const ProgramResult result = http_fetch({"--timeout", "1", server.url()});
  CHECK(result.exit_code == 1);
  CHECK(result.cpu_time < std::chrono::milliseconds(500));
}

TEST_CASE("http_fetch --max-size gives up on a longer body") {
  const std::vector<std::string> limit = {"--max-size", "4"};
  CHECK(reason_for({kOk + "Content-Length: 5\r\n\r\n", End::hold}, limit) ==
        "body larger than --max-size 4");
  CHECK(reason_for({kOk + "\r\nhello", End::hold}, limit) ==
        "body larger than --max-size 4");
  CHECK(reason_for({kOk + "Transfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\n"
                          "lo\r\n",
                    End::hold},
                   limit) == "body larger than --max-size 4");

  CHECK(reason_for({kOk + "\r\n" + std::string(1 << 20, 'x'), End::hold},
                   limit) == "body larger than --max-size 4");

  ScriptedHttpServer server(kOk + "\r\nhell");
  CHECK(http_fetch({"--max-size", "4", server.url()}).out == "hell");
}

TEST_SUITE_END();
