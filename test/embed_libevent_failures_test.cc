// The sample embed_libevent where a fetch comes to no good end: by the upstream
// server, by the client, or by the end of the program.

#include <csignal>
#include <string>
#include <system_error>
#include <vector>

#include <doctest/doctest.h>

#include "support/embed_libevent.h"
#include "support/sockets.h"

using waterspout::test::body_of;
using waterspout::test::contains;
using waterspout::test::RefusingPort;
using waterspout::test::Sample;
using waterspout::test::UniquePeerFd;
using waterspout::test::Upstream;

TEST_SUITE_BEGIN("embed_libevent_failures");

TEST_CASE("embed_libevent says 502 and why when the upstream refuses") {
  const RefusingPort refusing;
  Sample sample(refusing.address().to_string());

  const std::string response = sample.get("/proxy?path=/x");

  CHECK(contains(response, "HTTP/1.0 502 Bad Gateway\r\n"));
  CHECK(contains(body_of(response), refusing.address().to_string()));
  CHECK(contains(body_of(response), "Connection refused\n"));
  CHECK(sample.admin("status") ==
        "proxied=0 failed=1 abandoned=0 under_way=0 streams=0\n");
  sample.quit("Connection refused");
}

TEST_CASE("embed_libevent says 502 and why when the answer is no good") {
  struct Case {
    std::string answer;
    std::string reason;
  };
  const std::string ok = "HTTP/1.0 200 OK\r\n";
  const std::vector<Case> cases = {
      {"", "reading the head of the response: the connection was closed"},
      {"220 mail.example ESMTP\r\n\r\n", "it begins with '220 mail"},
      {"HTTP/1.0 100 Continue\r\n\r\n", "not a final HTTP/1 response"},
      {"HTTP/1.0 2000 OK\r\n\r\n", "not a final HTTP/1 response"},
      {ok + "no colon\r\n\r\n", "malformed header line: 'no colon'"},
      {ok + "A: " + std::string(20000, 'a') + "\r\n\r\n", "read_until"},
      {ok + "Content-Length: -1\r\n\r\n", "Content-Length: '-1'"},
      {ok + "Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",
       "contradictory Content-Length"},
      {ok + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "transfer encoding"},
      {ok + "Content-Length: 9\r\n\r\nshort",
       "reading the body of the response: the connection was closed"},
      {ok + "Content-Length: 1048577\r\n\r\n", "has 1048577 bytes"},
      {ok + "\r\n" + std::string(1048577, 'b'), "reading the body"},
  };
  Upstream upstream;
  Sample sample(upstream.host());

  for (const Case& bad : cases) {
    CAPTURE(bad.reason);
    const UniquePeerFd client = sample.request("/proxy?path=/");
    const UniquePeerFd connection = upstream.accept();
    try {
      connection.send(bad.answer);
    } catch (const std::system_error&) {
      // It need not hear all of an answer that is too long.
    }
    connection.shutdown();
    const std::string response = client.recv_all();
    CHECK(contains(response, "HTTP/1.0 502 "));
    CHECK_MESSAGE(contains(body_of(response), bad.reason), response);
  }

  CHECK(contains(sample.admin("status"), " under_way=0 streams=0\n"));
  sample.quit();
}

TEST_CASE("embed_libevent says 504 when the upstream does not answer in time") {
  Upstream upstream;
  Sample sample(upstream.host(), {"--timeout", "1"});

  const UniquePeerFd client = sample.request("/proxy?path=/");
  const UniquePeerFd connection = upstream.accept();
  const std::string response = client.recv_all();

  CHECK(contains(response, "HTTP/1.0 504 "));
  CHECK(contains(body_of(response), "no answer within 1000 ms"));
  CHECK(connection.recv_all().empty());
  sample.quit();
}

TEST_CASE("embed_libevent ends the fetch of a client that goes away") {
  Upstream upstream;
  Sample sample(upstream.host());
  UniquePeerFd client = sample.request("/proxy?path=/");
  const UniquePeerFd connection = upstream.accept();

  SUBCASE("in order") { client.close(); }
  SUBCASE("with a reset") { client.reset(); }
  SUBCASE("in the middle of the body") {
    connection.send("HTTP/1.0 200 OK\r\n\r\nhalf");
    CHECK(contains(sample.admin("status"), " under_way=1 "));
    client.close();
  }

  CHECK(connection.recv_all().empty());
  CHECK(sample.admin("status") ==
        "proxied=0 failed=0 abandoned=1 under_way=0 streams=0\n");
  CHECK(contains(sample.get("/"), " 200 OK"));
  sample.quit();
}

TEST_CASE("embed_libevent survives a client that goes while it is answered") {
  Upstream upstream;
  Sample sample(upstream.host());
  UniquePeerFd client = sample.connect();
  const std::string body(1000000, 'b');
  // A client that reads nothing, and answers until no more of them fit into the
  // kernel's buffers: then the last one is being sent.
  for (int answers = 1; answers <= 50; ++answers) {
    client.send("GET /proxy?path=/ HTTP/1.1\r\nHost: a\r\n\r\n");
    upstream.answer("HTTP/1.0 200 OK\r\n\r\n" + body);
    if (sample.await_status("proxied=" + std::to_string(answers) + " ") &&
        !sample.await_status(" under_way=0 ", 50)) {
      break;
    }
  }
  REQUIRE(contains(sample.admin("status"), " under_way=1 streams=0\n"));

  SUBCASE("in order, with the answer unread") { client.close(); }
  SUBCASE("with a reset") { client.reset(); }

  CHECK(sample.await_status(" under_way=0 "));
  CHECK(contains(sample.admin("status"), "failed=0 abandoned=0 "));
  sample.quit();
}

TEST_CASE("embed_libevent leaves nothing behind when it ends during a fetch") {
  Upstream upstream;
  Sample sample(upstream.host());
  const UniquePeerFd client = sample.request("/proxy?path=/");
  const UniquePeerFd connection = upstream.accept();

  SUBCASE("by the command quit") { sample.quit(); }
  SUBCASE("by a signal") {
    sample.program().send_signal(SIGINT);
    sample.check_end();
  }

  CHECK(client.recv_all().empty());
  CHECK(connection.recv_all().empty());
}

TEST_SUITE_END();
