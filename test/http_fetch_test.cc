// The command line of http_fetch, option by option, against a server that says
// what each test needs.

#include "support/http_fetch.h"

#include <cstdint>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "support/program.h"
#include "support/scripted_http_server.h"
#include "support/sockets.h"
#include "support/text.h"

using waterspout::test::accept_from;
using waterspout::test::contains;
using waterspout::test::http_fetch;
using waterspout::test::http_fetch_command;
using waterspout::test::kHead;
using waterspout::test::kHello;
using waterspout::test::listen_on_loopback;
using waterspout::test::Program;
using waterspout::test::ProgramResult;
using waterspout::test::RefusingPort;
using waterspout::test::run_program;
using waterspout::test::ScriptedAnswer;
using waterspout::test::ScriptedHttpServer;
using waterspout::test::UniquePeerFd;

namespace {

using End = ScriptedAnswer::End;

const std::string kMissing =
    "HTTP/1.1 404 Not Found\r\nContent-Length: 5\r\n\r\nnone\n";

std::string redirect(const std::string& location, int status = 302) {
  return "HTTP/1.1 " + std::to_string(status) +
         " Elsewhere\r\nLocation: " + location +
         "\r\nContent-Length: 5\r\n\r\nmoved";
}

}  // namespace

TEST_SUITE_BEGIN("http_fetch");

TEST_CASE("http_fetch writes the body, and nothing else") {
  ScriptedHttpServer server(kHello);
  const ProgramResult result = http_fetch({server.url("/a?b#c")});
  CHECK(result.exit_code == 0);
  CHECK(result.out == "hello\n");
  CHECK(result.err.empty());
  CHECK(server.requests() ==
        std::vector<std::string>{"GET /a?b HTTP/1.0\r\nHost: 127.0.0.1:" +
                                 std::to_string(server.port()) +
                                 "\r\nUser-Agent: http_fetch\r\nAccept: */*\r\n"
                                 "Connection: close\r\n\r\n"});
}

TEST_CASE("http_fetch finds the end of a body") {
  struct Example {
    ScriptedAnswer answer;
    std::string body;
  };
  const std::string chunked =
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
  const std::vector<Example> examples = {
      // Held open: the length alone tells the end.
      {{kHello, End::hold}, "hello\n"},
      {{kHello + "more", End::hold}, "hello\n"},
      {{"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", End::hold}, ""},
      {{"HTTP/1.1 204 No Content\r\n\r\n", End::hold}, ""},
      {{"HTTP/1.1 304 Not Modified\r\nContent-Length: 6\r\n\r\n", End::hold},
       ""},
      {{chunked + "6\r\nhello\n\r\n0\r\n\r\n", End::hold}, "hello\n"},
      {{chunked + "3;x=y\r\nhel\r\n0003\r\nlo\n\r\n0\r\nA: b\r\n\r\n",
        End::hold},
       "hello\n"},
      {{chunked + "0\r\n\r\n", End::hold}, ""},
      // The connection's end is the body's.
      {{"HTTP/1.0 200 OK\r\n\r\nhello\n"}, "hello\n"},
      {{"HTTP/1.0 200 OK\r\n\r\n"}, ""},
      // Bare line feeds, and interim heads.
      {{"HTTP/1.0 200 OK\nContent-Length: 6\n\nhello\n", End::hold}, "hello\n"},
      {{"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n"
        "\r\n" +
            kHello,
        End::hold},
       "hello\n"},
  };
  for (Example example : examples) {
    CAPTURE(example.answer.bytes);
    for (const bool bytewise : {false, true}) {
      CAPTURE(bytewise);
      example.answer.bytewise = bytewise;
      ScriptedHttpServer server(example.answer);
      const ProgramResult result = http_fetch({server.url()});
      CHECK(result.exit_code == 0);
      CHECK(result.out == example.body);
      CHECK(result.err.empty());
    }
  }
}

TEST_CASE("http_fetch gives every byte value as it is") {
  std::string body;
  for (int value = 0; value < 256; value++) {
    body += static_cast<char>(value);
  }
  ScriptedHttpServer server("HTTP/1.0 200 OK\r\n\r\n" + body);
  CHECK(http_fetch({server.url()}).out == body);
}

TEST_CASE("http_fetch -i writes the head before the body") {
  ScriptedHttpServer server(kHello);
  CHECK(http_fetch({"-i", server.url()}).out == kHello);
}

TEST_CASE("http_fetch -I asks for the head, and writes it") {
  // The length is that of a body that does not come.
  ScriptedHttpServer server(ScriptedAnswer{kHead, End::hold});
  const ProgramResult result = http_fetch({"-I", server.url()});
  CHECK(result.exit_code == 0);
  CHECK(result.out == kHead);
  REQUIRE(server.requests().size() == 1);
  CHECK(server.requests().front().substr(0, 16) == "HEAD / HTTP/1.0\r");
}

TEST_CASE("http_fetch -v shows both heads on standard error") {
  ScriptedHttpServer server(kHello);
  const ProgramResult result = http_fetch({"-v", server.url("/x")});
  CHECK(result.out == "hello\n");
  CHECK(contains(result.err, "> GET /x HTTP/1.0\n> Host: 127.0.0.1:"));
  CHECK(
      contains(result.err, "> \n< HTTP/1.1 200 OK\n< Content-Length: 6\n< \n"));
}

TEST_CASE("http_fetch -f writes no body and exits 22 from status 400 on") {
  ScriptedHttpServer server({{"/bad", {kMissing}}, {"/good", {kHello}}});

  const ProgramResult bad = http_fetch({"-f", server.url("/bad")});
  CHECK(bad.exit_code == 22);
  CHECK(bad.out.empty());
  CHECK(bad.err ==
        "http_fetch: " + server.url("/bad") + ": status 404 Not Found\n");

  CHECK(http_fetch({"-f", server.url("/good")}).exit_code == 0);

  const ProgramResult without = http_fetch({server.url("/bad")});
  CHECK(without.exit_code == 0);
  CHECK(without.out == "none\n");
}

TEST_CASE("http_fetch exits 1 where something worse than a status went wrong") {
  ScriptedHttpServer server(
      {{"/bad", {kMissing}}, {"/good", {kHello}}, {"/cut", {kHead}}});
  const ProgramResult result = http_fetch(
      {"-f", server.url("/cut"), server.url("/bad"), server.url("/good")});
  CHECK(result.exit_code == 1);
  CHECK(result.out == "hello\n");
}

TEST_CASE("http_fetch -L follows redirects") {
  ScriptedHttpServer server({{"/a", {redirect("b")}},
                             {"/b", {redirect("/dir/c", 301)}},
                             {"/dir/c", {redirect("../d?e", 303)}},
                             {"/d?e", {redirect("?f", 307)}},
                             {"/d?f", {kHello}}});
  server.set_answer("/dir/x", {redirect(server.url("/a"), 308)});

  const ProgramResult result = http_fetch({"-L", "-i", server.url("/dir/x")});
  CHECK(result.exit_code == 0);
  CHECK(result.out == kHello);
  CHECK(server.requests().size() == 6);

  SUBCASE("but without the option shows them") {
    CHECK(http_fetch({server.url("/a")}).out == "moved");
  }
  SUBCASE("with HEAD as well") {
    CHECK(http_fetch({"-L", "-I", server.url("/a")}).out == kHead);
  }
}

TEST_CASE("http_fetch -L shows a redirect that leads nowhere") {
  ScriptedHttpServer server(
      std::string("HTTP/1.0 302 Found\r\nContent-Length: 4\r\n\r\nhere"));
  const ProgramResult result = http_fetch({"-L", server.url()});
  CHECK(result.exit_code == 0);
  CHECK(result.out == "here");
}

TEST_CASE("http_fetch -L gives up on redirects that it cannot follow") {
  RefusingPort refusing;
  const std::string port = std::to_string(refusing.port());
  const std::string away = "http://127.0.0.1:" + port + "/x";
  ScriptedHttpServer server(
      {{"/round", {redirect("/round")}},
       {"/ftp", {redirect("ftp://127.0.0.1/")}},
       {"/space", {redirect("/a b")}},
       {"/two", {"HTTP/1.0 302 x\r\nLocation: /a\r\nLocation: /b\r\n\r\n"}},
       {"/away", {redirect(away)}}});
  auto reason_for = [&](const std::string& path) {
    const ProgramResult result = http_fetch({"-L", server.url(path)});
    CHECK(result.exit_code == 1);
    CHECK(result.out.empty());
    const std::string start = "http_fetch: " + server.url(path) + ": ";
    CHECK(result.err.substr(0, start.size()) == start);
    return result.err.substr(start.size());
  };
  CHECK(reason_for("/round") ==
        "redirected to " + server.url("/round") + ": more than 10 redirects\n");
  CHECK(server.requests().size() == 11);
  CHECK(reason_for("/ftp") ==
        "redirect to 'ftp://127.0.0.1/': scheme 'ftp' is not supported, only "
        "http and https\n");
  CHECK(contains(reason_for("/space"), "redirect to '/a b': bad URL: a space"));
  CHECK(reason_for("/two") == "malformed response: more than one Location\n");
  CHECK(reason_for("/away") == "redirected to " + away +
                                   ": connect: 127.0.0.1:" + port +
                                   ": Connection refused\n");
}

TEST_CASE("http_fetch -H adds a header field or replaces one of its own") {
  ScriptedHttpServer server(kHello);
  const ProgramResult result =
      http_fetch({"-H", "X-One: 1", "-H", "host:other.example", "-H",
                  "User-Agent: me", server.url()});
  CHECK(result.exit_code == 0);
  REQUIRE(server.requests().size() == 1);
  CHECK(server.requests().front() ==
        "GET / HTTP/1.0\r\nAccept: */*\r\nConnection: close\r\nX-One: 1\r\n"
        "host: other.example\r\nUser-Agent: me\r\n\r\n");
}

TEST_CASE("http_fetch keeps credentials from servers that it is sent to") {
  ScriptedHttpServer other(kHello);
  ScriptedHttpServer server(
      {{"/a", {redirect("/b")}}, {"/b", {redirect(other.url())}}});
  const ProgramResult result =
      http_fetch({"-L", "-H", "Authorization: secret", "-H", "Cookie: secret",
                  "-H", "X-Plain: 1", server.url("/a")});
  CHECK(result.out == "hello\n");
  REQUIRE(server.requests().size() == 2);
  CHECK(contains(server.requests()[1], "Authorization: secret"));
  REQUIRE(other.requests().size() == 1);
  CHECK_FALSE(contains(other.requests()[0], "secret"));
  CHECK(contains(other.requests()[0], "X-Plain: 1"));
}

TEST_CASE("http_fetch fetches all URLs at the same time") {
  // Each waits for the next, so one after the other would never come to an end.
  ScriptedHttpServer server({{"/1", {kHead + "first\n", End::close, "/2"}},
                             {"/2", {kHead + "other\n", End::close, "/3"}},
                             {"/3", {kHead + "third\n"}}});
  const ProgramResult result =
      http_fetch({server.url("/1"), server.url("/2"), server.url("/3")});
  CHECK(result.exit_code == 0);
  CHECK(result.out == "first\nother\nthird\n");
}

TEST_CASE("http_fetch writes bodies in the order given, whatever fails") {
  const std::string long_body(300000, 'y');
  ScriptedHttpServer server(
      {{"/1", {kHead + "first\n", End::close, "/long"}},
       {"/cut", {kHead + "cut"}},
       {"/long", {"HTTP/1.0 200 OK\r\n\r\n" + long_body}}});
  const ProgramResult result =
      http_fetch({"http://nothing/ /", server.url("/1"), server.url("/cut"),
                  "ftp://127.0.0.1/", server.url("/long"), server.url("/1")});
  CHECK(result.exit_code == 1);
  CHECK(result.out == "first\ncut" + long_body + "first\n");
  CHECK(contains(result.err, "http://nothing/ /: bad URL: "));
  CHECK(contains(result.err, "/cut: body cut short: got 3 of 6 bytes\n"));
  CHECK(contains(result.err, "ftp://127.0.0.1/: scheme 'ftp' is not"));
}

TEST_CASE("http_fetch hears a server that does not read the request") {
  // The request meets a reset, sooner or later; what was said before that is
  // there to be read.
  std::uint16_t port = 0;
  const UniquePeerFd listener(listen_on_loopback(port));
  for (const std::string banner : {"busy\r\n", "busy"}) {
    CAPTURE(banner);
    Program program(
        http_fetch_command({"http://127.0.0.1:" + std::to_string(port) + "/"}));
    UniquePeerFd peer = accept_from(listener.get());
    peer.send(banner);
    peer.close();
    const ProgramResult result = program.wait();
    CHECK(result.exit_code == 1);
    CHECK(contains(result.err, ": not http: the answer begins with 'busy'\n"));
  }
}

TEST_CASE("http_fetch exits 2 for a command line that it does not understand") {
  for (const std::vector<std::string>& arguments :
       std::vector<std::vector<std::string>>{
           {},
           {"-q", "http://a/"},
           {"-o", "file", "http://a/", "http://b/"},
           {"-H", "a: b\r\nc: d", "http://a/"},
           {"--timeout", "soon", "http://a/"},
           {"--key", "file", "https://a/"},
           {"--max-size", "big", "http://a/"}}) {
    const ProgramResult result = http_fetch(arguments);
    CAPTURE(result.err);
    CHECK(result.exit_code == 2);
    CHECK(result.out.empty());
    CHECK(result.err.substr(0, 12) == "http_fetch: ");
    CHECK(contains(result.err, "(see http_fetch --help)\n"));
  }
}

TEST_CASE("http_fetch --help shows the options on standard output") {
  const ProgramResult result = http_fetch({"--help"});
  CHECK(result.exit_code == 0);
  CHECK(contains(result.out, "usage: http_fetch"));
  CHECK(result.err.empty());
}

TEST_CASE("http_fetch tells that standard output cannot be written") {
  ScriptedHttpServer server(kHello);
  Program::Options options;
  std::string reason;
  SUBCASE("because it is full") {
    options.out_file = "/dev/full";
    reason = "No space left on device";
  }
  SUBCASE("because it is closed") {
    options.out_file = "-";
    reason = "Bad file descriptor";
  }
  const ProgramResult result =
      http_fetch({server.url("/1"), server.url("/2")}, options);
  CHECK(result.exit_code == 1);
  CHECK(result.err == "http_fetch: standard output: " + reason + "\n");
}

TEST_CASE("http_fetch tells that the reader of its output has gone") {
  ScriptedHttpServer server("HTTP/1.0 200 OK\r\n\r\n" +
                            std::string(4 << 20, 'x'));
  const std::string command = http_fetch_command({server.url()}).front();
  const ProgramResult result =
      run_program({"/bin/bash", "-c",
                   "\"$0\" \"$1\" | head -c 5; echo \" ${PIPESTATUS[0]}\"",
                   command, server.url()});
  CHECK(result.out == "xxxxx 1\n");
  CHECK(result.err == "http_fetch: standard output: Broken pipe\n");
}

TEST_CASE("http_fetch shows progress on a terminal, for a large body") {
  // Both are held before their last bytes, for longer than the bar needs.
  const std::string large(2 << 20, 'x');
  ScriptedHttpServer server(
      {{"/large",
        {"HTTP/1.0 200 OK\r\nContent-Length: " +
             std::to_string(large.size() + 1) + "\r\n\r\n" + large,
         End::hold}},
       {"/small", {kHead + "hel", End::hold}}});
  auto errors_of = [&](const std::string& path, bool terminal) {
    Program::Options options;
    options.out_file = "/dev/null";
    options.err_is_terminal = terminal;
    return http_fetch({"--timeout", "0.5", server.url(path)}, options).err;
  };
  const std::string erase = "\r\x1b[K";
  const std::string failure = "http_fetch: " + server.url("/large") +
                              ": timed out after 0.5 s, reading the body (got "
                              "2097152 of 2097153 bytes)";

  SUBCASE("in a line that makes way for others and is gone in the end") {
    const std::string errors = errors_of("/large", true);
    CHECK(contains(errors, erase + "[############################# ]  99%  "
                                   "2.0 of 2.0 MiB"));
    CHECK(contains(errors, erase + failure + "\r\n"));
    CHECK(errors.substr(errors.size() - erase.size()) == erase);
  }
  SUBCASE("but not where standard error is a file") {
    CHECK(errors_of("/large", false) == failure + "\n");
  }
  SUBCASE("but not for a small body") {
    CHECK_FALSE(contains(errors_of("/small", true), "\x1b"));
  }
}

TEST_SUITE_END();
