// The sample embed_libevent: what it serves, to whom, and what it refuses.

#include "support/embed_libevent.h"

#include <csignal>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "support/program.h"
#include "support/sample_program.h"
#include "support/sockets.h"
#include "support/temp_dir.h"
#include "support/web_servers.h"

using waterspout::test::body_of;
using waterspout::test::contains;
using waterspout::test::listen_on_loopback;
using waterspout::test::ProgramResult;
using waterspout::test::PythonServer;
using waterspout::test::recv_until;
using waterspout::test::RefusingPort;
using waterspout::test::run_program;
using waterspout::test::Sample;
using waterspout::test::sample_command;
using waterspout::test::TempDir;
using waterspout::test::UniquePeerFd;
using waterspout::test::Upstream;

TEST_SUITE_BEGIN("embed_libevent");

TEST_CASE("embed_libevent hands on what a real web server has") {
  const TempDir folder;
  folder.write("page.txt", "a page of the upstream\n");
  const PythonServer server(folder.path());
  Sample sample(server.url("").substr(std::string("http://").size()));

  const std::string found = sample.get("/proxy?path=/page.txt");
  const std::string missing = sample.get("/proxy?path=/other.txt");

  CHECK(contains(found, "HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n"));
  CHECK(body_of(found) == "a page of the upstream\n");
  CHECK(contains(missing, "HTTP/1.0 404 Not Found\r\n"));
  sample.quit();
}

TEST_CASE("embed_libevent serves evhttp and bufferevents while a fetch waits") {
  Upstream upstream;
  Sample sample(upstream.host());

  const UniquePeerFd client = sample.request("/proxy?path=/slow%3Fq=1");
  const UniquePeerFd connection = upstream.accept();
  CHECK(upstream.head ==
        "GET /slow?q=1 HTTP/1.0\r\nHost: " + upstream.host() + "\r\n\r\n");
  CHECK(sample.admin("status") ==
        "proxied=0 failed=0 abandoned=0 under_way=1 streams=1\n");
  CHECK(contains(body_of(sample.get("/")), "evhttp"));
  CHECK(client.recv_ready().empty());

  connection.send("HTTP/1.1 203 X\r\ncontent-LENGTH: 4\r\n\r\nsl");
  CHECK(contains(sample.get("/nowhere"), " 404 "));
  CHECK(client.recv_ready().empty());
  connection.send("ow, and more");

  const std::string response = client.recv_all();
  CHECK(contains(response, "HTTP/1.0 203 "));
  CHECK(body_of(response) == "slow");
  CHECK(sample.admin("status") ==
        "proxied=1 failed=0 abandoned=0 under_way=0 streams=0\n");
  CHECK(sample.admin("stop") ==
        "unknown command; there are: status, quit, echo\n");
  sample.quit();
}

TEST_CASE("embed_libevent has many fetches under way on its one base") {
  Upstream upstream;
  Sample sample(upstream.host());
  std::vector<UniquePeerFd> clients;
  std::vector<UniquePeerFd> connections;
  std::vector<std::string> heads;
  for (int i = 0; i < 20; ++i) {
    clients.push_back(sample.request("/proxy?path=/" + std::to_string(i)));
    connections.push_back(upstream.accept());
    heads.push_back(upstream.head);
  }
  CHECK(contains(sample.admin("status"), " under_way=20 streams=20\n"));

  for (std::size_t i = clients.size(); i-- > 0;) {
    const std::string path = heads[i].substr(4, heads[i].find(" HTTP") - 4);
    connections[i].send("HTTP/1.0 200 OK\r\n\r\nfrom " + path);
    connections[i].close();
    CHECK(body_of(clients[i].recv_all()) == "from /" + std::to_string(i));
  }
  CHECK(contains(sample.admin("status"), "proxied=20 "));
  sample.quit();
}

TEST_CASE("embed_libevent takes bodies up to its bound") {
  Upstream upstream;
  Sample sample(upstream.host());
  const std::string body(1048576, 'b');
  std::string head = "HTTP/1.0 200 OK\r\n";
  SUBCASE("whose length is known") { head += "Content-Length: 1048576\r\n"; }
  SUBCASE("that end with the connection") {}

  const UniquePeerFd client = sample.request("/proxy?path=/");
  upstream.answer(head + "\r\n" + body);

  CHECK(body_of(client.recv_all()) == body);
  sample.quit();
}

TEST_CASE("embed_libevent answers requests that come while a fetch waits") {
  Upstream upstream;
  Sample sample(upstream.host());
  const std::string request = "GET /proxy?path=/x HTTP/1.1\r\nHost: a\r\n\r\n";
  const UniquePeerFd client = sample.connect();

  // evhttp exits if it reads while it does not expect to.
  client.send(request);
  UniquePeerFd connection = upstream.accept();
  client.send(request);
  CHECK(contains(sample.admin("status"), " under_way=1 "));
  connection.send("HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\none");
  CHECK(contains(recv_until(client, "\r\n\r\n"), " 200 "));
  CHECK(client.recv_exactly(3) == "one");

  connection = upstream.accept();
  connection.send("HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\ntwo");
  CHECK(contains(recv_until(client, "\r\n\r\n"), " 200 "));
  CHECK(client.recv_exactly(3) == "two");
  CHECK(contains(sample.admin("status"), "proxied=2 "));
  sample.quit();
}

TEST_CASE("embed_libevent refuses paths that would forge a request") {
  Upstream upstream;
  Sample sample(upstream.host());
  for (const char* const query :
       {"", "?", "?p=/x", "?path=", "?path=x", "?path=/x%0d%0aA:b",
        "?path=/x%20HTTP/1.0", "?path=/%7f", "?path=/%c3%bc"}) {
    CAPTURE(query);
    CHECK(contains(sample.get(std::string("/proxy") + query),
                   "HTTP/1.0 400 Bad Request"));
  }
  CHECK(sample.admin("status") ==
        "proxied=0 failed=0 abandoned=0 under_way=0 streams=0\n");
  sample.quit();
}

TEST_CASE("embed_libevent --once ends after the first request to /proxy") {
  Upstream upstream;
  Sample sample(upstream.host(), {"--once"});
  CHECK(contains(sample.get("/"), " 200 OK"));
  UniquePeerFd client = sample.request("/proxy?path=/");

  SUBCASE("which gets the whole answer") {
    const std::string body(1000000, 'b');
    upstream.answer("HTTP/1.0 200 OK\r\n\r\n" + body);
    CHECK(body_of(client.recv_all()) == body);
  }
  SUBCASE("whose client went away") {
    const UniquePeerFd connection = upstream.accept();
    client.close();
    CHECK(connection.recv_all().empty());
  }

  sample.check_end();
}

TEST_CASE("embed_libevent drops an admin whose line never ends") {
  const RefusingPort refusing;
  Sample sample(refusing.address().to_string());

  CHECK(contains(sample.admin(std::string(126, 'x')), "unknown command"));
  sample.admin_connection().send(std::string(128, 'x'));
  CHECK(sample.admin_connection().recv().empty());

  sample.program().send_signal(SIGTERM);
  sample.check_end();
}

TEST_CASE("embed_libevent explains how it is called") {
  const std::vector<std::vector<std::string>> bad = {
      {},
      {"--port", "0"},
      {"--port", "65536", "--upstream", "127.0.0.1:1"},
      {"--port", "0", "--upstream", "127.0.0.1"},
      {"--port", "0", "--upstream"},
      {"--port", "0", "--upstream", "127.0.0.1:1", "--twice", "x"},
  };
  for (const auto& arguments : bad) {
    CAPTURE(arguments.size());
    const ProgramResult result =
        run_program(sample_command("embed_libevent", arguments));
    CHECK(result.exit_code == 2);
    CHECK(contains(result.err, "usage: embed_libevent"));
  }
  // A port that is taken is no matter of usage.
  std::uint16_t taken = 0;
  const UniquePeerFd listener(listen_on_loopback(taken));
  const ProgramResult result = run_program(sample_command(
      "embed_libevent",
      {"--port", std::to_string(taken), "--upstream", "127.0.0.1:1"}));
  CHECK(result.exit_code == 1);
  CHECK(contains(result.err, "cannot listen on 127.0.0.1:"));
}

TEST_CASE(
    "embed_libevent hands an admin connection over to a stream and takes "
    "it back, with all that came in one piece") {
  const RefusingPort nobody;
  Sample sample(nobody.address().to_string());
  const UniquePeerFd& admin = sample.admin_connection();
  admin.send("status\necho\none\ntwo\nback\nstatus\necho\nthree\n");
  const std::string answer = recv_until(admin, "three\n");
  CHECK(answer ==
        "proxied=0 failed=0 abandoned=0 under_way=0 streams=0\n"
        "one\ntwo\nback\n"
        "proxied=0 failed=0 abandoned=0 under_way=0 streams=0\n"
        "three\n");
  CHECK(sample.admin("four") == "four\n");
  CHECK(sample.admin("back") == "back\n");
  CHECK(sample.admin("echo\nto the end") == "to the end\n");
  sample.program().send_signal(SIGTERM);
  sample.check_end();
}

TEST_SUITE_END();
