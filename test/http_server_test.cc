// HTTPServer over real sockets: what it answers, and when it closes.

#include <chrono>
#include <cstddef>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "waterspout/log.h"

#include "http_server/files.h"
#include "http_server/server.h"
#include "support/served_site.h"
#include "support/stream_helpers.h"
#include "support/syscall_counter.h"

using waterspout::test::body_of;
using waterspout::test::contains;
using waterspout::test::count;
using waterspout::test::get;
using waterspout::test::HTTPPeer;
using waterspout::test::kClose;
using waterspout::test::make_pattern;
using waterspout::test::ServedSite;
using waterspout::test::status_of;
using waterspout::test::SyscallCounter;

using namespace std::chrono_literals;

TEST_SUITE_BEGIN("http_server");

TEST_CASE("HTTPServer answers one request after another on one connection") {
  ServedSite served({}, {}, ServedSite::Over::tcp);
  HTTPPeer client = served.connect();
  for (int i = 0; i < 3; ++i) {
    const std::string response =
        served.ask(client, get("/a.txt"), "\r\n\r\nhello\n");
    CHECK(status_of(response) == "HTTP/1.1 200 OK");
    CHECK_FALSE(contains(response, "Connection:"));
  }
  CHECK(served.server.connections() == 1);
}

TEST_CASE("HTTPServer reads once and writes once for a small request") {
  ServedSite served;
  HTTPPeer client = served.connect();
  served.ask(client, get("/a.txt"), "hello\n");
  const SyscallCounter counter(served.server.last.lock()->fileno());
  served.ask(client, get("/a.txt"), "hello\n");
  CHECK(counter.counts().recv == 1);
  CHECK(counter.counts().send == 1);
}

TEST_CASE("HTTPServer closes when the client or the version says so") {
  ServedSite served;
  const std::string of_1_1 = served.exchange(get("/a.txt", kClose));
  CHECK(body_of(of_1_1) == "hello\n");
  CHECK(contains(of_1_1, kClose));
  CHECK(body_of(served.exchange("GET /a.txt HTTP/1.0\r\n\r\n")) == "hello\n");

  HTTPPeer client = served.connect();
  const std::string kept = served.ask(
      client, "GET /a.txt HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
      "hello\n");
  CHECK(contains(kept, "\r\nConnection: keep-alive\r\n"));
  CHECK(served.server.connections() == 1);
}

TEST_CASE("HTTPServer answers with every status that there is a reason for") {
  struct Example {
    std::string request;
    std::string status;
  };
  const std::string long_target = "/" + std::string(9000, 'a');
  const std::string long_field = "A: " + std::string(40000, 'a') + "\r\n";
  const std::vector<Example> examples = {
      {get("/a.txt", kClose), "200 OK"},
      {get("/a.txt", kClose + "Range: bytes=1-2\r\n"), "206 Partial Content"},
      {get("/sub", kClose), "301 Moved Permanently"},
      {get("/a.txt", kClose + "If-None-Match: *\r\n"), "304 Not Modified"},
      {"nonsense\r\n\r\n", "400 Bad Request"},
      {"GET / HTTP/1.1\r\n\r\n", "400 Bad Request"},
      {get("/", "Content-Length: 5\r\n") + "hello", "400 Bad Request"},
      {get("/link", kClose), "403 Forbidden"},
      {get("/missing", kClose), "404 Not Found"},
      {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello",
       "405 Method Not Allowed"},
      {get("/a.txt", kClose + "If-Match: \"x\"\r\n"),
       "412 Precondition Failed"},
      {get(long_target), "414 URI Too Long"},
      {get("/a.txt", kClose + "Range: bytes=6-\r\n"),
       "416 Range Not Satisfiable"},
      {get("/", long_field), "431 Request Header Fields Too Large"},
      {get("/", "Transfer-Encoding: chunked\r\n"), "501 Not Implemented"},
      {"BREW / HTTP/1.1\r\nHost: x\r\n\r\n", "501 Not Implemented"},
      {"GET / HTTP/2.0\r\n\r\n", "505 HTTP Version Not Supported"},
  };
  ServedSite served({.linger_timeout = 1ms});
  served.loop.bound_turns(5000);
  std::filesystem::create_directory(served.files.path("site/sub"));
  std::filesystem::create_symlink("/etc/passwd",
                                  served.files.path("site/link"));
  for (const Example& example : examples) {
    CAPTURE(example.status);
    const std::string response = served.exchange(example.request);
    CHECK(status_of(response) == "HTTP/1.1 " + example.status);
    CHECK(count(response, "\r\nDate: ") == 1);
    CHECK(contains(response, kClose));
  }
}

TEST_CASE("HTTPServer keeps the connection where only the file was wrong") {
  ServedSite served;
  HTTPPeer client = served.connect();
  for (const char* target : {"/missing", "/b", "/a.txt/"}) {
    const std::string response =
        served.ask(client, get(target), "there is no such file\n");
    CHECK(status_of(response) == "HTTP/1.1 404 Not Found");
  }
  CHECK(served.server.connections() == 1);
}

TEST_CASE("HTTPServer sends files of many pieces, and parts of them") {
  const std::string pattern = make_pattern(300000);
  ServedSite served;
  served.files.write("site/pattern", pattern);
  CHECK(body_of(served.exchange(get("/pattern", kClose))) == pattern);
  const std::string part = served.exchange(
      get("/pattern", kClose + "Range: bytes=70000-269999\r\n"));
  CHECK(contains(part, "\r\nContent-Range: bytes 70000-269999/300000\r\n"));
  CHECK(body_of(part) == pattern.substr(70000, 200000));
}

TEST_CASE("HTTPServer sends no body for HEAD") {
  ServedSite served;
  served.write_sparse("big", 1 << 20);
  const std::string fields = " HTTP/1.1\r\nHost: x\r\n" + kClose + "\r\n";
  const std::string file = served.exchange("HEAD /big" + fields);
  CHECK(contains(file, "\r\nContent-Length: 1048576\r\n"));
  CHECK(body_of(file).empty());
  CHECK(body_of(served.exchange("HEAD /missing" + fields)).empty());
}

TEST_CASE("HTTPServer refuses every way out of its directory") {
  ServedSite served({.linger_timeout = 1ms});
  served.loop.bound_turns(5000);
  served.files.write("secret", "secret");
  std::filesystem::create_directory(served.files.path("site/sub"));
  std::filesystem::create_symlink("../secret", served.files.path("site/link"));
  std::filesystem::create_symlink("../..", served.files.path("site/sub/out"));
  for (const char* target :
       {"/../secret", "/%2e%2e/secret", "/.%2E/secret", "/sub/../../secret",
        "/sub/%2e%2e/%2e%2e/secret", "/..", "//../secret", "/link",
        "/sub/out/secret", "/sub/out/", "http://x/../secret"}) {
    CAPTURE(target);
    const std::string response = served.exchange(get(target, kClose));
    CHECK(status_of(response) == "HTTP/1.1 403 Forbidden");
    CHECK_FALSE(contains(response, "secret"));
  }
  for (const char* target : {"/..%2fsecret", "/%2e%2e%2fsecret",
                             "/a.txt%00/../secret", "/%00", "/%"}) {
    CAPTURE(target);
    CHECK(status_of(served.exchange(get(target, kClose))) ==
          "HTTP/1.1 400 Bad Request");
  }
  // What the filesystem takes for a plain name leads nowhere.
  for (const char* target : {"/..\\secret", "/%252e%252e/secret", "/...//"}) {
    CAPTURE(target);
    CHECK(status_of(served.exchange(get(target, kClose))) ==
          "HTTP/1.1 404 Not Found");
  }
}

TEST_CASE("HTTPServer answers pipelined requests in their order") {
  ServedSite served;
  std::string requests;
  for (int i = 0; i < 100; ++i) {
    const std::string name = std::to_string(i) + ".txt";
    served.files.write("site/" + name, "<" + name + ">");
    requests += get("/" + name, i == 99 ? kClose : "");
  }
  std::string responses = served.exchange(requests + get("/a.txt"));
  CHECK(count(responses, "HTTP/1.1 200 OK\r\n") == 100);
  for (int i = 0; i < 100; ++i) {
    const auto at = responses.find("\r\n\r\n<" + std::to_string(i) + ".txt>");
    CHECK(at != std::string::npos);
    responses.erase(0, at == std::string::npos ? 0 : at);
  }
}

TEST_CASE("HTTPServer answers what was pipelined before a bad request") {
  ServedSite served({.linger_timeout = 1ms});
  const std::string responses = served.exchange(
      get("/a.txt") + get("/a.txt") + "nonsense\r\n\r\n" + get("/a.txt"));
  CHECK(count(responses, "HTTP/1.1 200 OK\r\n") == 2);
  CHECK(count(responses, "HTTP/1.1 400 Bad Request\r\n") == 1);
  CHECK(count(responses, "HTTP/1.1 ") == 3);
}

TEST_CASE("HTTPServer reads a request that arrives byte by byte") {
  ServedSite served;
  served.loop.bound_turns(2000);
  HTTPPeer client = served.connect();
  const std::string requests = get("/a.txt", "A: b\r\n") + get("/a.txt");
  for (const char byte : requests) {
    client.send({&byte, 1});
    served.loop.run_turns(1);
  }
  served.serve(client, [&] { return client.text().ends_with("hello\n"); });
  CHECK(count(client.text(), "\r\n\r\nhello\n") == 2);
}

TEST_CASE("HTTPServer serves a client that has shut down its sending side") {
  ServedSite served;
  HTTPPeer client = served.connect();
  client.send(get("/a.txt"));
  client.socket().shutdown();
  served.serve_to_end(client);
  CHECK(body_of(client.text()) == "hello\n");
}

TEST_CASE("HTTPServer lets a client that still sends see that it is refused") {
  ServedSite served({.linger_timeout = 5s}, {}, ServedSite::Over::tcp);
  served.loop.bound_turns(5000);
  HTTPPeer client = served.connect();
  const std::string junk(65536, 'x');
  client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999\r\n\r\n");
  std::size_t sent = 0;
  served.loop.run_until([&] {
    sent += client.socket().send_some(junk);
    return sent > 4000000;
  });
  client.take();
  CHECK_FALSE(client.ended());
  CHECK(status_of(client.text()) == "HTTP/1.1 405 Method Not Allowed");
  CHECK(contains(client.text(), "\r\nAllow: GET, HEAD\r\n"));
  client.socket().close();
  served.loop.run_until([&] { return served.server.connections() == 0; });
}

TEST_CASE("HTTPServer says when the system cannot read a file, and logs it") {
  // Of a loopback device there is no speed to be read.
  const std::string device = "/sys/class/net/lo";
  if (!std::filesystem::exists(device + "/speed")) {
    MESSAGE("no sysfs here, so no file that cannot be read");
    return;
  }
  ServedSite served;
  http_server::HTTPServer server(
      served.loop, std::make_shared<const http_server::Directory>(device),
      {.linger_timeout = 1ms});
  server.listen(0, "127.0.0.1");
  served.loop.expect_log(waterspout::LogLevel::warning, "Invalid argument");
  HTTPPeer client(server.addresses().front());
  client.send(get("/speed"));
  served.serve_to_end(client);
  CHECK(status_of(client.text()) == "HTTP/1.1 500 Internal Server Error");
  CHECK_FALSE(contains(client.text(), "Invalid argument"));
}
