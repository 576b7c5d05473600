// Runs the sample embed_libevent as a user would, with plain sockets at its
// three sides: the client, the admin and the upstream server.

#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <netinet/in.h>
#include <sys/socket.h>

#include <doctest/doctest.h>

#include "waterspout/address.h"

#include "support/program.h"
#include "support/sockets.h"
#include "support/temp_dir.h"
#include "support/web_servers.h"

using waterspout::Address;
using waterspout::test::accept_from;
using waterspout::test::listen_on_loopback;
using waterspout::test::Program;
using waterspout::test::ProgramResult;
using waterspout::test::PythonServer;
using waterspout::test::RefusingPort;
using waterspout::test::run_program;
using waterspout::test::TempDir;
using waterspout::test::UniquePeerFd;

namespace {

UniquePeerFd connect_to(std::uint16_t port) {
  UniquePeerFd client(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const Address address("127.0.0.1", port);
  if (connect(client.get(), address.data(),
              static_cast<socklen_t>(address.size())) != 0) {
    throw std::system_error(errno, std::generic_category(), "connect");
  }
  return client;
}

// Up to and including `end`; less where the peer closes first.
std::string recv_until(const UniquePeerFd& socket, std::string_view end) {
  std::string all;
  while (all.size() < end.size() ||
         all.compare(all.size() - end.size(), end.size(), end) != 0) {
    const std::string next = socket.recv(1);
    if (next.empty()) {
      break;
    }
    all += next;
  }
  return all;
}

bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

std::string body_of(const std::string& response) {
  const auto end = response.find("\r\n\r\n");
  return end == std::string::npos ? "no head" : response.substr(end + 4);
}

std::vector<std::string> command_with(std::vector<std::string> arguments) {
  const char* const folder = std::getenv("WATERSPOUT_SAMPLES_DIR");
  if (folder == nullptr) {
    throw std::runtime_error("WATERSPOUT_SAMPLES_DIR is not set");
  }
  arguments.insert(arguments.begin(), std::string(folder) + "/embed_libevent");
  return arguments;
}

// The number between `begin` and the next line end.
std::uint16_t port_behind(std::string_view begin, const std::string& text) {
  return static_cast<std::uint16_t>(
      std::stoi(text.substr(text.find(begin) + begin.size())));
}

/// The sample, running, with an admin connection.
class Sample {
 public:
  explicit Sample(const std::string& upstream,
                  std::vector<std::string> more = {})
      : program_(command_with(with_upstream(upstream, std::move(more)))) {
    // Its two lines come in one write.
    const std::string& said = program_.wait_for_out("admin on ");
    port_ = port_behind("http on 127.0.0.1:", said);
    admin_ = connect_to(port_behind("admin on 127.0.0.1:", said));
  }

  /// Sends a request that ends with its response.
  [[nodiscard]] UniquePeerFd request(const std::string& target) const {
    UniquePeerFd client = connect_to(port_);
    client.send("GET " + target + " HTTP/1.0\r\n\r\n");
    return client;
  }

  [[nodiscard]] std::string get(const std::string& target) const {
    return request(target).recv_all();
  }

  [[nodiscard]] std::string admin(const std::string& command) const {
    admin_.send(command + "\n");
    return recv_until(admin_, "\n");
  }

  /// True once its status holds `part`, false if `turns` turns of its base do
  /// not bring it about.
  [[nodiscard]] bool await_status(std::string_view part,
                                  int turns = 10000) const {
    for (; turns > 0; --turns) {
      if (contains(admin("status"), part)) {
        return true;
      }
    }
    return false;
  }

  /// Stops it, and checks that it ends well: under ASan, that nothing leaked.
  void quit(std::string_view logged = {}) {
    admin_.send("quit\n");
    check_end(logged);
  }

  void check_end(std::string_view logged = {}) {
    const ProgramResult result = program_.wait();
    CHECK(result.exit_code == 0);
    CHECK(result.err.empty() == logged.empty());
    CHECK(contains(result.err, logged));
  }

  [[nodiscard]] std::uint16_t port() const { return port_; }
  [[nodiscard]] const UniquePeerFd& admin_connection() const { return admin_; }
  Program& program() { return program_; }

 private:
  static std::vector<std::string> with_upstream(const std::string& upstream,
                                                std::vector<std::string> more) {
    more.insert(more.begin(), {"--port", "0", "--upstream", upstream});
    return more;
  }

  Program program_;
  std::uint16_t port_ = 0;
  UniquePeerFd admin_;
};

/// The upstream server, whose answers the test gives by hand.
class Upstream {
 public:
  Upstream() : listener_(listen_on_loopback(port_)) {}

  [[nodiscard]] std::string host() const {
    return "127.0.0.1:" + std::to_string(port_);
  }

  /// The next connection, with its request's head read into `head`.
  [[nodiscard]] UniquePeerFd accept() {
    UniquePeerFd connection = accept_from(listener_.get());
    head = recv_until(connection, "\r\n\r\n");
    return connection;
  }

  /// Answers the next request with `response` and closes.
  void answer(std::string_view response) {
    const UniquePeerFd connection = accept();
    connection.send(response);
  }

  std::string head;

 private:
  std::uint16_t port_ = 0;
  UniquePeerFd listener_;
};

}  // namespace

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
  UniquePeerFd client = connect_to(sample.port());
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

TEST_CASE("embed_libevent answers requests that come while a fetch waits") {
  Upstream upstream;
  Sample sample(upstream.host());
  const std::string request = "GET /proxy?path=/x HTTP/1.1\r\nHost: a\r\n\r\n";
  const UniquePeerFd client = connect_to(sample.port());

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
    const ProgramResult result = run_program(command_with(arguments));
    CHECK(result.exit_code == 2);
    CHECK(contains(result.err, "usage: embed_libevent"));
  }
  // A port that is taken is no matter of usage.
  std::uint16_t taken = 0;
  const UniquePeerFd listener(listen_on_loopback(taken));
  const ProgramResult result = run_program(command_with(
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
