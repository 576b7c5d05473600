// What http_server makes of text: heads, targets, ranges, dates.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <doctest/doctest.h>

#include "http_server/content_type.h"
#include "http_server/http_date.h"
#include "http_server/range.h"
#include "http_server/request.h"

using http_server::BadRequest;
using http_server::content_type;
using http_server::Date;
using http_server::decode_path;
using http_server::encode_path;
using http_server::format_date;
using http_server::HeadFinder;
using http_server::HeadLimits;
using http_server::Method;
using http_server::parse_date;
using http_server::parse_range;
using http_server::parse_request;
using http_server::Range;
using http_server::Request;

namespace {

const std::string kHost = "Host: example.org\r\n";

Request parse(std::string_view head) { return parse_request(head, {}); }

// The status with which `function` refuses; 0 if it does not.
template <class Function>
int refusal_of(Function function) {
  try {
    static_cast<void>(function());
  } catch (const BadRequest& error) {
    CHECK(std::string_view(error.what()) != "");
    return error.status();
  }
  return 0;
}

int status_of_head(std::string_view head) {
  return refusal_of([&] { return parse(head); });
}

int status_of_line(const std::string& line) {
  return status_of_head(line + "\r\n" + kHost + "\r\n");
}

int status_of_fields(const std::string& fields) {
  return status_of_head("GET / HTTP/1.1\r\n" + kHost + fields + "\r\n");
}

std::optional<std::size_t> find_end(std::string_view input,
                                    const HeadLimits& limits = {}) {
  return HeadFinder().find(input, limits);
}

Date at(int year, unsigned month, unsigned day, int seconds = 0) {
  return std::chrono::sys_days(std::chrono::year(year) /
                               static_cast<int>(month) /
                               static_cast<int>(day)) +
         std::chrono::seconds(seconds);
}

const Date kToday = at(2026, 11, 20);

}  // namespace

TEST_SUITE_BEGIN("http_server_parse");

TEST_CASE("HeadFinder::find finds the blank line") {
  CHECK(find_end("GET / HTTP/1.1\r\n\r\n") == 18);
  CHECK(find_end("GET / HTTP/1.1\r\nA: b\r\n\r\nGET /2") == 24);
  CHECK(find_end("GET / HTTP/1.1\r\nA: b\r\n\r") == std::nullopt);
  CHECK(find_end("GET / HTTP/1.1\r\n") == std::nullopt);
  CHECK(find_end("") == std::nullopt);
}

TEST_CASE("HeadFinder::find ignores empty lines before a request") {
  CHECK(find_end("\r\n\r\nGET / HTTP/1.1\r\n\r\n") == 22);
  CHECK(find_end("\r\n\r\n") == std::nullopt);
  CHECK(find_end("\r") == std::nullopt);
}

TEST_CASE("HeadFinder::find goes on where it was when more has arrived") {
  const std::string text = "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\nrest";
  for (std::size_t step : {1U, 2U, 7U}) {
    CAPTURE(step);
    HeadFinder finder;
    std::optional<std::size_t> end;
    for (std::size_t size = 0; !end && size < text.size();) {
      size = std::min(size + step, text.size());
      end = finder.find(std::string_view(text).substr(0, size), {});
    }
    CHECK(end == text.size() - 4);
  }
}

TEST_CASE("HeadFinder::find refuses lines that do not end in CR LF") {
  for (const char* input : {"GET / HTTP/1.0\n\n", "GET / HTTP/1.0\r\nA: b\n",
                            "\n", "GET / HTTP/1.1\r\n\n", "\r\n\n"}) {
    CAPTURE(input);
    CHECK(refusal_of([&] { return find_end(input); }) == 400);
  }
}

TEST_CASE("HeadFinder::find refuses what is no HTTP before a line ends") {
  CHECK(refusal_of([] { return find_end("\x16\x03\x01"); }) == 400);
  CHECK(refusal_of([] { return find_end(" GET"); }) == 400);
  CHECK(refusal_of([] { return find_end("\r\n{"); }) == 400);
}

TEST_CASE("HeadFinder::find refuses heads beyond the limits") {
  const HeadLimits limits{.request_line = 20, .head = 40};
  const auto status = [&](const std::string& input) {
    return refusal_of([&] { return find_end(input, limits); });
  };
  const std::string line_of_20 = "GET /12345 HTTP/1.1x";
  CHECK(status(line_of_20 + "\r\n") == 0);
  CHECK(status(line_of_20) == 0);
  CHECK(status(line_of_20 + "y\r\n") == 414);
  CHECK(status(line_of_20 + "y") == 414);
  const std::string head_of_40 = line_of_20 + "\r\nA: 01234567890\r\n\r\n";
  CHECK(head_of_40.size() == 40);
  CHECK(status(head_of_40) == 0);
  CHECK(status("\r\n" + head_of_40) == 431);
  CHECK(status(line_of_20 + "\r\n" + std::string(18, 'A')) == 0);
  CHECK(status(line_of_20 + "\r\n" + std::string(19, 'A')) == 431);
}

TEST_CASE("parse_request reads the request line") {
  const Request get = parse("GET /a/b?c=d HTTP/1.1\r\nHost: x\r\n\r\n");
  CHECK(get.method == Method::get);
  CHECK(get.path == "a/b");
  CHECK(get.query == "?c=d");
  CHECK(get.minor_version == 1);
  CHECK(get.keep_alive);

  const Request head = parse("\r\nHEAD / HTTP/1.0\r\n\r\n");
  CHECK(head.method == Method::head);
  CHECK(head.path.empty());
  CHECK(head.query.empty());
  CHECK(head.minor_version == 0);
  CHECK_FALSE(head.keep_alive);

  CHECK(parse("GET / HTTP/1.9\r\nHost: x\r\n\r\n").minor_version == 1);
}

TEST_CASE("parse_request accepts the target as a URL of http") {
  const auto target = [](const std::string& text) {
    const std::string head = "GET " + text + " HTTP/1.1\r\n" + kHost + "\r\n";
    const Request request = parse(head);
    return "/" + request.path + std::string(request.query);
  };
  CHECK(target("http://example.org/a?b") == "/a?b");
  CHECK(target("HTTP://[::1]:80/a") == "/a");
  CHECK(target("http://example.org") == "/");
  CHECK(target("http://example.org?q") == "/?q");
}

TEST_CASE("parse_request refuses bad request lines") {
  struct Example {
    const char* line;
    int status;
  };
  const std::vector<Example> examples = {
      {"GET", 400},
      {"GET /", 400},
      {"GET  HTTP/1.1", 400},
      {"GET / HTTP/1.1 ", 400},
      {"GET  / HTTP/1.1", 400},
      {"GET\t/ HTTP/1.1", 400},
      {"GET /a b HTTP/1.1", 400},
      {"GET / http/1.1", 400},
      {"GET / HTTP/1", 400},
      {"GET / HTTP/1.10", 400},
      {"GET / HTTP/11", 400},
      {"GET / XTTP/1.1", 400},
      {"GET / HTTP/1.1\r", 400},
      {"G(T / HTTP/1.1", 400},
      {"GET a HTTP/1.1", 400},
      {"GET * HTTP/1.1", 400},
      {"GET /a#b HTTP/1.1", 400},
      {"GET /\xc3\xa4 HTTP/1.1", 400},
      {"GET /\x01 HTTP/1.1", 400},
      {"GET http:///a HTTP/1.1", 400},
      {"GET http://a@b/ HTTP/1.1", 400},
      {"GET https://a/ HTTP/1.1", 400},
      {"GET ftp://a/ HTTP/1.1", 400},
      {"GET /%2 HTTP/1.1", 400},
      {"GET /../a HTTP/1.1", 403},
      {"POST / HTTP/1.1", 405},
      {"OPTIONS * HTTP/1.1", 405},
      {"CONNECT a:80 HTTP/1.1", 405},
      {"get / HTTP/1.1", 501},
      {"BREW / HTTP/1.1", 501},
      {"GET / HTTP/2.0", 505},
      {"PRI * HTTP/2.0", 505},
      {"GET / HTTP/0.9", 505},
  };
  for (const Example& example : examples) {
    CAPTURE(example.line);
    CHECK(status_of_line(example.line) == example.status);
  }
}

TEST_CASE("parse_request refuses bad fields") {
  CHECK(status_of_fields("A: b\r\nC:\r\nD:\te\t\r\nE: \xff\r\n") == 0);
  const std::vector<std::string> bad = {
      "A\r\n",           "A : b\r\n",
      " A: b\r\n",       "A: b\r\n c\r\n",
      "A: b\r\n\tc\r\n", ": b\r\n",
      "A: b\x01\r\n",    "A: b\rC: d\r\n",
      "\xc3\xa4: b\r\n", std::string("A: b\0\r\n", 7),
      "A(): b\r\n"};
  for (const std::string& fields : bad) {
    CAPTURE(fields);
    CHECK(status_of_fields(fields) == 400);
  }
}

TEST_CASE("parse_request wants a Host in HTTP/1.1, once and well-formed") {
  const auto status = [](const std::string& fields, const char* version) {
    return status_of_head("GET / HTTP/" + std::string(version) + "\r\n" +
                          fields + "\r\n");
  };
  CHECK(status("", "1.1") == 400);
  CHECK(status("", "1.0") == 0);
  CHECK(status("Host:\r\n", "1.1") == 0);
  CHECK(status("host: [::1]:8000\r\n", "1.1") == 0);
  CHECK(status("Host: a\r\nHost: a\r\n", "1.1") == 400);
  CHECK(status("Host: a\r\nHost: b\r\n", "1.0") == 400);
  CHECK(status("Host: a b\r\n", "1.1") == 400);
  CHECK(status("Host: a/b\r\n", "1.1") == 400);
  CHECK(status("Host: a@b\r\n", "1.1") == 400);
}

TEST_CASE("parse_request refuses every body, and what may hide one") {
  struct Example {
    const char* fields;
    int status;
  };
  const std::vector<Example> examples = {
      {"Content-Length: 0\r\n", 0},
      {"Content-Length: 000\r\n", 0},
      {"Content-Length: 1\r\n", 400},
      {"Content-Length: 18446744073709551616\r\n", 400},
      {"Content-Length:\r\n", 400},
      {"Content-Length: +0\r\n", 400},
      {"Content-Length: -1\r\n", 400},
      {"Content-Length: 0x0\r\n", 400},
      {"Content-Length: 0, 0\r\n", 400},
      {"Content-Length: 0\r\nContent-Length: 5\r\n", 400},
      {"content-length: 0\r\nCONTENT-LENGTH: 0\r\n", 400},
      {"Content-Length: 0\r\nTransfer-Encoding: chunked\r\n", 400},
      {"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", 400},
      {"Transfer-Encoding : chunked\r\n", 400},
      {"Transfer-Encoding: chunked\r\n", 501},
      {"Transfer-Encoding: identity\r\n", 501},
      {"Transfer-Encoding:\r\n", 501},
      {"Transfer-Encoding: x\r\nTransfer-Encoding: chunked\r\n", 400},
  };
  for (const Example& example : examples) {
    CAPTURE(example.fields);
    CHECK(status_of_fields(example.fields) == example.status);
  }
  CHECK(status_of_head(
            "GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n") == 400);
}

TEST_CASE("parse_request refuses too many fields") {
  std::string fields;
  for (int i = 0; i < 99; ++i) {
    fields += "A: b\r\n";
  }
  CHECK(status_of_fields(fields) == 0);
  CHECK(status_of_fields(fields + "A: b\r\n") == 431);
}

TEST_CASE("parse_request keeps the connection as version and client say") {
  struct Example {
    const char* version;
    const char* fields;
    bool keep_alive;
  };
  const std::vector<Example> examples = {
      {"1.1", "", true},
      {"1.1", "Connection: close\r\n", false},
      {"1.1", "connection: CLOSE\r\n", false},
      {"1.1", "Connection: x, close ,y\r\n", false},
      {"1.1", "Connection: keep-alive\r\n", true},
      {"1.1", "Connection: close\r\nConnection: keep-alive\r\n", false},
      {"1.1", "Connection: closed\r\n", true},
      {"1.0", "", false},
      {"1.0", "Connection: Keep-Alive\r\n", true},
      {"1.0", "Connection: keep-alive, close\r\n", false},
      {"1.0", "Connection: ,\r\n", false},
  };
  for (const Example& example : examples) {
    CAPTURE(example.version);
    CAPTURE(example.fields);
    const std::string head = "GET / HTTP/" + std::string(example.version) +
                             "\r\n" + kHost + example.fields + "\r\n";
    CHECK(parse(head).keep_alive == example.keep_alive);
  }
}

TEST_CASE("parse_request keeps the conditions of the request") {
  const std::string head =
      "GET / HTTP/1.1\r\nHost: a\r\nrange: bytes=0-1\r\nIF-RANGE: b\r\n"
      "If-Modified-Since: c\r\nIf-Unmodified-Since: d\r\nIf-Match: \"e\"\r\n"
      "If-Match: \"f\"\r\nIf-None-Match: *\r\n\r\n";
  const Request request = parse(head);
  CHECK(request.range == "bytes=0-1");
  CHECK(request.if_range == "b");
  CHECK(request.if_modified_since == "c");
  CHECK(request.if_unmodified_since == "d");
  CHECK(request.if_match == "\"e\"");
  CHECK(request.if_none_match == "*");
  CHECK(status_of_fields("Range: bytes=0-1\r\nRange: bytes=2-3\r\n") == 400);
}

TEST_CASE("decode_path decodes, strictly") {
  CHECK(decode_path("/") == "");
  CHECK(decode_path("/a/b/") == "a/b/");
  CHECK(decode_path("/a%20b%C3%a4%25") == "a b\xc3\xa4%");
  CHECK(decode_path("//a//b") == "a//b");
  CHECK(decode_path("/./a") == "./a");
  CHECK(decode_path("/..a/b../...") == "..a/b../...");
  for (const char* path : {"/%", "/%1", "/%g0", "/%0g", "/%+1", "/% 1", "/%00",
                           "/a%00.txt", "/%2f", "/..%2Fa"}) {
    CAPTURE(path);
    CHECK(refusal_of([&] { return decode_path(path); }) == 400);
  }
}

TEST_CASE("decode_path refuses every way upwards") {
  for (const char* path :
       {"/..", "/../", "/../../etc/passwd", "/a/../b", "/a/..", "/%2e%2e/a",
        "/.%2E/a", "/a/%2e./", "//..", "/a//../../b"}) {
    CAPTURE(path);
    CHECK(refusal_of([&] { return decode_path(path); }) == 403);
  }
}

TEST_CASE("encode_path escapes everything that could mean something else") {
  CHECK(encode_path("") == "/");
  CHECK(encode_path("a-b._~/c") == "/a-b._~/c");
  CHECK(encode_path("a b?#%\\\r\n\xff") == "/a%20b%3F%23%25%5C%0D%0A%FF");
  CHECK(encode_path(decode_path("//evil.example")) == "/evil.example");
}

TEST_CASE("parse_range cuts one range out of the file") {
  struct Example {
    const char* value;
    std::uint64_t size;
    std::uint64_t offset;
    std::uint64_t length;
  };
  const std::vector<Example> examples = {
      {"bytes=0-0", 10, 0, 1},
      {"bytes=2-4", 10, 2, 3},
      {"bytes=0-", 10, 0, 10},
      {"bytes=9-", 10, 9, 1},
      {"bytes=5-99", 10, 5, 5},
      {"bytes=-3", 10, 7, 3},
      {"bytes=-99", 10, 0, 10},
      {"BYTES=1-1", 10, 1, 1},
      {"bytes= 1-2 ", 10, 1, 2},
      {"bytes=0-18446744073709551615", 9, 0, 9},
      {"bytes=1-99999999999999999999", 9, 1, 8},
  };
  for (const Example& example : examples) {
    CAPTURE(example.value);
    const Range range = parse_range(example.value, example.size);
    CHECK(range.kind == Range::Kind::part);
    CHECK(range.offset == example.offset);
    CHECK(range.length == example.length);
  }
}

TEST_CASE("parse_range gives the whole file for what it does not understand") {
  for (const char* value :
       {"", "bytes", "bytes=", "bytes=-", "bytes=a-b", "bytes=1", "bytes=3-2",
        "bytes=0-1,3-4", "bytes=0-1,", "bytes=--1", "bytes=+1-2", "lines=0-1",
        "bytes 0-1", "bytes=1 - 2", "bytes=0x1-2"}) {
    CAPTURE(value);
    const Range range = parse_range(value, 10);
    CHECK(range.kind == Range::Kind::whole);
    CHECK(range.offset == 0);
    CHECK(range.length == 10);
  }
  CHECK(parse_range("bytes=-5", 0).kind == Range::Kind::whole);
}

TEST_CASE("parse_range finds out what lies outside the file") {
  const auto kind = [](const char* value, std::uint64_t size) {
    return parse_range(value, size).kind;
  };
  CHECK(kind("bytes=10-", 10) == Range::Kind::unsatisfiable);
  CHECK(kind("bytes=10-20", 10) == Range::Kind::unsatisfiable);
  CHECK(kind("bytes=99999999999999999999-", 10) == Range::Kind::unsatisfiable);
  CHECK(kind("bytes=-0", 10) == Range::Kind::unsatisfiable);
  CHECK(kind("bytes=0-", 0) == Range::Kind::unsatisfiable);
}

TEST_CASE("format_date writes the form that all must understand") {
  CHECK(format_date(at(1994, 11, 6, 31777)) == "Sun, 06 Nov 1994 08:49:37 GMT");
  CHECK(format_date(at(1970, 1, 1)) == "Thu, 01 Jan 1970 00:00:00 GMT");
  CHECK(format_date(at(2024, 2, 29, 86399)) == "Thu, 29 Feb 2024 23:59:59 GMT");
  CHECK(format_date(at(9999, 12, 31)) == "Fri, 31 Dec 9999 00:00:00 GMT");
}

TEST_CASE("parse_date reads all three forms") {
  const Date date = at(1994, 11, 6, 31777);
  CHECK(parse_date("Sun, 06 Nov 1994 08:49:37 GMT", kToday) == date);
  CHECK(parse_date("Sunday, 06-Nov-94 08:49:37 GMT", kToday) == date);
  CHECK(parse_date("Sun Nov  6 08:49:37 1994", kToday) == date);
  CHECK(parse_date("Wed Nov 16 00:00:00 1994", kToday) == at(1994, 11, 16));
  CHECK(parse_date("Sat, 31 Dec 2016 23:59:60 GMT", kToday) == at(2017, 1, 1));
}

TEST_CASE("parse_date takes a year of two digits for a near one") {
  const auto year_of = [](const char* year) {
    const auto date = parse_date(
        "Sunday, 01-Jan-" + std::string(year) + " 00:00:00 GMT", kToday);
    const std::chrono::year_month_day day(
        std::chrono::floor<std::chrono::days>(date.value_or(Date())));
    return static_cast<int>(day.year());
  };
  CHECK(year_of("26") == 2026);
  CHECK(year_of("76") == 2076);
  CHECK(year_of("77") == 1977);
  CHECK(year_of("00") == 2000);
}

TEST_CASE("parse_date knows what is no date") {
  for (const char* text :
       {"", "0", "yesterday", "Sun, 06 Nov 1994 08:49:37",
        "Sun, 06 Nov 1994 08:49:37 CET", "Sun, 06 Nov 1994 08:49:37 GMT ",
        "Son, 06 Nov 1994 08:49:37 GMT", "Sun, 06 Nob 1994 08:49:37 GMT",
        "Sun, 6 Nov 1994 08:49:37 GMT", "Sun, 31 Nov 1994 08:49:37 GMT",
        "Sun, 00 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 24:00:00 GMT",
        "Sun, 06 Nov 1994 08:60:00 GMT", "Sun, 06 Nov 1994 08:49:61 GMT",
        "Sun, 06 Nov -994 08:49:37 GMT", "sun, 06 nov 1994 08:49:37 gmt",
        "Sun Nov 6 08:49:37 1994", "Sunday, 06-Nov-1994 08:49:37 GMT",
        "Thu, 29 Feb 2023 00:00:00 GMT"}) {
    CAPTURE(text);
    CHECK(parse_date(text, kToday) == std::nullopt);
  }
}

TEST_CASE("content_type goes by the suffix of the name") {
  CHECK(content_type("index.html") == "text/html; charset=utf-8");
  CHECK(content_type("a/b.PNG") == "image/png");
  CHECK(content_type("a.tar.gz") == "application/gzip");
  for (const char* path : {"", "a", "a.", "a.unknown", "a.html/b", "html"}) {
    CAPTURE(path);
    CHECK(content_type(path) == "application/octet-stream");
  }
}
