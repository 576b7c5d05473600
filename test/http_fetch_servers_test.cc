// http_fetch against the web servers that one meets: python3's http.server,
// nginx, Tornado.

#include <cstddef>
#include <filesystem>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "support/http_fetch.h"
#include "support/program.h"
#include "support/temp_dir.h"
#include "support/text.h"
#include "support/web_servers.h"

using waterspout::test::contains;
using waterspout::test::http_fetch;
using waterspout::test::NginxServer;
using waterspout::test::Program;
using waterspout::test::ProgramResult;
using waterspout::test::PythonServer;
using waterspout::test::TempDir;
using waterspout::test::TornadoServer;

namespace {

// Bytes that differ from place to place, so that none can be lost or swapped.
std::string make_body(std::size_t size) {
  std::string body;
  unsigned state = 1;
  while (body.size() < size) {
    state = state * 1664525 + 1013904223;
    body += static_cast<char>(state >> 24);
  }
  return body;
}

// Sanitizers keep what was freed for a while, and count it as in use.
Program::Options lean() {
  Program::Options options;
  options.environment = {"ASAN_OPTIONS=quarantine_size_mb=1"};
  return options;
}

constexpr long kMaxGrowthKib = 8192;

}  // namespace

TEST_SUITE_BEGIN("http_fetch_servers");

TEST_CASE("http_fetch works with python3's http.server") {
  const TempDir dir;
  const std::string body = make_body(3 << 20);
  dir.write("body", body);
  std::filesystem::create_directory(dir.path("folder"));
  const PythonServer server(dir.path());

  const ProgramResult result = http_fetch({server.url("/body")});
  CHECK(result.exit_code == 0);
  CHECK((result.out == body));

  CHECK(contains(http_fetch({server.url("/")}).out, "body</a>"));
  CHECK(contains(http_fetch({"-L", server.url("/folder")}).out, "Directory"));
  CHECK(http_fetch({"-f", server.url("/none")}).exit_code == 22);
  CHECK(contains(http_fetch({"-I", server.url("/body")}).out,
                 "Content-Length: 3145728\r\n"));
}

TEST_CASE("http_fetch speaks IPv6") {
  const TempDir dir;
  dir.write("body", "over IPv6");
  const PythonServer server(dir.path(), "::1");
  REQUIRE(contains(server.url(""), "http://[::1]:"));

  const ProgramResult result = http_fetch({"-v", server.url("/body")});
  CHECK(result.out == "over IPv6");
  CHECK(contains(result.err, "> Host: [::1]:"));
}

TEST_CASE("http_fetch works with nginx") {
  const TempDir dir;
  const std::string body = make_body(3 << 20);
  dir.write("body", body);
  dir.write("new", "moved here");
  const NginxServer server(dir.path());

  const ProgramResult result = http_fetch({server.url("/body")});
  CHECK(result.exit_code == 0);
  CHECK(result.err.empty());
  CHECK((result.out == body));

  CHECK(http_fetch({"-L", server.url("/old")}).out == "moved here");
  CHECK(contains(http_fetch({server.url("/list/")}).out, "body</a>"));
  CHECK(http_fetch({"-f", server.url("/none")}).exit_code == 22);
  CHECK(contains(http_fetch({"-I", server.url("/body")}).out,
                 "Content-Length: 3145728\r\n"));
}

TEST_CASE("http_fetch ends with the body where nginx keeps the connection") {
  const TempDir dir;
  dir.write("body", "kept alive");
  const NginxServer server(dir.path());
  const ProgramResult result =
      http_fetch({"-i", "-H", "Connection: keep-alive", "--timeout", "10",
                  server.url("/body")});
  CHECK(result.exit_code == 0);
  CHECK(contains(result.out, "Connection: keep-alive\r\n"));
  CHECK(contains(result.out, "\r\n\r\nkept alive"));
}

TEST_CASE("http_fetch works with Tornado") {
  const TornadoServer server;
  CHECK(http_fetch({server.url("/hello")}).out == "hello from Tornado\n");
  CHECK(http_fetch({"-L", server.url("/redirect")}).out ==
        "hello from Tornado\n");
  CHECK(http_fetch({"-f", server.url("/none")}).exit_code == 22);

  const ProgramResult chunked = http_fetch({"-i", server.url("/chunked")});
  CHECK(chunked.exit_code == 0);
  CHECK(contains(chunked.out, "Transfer-Encoding: chunked\r\n"));
  const std::string body = chunked.out.substr(chunked.out.find("\r\n\r\n") + 4);
  CHECK(body.size() == 8 + 65536 + 7);
  CHECK(body.substr(0, 8) == "one two ");
  CHECK(body.substr(body.size() - 7) == " three\n");
}

TEST_CASE("http_fetch streams 64 MiB in bounded memory") {
  const TempDir dir;
  const TornadoServer server;
  const long usual =
      http_fetch({"-o", dir.path("small"), server.url("/hello")}, lean())
          .peak_rss_kib;
  constexpr std::uintmax_t kSize = 64 << 20;

  SUBCASE("of a known length, to a file") {
    const ProgramResult result =
        http_fetch({"-o", dir.path("large"), server.url("/large")}, lean());
    CHECK(result.exit_code == 0);
    CHECK(std::filesystem::file_size(dir.path("large")) == kSize);
    CHECK(result.peak_rss_kib - usual < kMaxGrowthKib);
  }
  SUBCASE("up to the connection's end, behind another body") {
    Program::Options options = lean();
    options.out_file = dir.path("large");
    // The last must wait for the first, wherever it is kept meanwhile.
    const ProgramResult result =
        http_fetch({server.url("/large"), server.url("/endless")}, options);
    CHECK(result.exit_code == 0);
    CHECK(std::filesystem::file_size(dir.path("large")) == 2 * kSize);
    CHECK(result.peak_rss_kib - usual < kMaxGrowthKib);
  }
}

TEST_SUITE_END();
