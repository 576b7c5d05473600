// TCPClient on plain streams: which addresses it tries, when, and what it says.
// tcpclient_lifetime_test.cc is about taking things away from it,
// tcpclient_tls_test.cc about the handshake.

#include "waterspout/tcpclient.h"

#include <chrono>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <doctest/doctest.h>

#include "waterspout/error.h"
#include "waterspout/netutil.h"
#include "waterspout/stack_context.h"
#include "waterspout/testing.h"

#include "support/connect_answer.h"
#include "support/contexts.h"
#include "support/fd_count.h"
#include "support/few_descriptors.h"
#include "support/fixed_resolver.h"
#include "support/full_listener.h"
#include "support/loop_fixture.h"
#include "support/sockets.h"
#include "support/virtual_clock.h"

using waterspout::Address;
using waterspout::bind_sockets;
using waterspout::ConnectError;
using waterspout::ConnectOptions;
using waterspout::IOStream;
using waterspout::LogLevel;
using waterspout::resolver_category;
using waterspout::Socket;
using waterspout::StackContext;
using waterspout::TCPClient;
using waterspout::test::accept_from;
using waterspout::test::ConnectAnswer;
using waterspout::test::entered_contexts;
using waterspout::test::fd_count;
using waterspout::test::FewDescriptors;
using waterspout::test::FixedResolver;
using waterspout::test::FullListener;
using waterspout::test::LoopFixture;
using waterspout::test::NamedContext;
using waterspout::test::Names;
using waterspout::test::RefusingPort;
using waterspout::test::UniquePeerFd;
using waterspout::test::VirtualClock;

namespace {

using namespace std::chrono_literals;

using Step = ConnectError::Step;

const auto kNever = [](const ConnectError&, std::shared_ptr<IOStream>) {
  FAIL_CHECK("a callback ran that must not");
};

// A client of names that the test makes up.
struct Scene {
  explicit Scene(waterspout::IOLoop::Options options = {})
      : loop(std::move(options)), resolver(loop), client(loop, resolver) {}

  // Connects, and waits for the answer.
  ConnectAnswer connect(std::string_view host, std::uint16_t port,
                        ConnectOptions options = {}) {
    ConnectAnswer answer;
    client.connect(host, port, std::move(options), answer.callback());
    CHECK(answer.calls == 0);
    loop.run_until([&] { return answer.calls == 1; });
    CHECK(bool(answer.error) == (answer.stream == nullptr));
    return answer;
  }

  LoopFixture loop;
  FixedResolver resolver;
  TCPClient client;
};

Socket listen_on(const char* ip, std::uint16_t port = 0) {
  return std::move(bind_sockets(port, ip).front());
}

std::string text_of(const Address& address) { return address.to_string(); }

// Nothing listens there, and the kernel says so at once.
Address refusing_ipv6() { return {"::1", RefusingPort().port()}; }

// The two ends say hello.
void check_connected(LoopFixture& loop, IOStream& stream, int listener) {
  const UniquePeerFd peer = accept_from(listener);
  peer.send("hello");
  std::string got;
  stream.read_bytes(5, [&](std::string_view data) { got = data; });
  loop.run_until([&] { return !got.empty(); });
  CHECK(got == "hello");
}

}  // namespace

TEST_SUITE_BEGIN("tcpclient");

TEST_CASE("TCPClient::connect connects, whatever families there are") {
  struct Example {
    const char* name;  // Tornado's
    const char* server;
    const char* host;
    int family;
  };
  const std::vector<Example> examples = {
      {"test_connect_ipv4_ipv4", "127.0.0.1", "127.0.0.1", AF_INET},
      {"test_connect_ipv4_dual", "127.0.0.1", "dual.test", AF_INET},
      {"test_connect_ipv6_ipv6", "::1", "::1", AF_INET6},
      {"test_connect_ipv6_dual", "::1", "dual.test", AF_INET6},
      {"test_connect_unspec_ipv4", "127.0.0.1", "127.0.0.1", AF_UNSPEC},
      {"test_connect_unspec_ipv6", "::1", "[::1]", AF_UNSPEC},
      {"test_connect_unspec_dual, IPv4", "127.0.0.1", "dual.test", AF_UNSPEC},
      {"test_connect_unspec_dual, IPv6", "::1", "dual.test", AF_UNSPEC}};
  for (const Example& example : examples) {
    CAPTURE(example.name);
    Scene scene;
    const Socket listener = listen_on(example.server);
    const std::uint16_t port = listener.local_address().port();
    scene.resolver.add("dual.test",
                       {Address("::1", port), Address("127.0.0.1", port)});
    const ConnectAnswer answer =
        scene.connect(example.host, port, {.family = example.family});
    REQUIRE(answer.stream);
    CHECK(answer.error.message.empty());
    CHECK(answer.error.attempts.size() <= 1);
    CHECK(answer.stream->peer_address() == listener.local_address());
    check_connected(scene.loop, *answer.stream, listener.fileno());
  }
}

TEST_CASE("TCPClient resolves by itself where it is given no resolver") {
  LoopFixture loop;
  TCPClient client(loop);
  const Socket listener = listen_on("127.0.0.1");
  ConnectAnswer answer;
  client.connect("localhost", listener.local_address().port(),
                 {.family = AF_INET}, answer.callback());
  loop.run_until([&] { return answer.calls == 1; });
  CHECK_FALSE(answer.error);
  REQUIRE(answer.stream);
  check_connected(loop, *answer.stream, listener.fileno());
}

TEST_CASE("TCPClient::connect tells that it is refused (test_refused_ipv4)") {
  Scene scene;
  const RefusingPort refusing;
  const ConnectAnswer answer = scene.connect("127.0.0.1", refusing.port());
  CHECK(answer.error.step == Step::connect);
  CHECK(answer.error.code == std::errc::connection_refused);
  CHECK(answer.error.message ==
        "connect: " + text_of(refusing.address()) + ": Connection refused");
  REQUIRE(answer.error.attempts.size() == 1);
  CHECK(answer.error.attempts[0].address == refusing.address());
  CHECK(answer.error.attempts[0].error == std::errc::connection_refused);
}

TEST_CASE("A failure tells of every address, in the order of failing (D7)") {
  Scene scene;
  const RefusingPort four;
  const Address six = refusing_ipv6();
  scene.resolver.add("host.test", {four.address(), six});
  const ConnectAnswer answer = scene.connect("host.test", 80);
  CHECK(answer.error.message ==
        "connect: host.test:80: " + text_of(four.address()) +
            ": Connection refused; " + text_of(six) + ": Connection refused");
  CHECK(answer.error.attempts.size() == 2);
}

TEST_CASE("A name that is not found fails the step resolve (D1)") {
  Scene scene;
  scene.resolver.add_failure("host.test", {EAI_NONAME, resolver_category()});
  const ConnectAnswer answer = scene.connect("host.test", 80);
  CHECK(answer.error.step == Step::resolve);
  CHECK(answer.error.code == std::error_code(EAI_NONAME, resolver_category()));
  CHECK(answer.error.message ==
        "resolve: host.test: Name or service not known");
  CHECK(answer.error.attempts.empty());
}

TEST_CASE("An answer without addresses is a clear failure (TC-7)") {
  Scene scene;
  scene.resolver.add("host.test", {});
  const ConnectAnswer answer = scene.connect("host.test", 80);
  CHECK(answer.error.message ==
        "resolve: host.test: No address associated with hostname");
}

TEST_CASE("An attempt that fails makes way for the next one at once (D6)") {
  const VirtualClock clock;
  Scene scene(clock.options());
  const Socket listener = listen_on("127.0.0.1");
  scene.resolver.add("host.test", {refusing_ipv6(), listener.local_address()});
  const ConnectAnswer answer = scene.connect("host.test", 80);
  CHECK_FALSE(answer.error);
  CHECK(clock.elapsed() == 0ns);
}

TEST_CASE("An attempt that hangs makes way after 250 ms, and is closed (D6)") {
  const VirtualClock clock;
  Scene scene(clock.options());
  const FullListener hanging("::1");
  const Socket listener = listen_on("127.0.0.1");
  scene.resolver.add("host.test",
                     {hanging.address(), listener.local_address()});
  const std::size_t before = fd_count();
  const ConnectAnswer answer = scene.connect("host.test", 80);
  REQUIRE(answer.stream);
  CHECK(clock.elapsed() == 250ms);
  CHECK(answer.stream->peer_address() == listener.local_address());
  CHECK(fd_count() == before + 1);
  CHECK(scene.loop->statistics().timeouts == 0);
}

TEST_CASE("Two connections that are made at one moment leave one (D9)") {
  Scene scene;
  const FullListener first("::1");
  const FullListener second("127.0.0.1");
  scene.resolver.add("host.test", {first.address(), second.address()});
  const std::size_t before = fd_count();
  ConnectAnswer answer;
  scene.client.connect("host.test", 80, answer.callback());
  scene.loop.run_until([&] { return fd_count() == before + 2; });
  // The loop stands still until the kernel has made both.
  const UniquePeerFd one = first.let_in();
  const UniquePeerFd other = second.let_in();
  scene.loop.run_until([&] { return answer.calls == 1; });
  REQUIRE(answer.stream);
  answer.stream->write("hello");
  const bool first_won = answer.stream->peer_address() == first.address();
  const UniquePeerFd& winner = first_won ? one : other;
  const UniquePeerFd& loser = first_won ? other : one;
  CHECK(winner.recv_exactly(5) == "hello");
  CHECK(loser.recv_all().empty());
}

TEST_CASE("TCPClient::connect tries a bounded number of addresses (D12)") {
  Scene scene;
  const RefusingPort refusing;
  std::vector<Address> addresses;
  for (int i = 0; i < 500; ++i) {
    const std::string ip = "127.0.1." + std::to_string(1 + i % 250);
    addresses.emplace_back(ip, refusing.port());
  }
  scene.resolver.add("host.test", addresses);
  const ConnectAnswer answer = scene.connect("host.test", 80);
  CHECK(answer.error.attempts.size() == 64);
  CHECK(answer.error.attempts[63].address.ip() == "127.0.1.64");
}

TEST_CASE("One timeout bounds everything (D8)") {
  const VirtualClock clock;
  Scene scene(clock.options());
  SUBCASE("resolving") {
    const ConnectAnswer answer =
        scene.connect("open.test", 80, {.timeout = 5s});
    CHECK(answer.error.step == Step::resolve);
    CHECK(answer.error.code == std::errc::timed_out);
    CHECK(answer.error.message == "resolve: open.test: Connection timed out");
    CHECK(scene.resolver.pending() == 0);
  }
  SUBCASE("connecting, with attempts under way") {
    const FullListener four;
    const FullListener six("::1");
    const Address refused = refusing_ipv6();
    scene.resolver.add("host.test", {refused, four.address(), six.address()});
    const ConnectAnswer answer =
        scene.connect("host.test", 80, {.timeout = 5s});
    CHECK(answer.error.step == Step::connect);
    CHECK(answer.error.code == std::errc::timed_out);
    CHECK(answer.error.message ==
          "connect: host.test:80: " + text_of(refused) +
              ": Connection refused; " + text_of(four.address()) +
              ": Connection timed out; " + text_of(six.address()) +
              ": Connection timed out");
    CHECK(answer.error.attempts.size() == 3);
  }
  CHECK(clock.elapsed() == 5s);
  CHECK(scene.loop->statistics().timeouts == 0);
}

TEST_CASE("A connection in time takes the timeout away") {
  Scene scene;
  const Socket listener = listen_on("127.0.0.1");
  const ConnectAnswer answer = scene.connect(
      "127.0.0.1", listener.local_address().port(), {.timeout = 5s});
  CHECK_FALSE(answer.error);
  CHECK(scene.loop->statistics().timeouts == 0);
}

TEST_CASE(
    "source_ip is what a connection comes from (test_source_ip_success)") {
  Scene scene;
  const Socket listener = listen_on("127.0.0.1");
  const ConnectAnswer answer = scene.connect(
      "127.0.0.1", listener.local_address().port(), {.source_ip = "127.0.0.2"});
  REQUIRE(answer.stream);
  CHECK(answer.stream->local_address().ip() == "127.0.0.2");
}

TEST_CASE("A source_ip of another machine fails (test_source_ip_fail)") {
  Scene scene;
  const Socket listener = listen_on("127.0.0.1");
  const ConnectAnswer answer = scene.connect(
      "127.0.0.1", listener.local_address().port(), {.source_ip = "8.8.8.8"});
  CHECK(answer.error.code == std::errc::address_not_available);
}

TEST_CASE("A source_ip of one family leaves the other family out (TC-6)") {
  Scene scene;
  const Socket listener = listen_on("127.0.0.1");
  scene.resolver.add("host.test",
                     {Address("::1", 1), listener.local_address()});
  const ConnectAnswer works =
      scene.connect("host.test", 80, {.source_ip = "127.0.0.1"});
  CHECK_FALSE(works.error);
  const ConnectAnswer fails =
      scene.connect("::1", 80, {.source_ip = "127.0.0.1"});
  CHECK(fails.error.code == std::errc::address_family_not_supported);
}

TEST_CASE("source_port is what a connection comes from") {
  Scene scene;
  const Socket listener = listen_on("127.0.0.1");
  const std::uint16_t port = listener.local_address().port();
  const std::uint16_t source =
      waterspout::testing::bind_unused_port().local_address().port();
  // Twice: the first connection leaves the port behind in TIME_WAIT.
  for (int i = 0; i < 2; ++i) {
    const ConnectAnswer answer =
        scene.connect("127.0.0.1", port, {.source_port = source});
    REQUIRE(answer.stream);
    CHECK(answer.stream->local_address().port() == source);
    answer.stream->close();
    static_cast<void>(accept_from(listener.fileno()).recv_all());
  }
}

TEST_CASE("A source_port that is taken fails (test_source_port_fail)") {
  Scene scene;
  const Socket listener = listen_on("127.0.0.1");
  const std::uint16_t port = listener.local_address().port();
  const Socket taken = listen_on("127.0.0.1");
  const ConnectAnswer answer = scene.connect(
      "127.0.0.1", port,
      {.source_ip = "127.0.0.1", .source_port = taken.local_address().port()});
  CHECK(answer.error.code == std::errc::address_in_use);
}

TEST_CASE("A connection with itself counts as refused (N20)") {
  Scene scene;
  const std::uint16_t port =
      waterspout::testing::bind_unused_port().local_address().port();
  const ConnectAnswer answer = scene.connect(
      "127.0.0.1", port, {.source_ip = "127.0.0.1", .source_port = port});
  CHECK(answer.error.code == std::errc::connection_refused);
}

TEST_CASE("A stream has the options that connect was given (K-95)") {
  Scene scene;
  const Socket listener = listen_on("127.0.0.1");
  const std::uint16_t port = listener.local_address().port();
  const ConnectAnswer answer = scene.connect(
      "127.0.0.1", port, {.stream = {.max_write_buffer_size = 10}});
  REQUIRE(answer.stream);
  CHECK_THROWS_AS(answer.stream->write("more than ten"),
                  waterspout::StreamBufferFullError);
}

TEST_CASE("A stream's socket has TCP_NODELAY and is closed on exec") {
  Scene scene;
  const Socket listener = listen_on("127.0.0.1");
  const ConnectAnswer answer =
      scene.connect("127.0.0.1", listener.local_address().port());
  const int fd = answer.stream->fileno();
  int nodelay = 0;
  socklen_t size = sizeof nodelay;
  getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &nodelay, &size);
  CHECK(nodelay == 1);
  CHECK((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
  CHECK((fcntl(fd, F_GETFL) & O_NONBLOCK) != 0);
}

TEST_CASE("A stream that the callback does not keep closes") {
  Scene scene;
  const Socket listener = listen_on("127.0.0.1");
  int calls = 0;
  scene.client.connect(
      "127.0.0.1", listener.local_address().port(),
      [&](const ConnectError&, const std::shared_ptr<IOStream>&) { ++calls; });
  scene.loop.run_until([&] { return calls == 1; });
  CHECK(accept_from(listener.fileno()).recv_all().empty());
}

TEST_CASE("Descriptors that have run out are a failure as any other (R)") {
  Scene scene;
  const Socket listener = listen_on("127.0.0.1");
  ConnectAnswer answer;
  {
    const FewDescriptors none(0);
    answer = scene.connect("127.0.0.1", listener.local_address().port());
  }
  CHECK(answer.error.code == std::errc::too_many_files_open);
}

TEST_CASE("TCPClient::connect takes a context along for the callback alone") {
  Scene scene;
  const RefusingPort refusing;
  Names seen;
  int entered = 0;
  {
    const StackContext request([&] {
      ++entered;
      return NamedContext("request");
    });
    scene.client.connect(
        "127.0.0.1", refusing.port(),
        [&](const ConnectError&, const std::shared_ptr<IOStream>&) {
          seen = entered_contexts;
        });
  }
  scene.loop.run_until([&] { return !seen.empty(); });
  CHECK(seen == Names{"request"});
  CHECK(entered == 2);  // by the scope, and by the callback
}

TEST_CASE("An exception of the callback is told, and closes the stream") {
  Scene scene;
  const Socket listener = listen_on("127.0.0.1");
  scene.client.connect(
      "127.0.0.1", listener.local_address().port(),
      [](const ConnectError&, const std::shared_ptr<IOStream>&) {
        throw std::out_of_range("mine");
      });
  scene.loop.expect_log(LogLevel::error, "std::out_of_range: mine");
  scene.loop.run_until([&] { return !scene.loop.failures.empty(); });
  CHECK(scene.loop.failures[0].find("connect at tcpclient_test.cc") !=
        std::string::npos);
  CHECK(accept_from(listener.fileno()).recv_all().empty());
}

TEST_CASE("TCPClient::connect refuses what cannot work, at once (D13, D14)") {
  Scene scene;
  TCPClient& client = scene.client;
  for (const std::string& host :
       {std::string(), std::string("a\0b", 3), std::string(300, 'a'),
        std::string("[::1"), std::string("localhost:80")}) {
    CAPTURE(host);
    CHECK_THROWS_AS(client.connect(host, 80, kNever), std::invalid_argument);
  }
  for (const ConnectOptions& options :
       {ConnectOptions{.family = AF_UNIX}, ConnectOptions{.source_ip = "name"},
        ConnectOptions{.source_ip = "::1%nowhere"},
        ConnectOptions{.stream = {.read_chunk_size = 0}},
        ConnectOptions{.timeout = -1ns}}) {
    CHECK_THROWS_AS(client.connect("a", 80, options, kNever),
                    std::invalid_argument);
  }
  CHECK_THROWS_AS(client.connect("a", 80, nullptr), std::invalid_argument);
  CHECK(client.pending() == 0);
  CHECK(scene.resolver.pending() == 0);
}

TEST_CASE("A callback may connect again with the same client") {
  Scene scene;
  const RefusingPort refusing;
  const Socket listener = listen_on("127.0.0.1");
  ConnectAnswer second;
  scene.client.connect(
      "127.0.0.1", refusing.port(),
      [&](const ConnectError& error, const std::shared_ptr<IOStream>&) {
        CHECK(error);
        scene.client.connect("127.0.0.1", listener.local_address().port(),
                             second.callback());
      });
  scene.loop.run_until([&] { return second.calls == 1; });
  CHECK_FALSE(second.error);
}

TEST_SUITE_END();
