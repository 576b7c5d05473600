// TCPClient with TLS: whom it verifies, and how the handshake may fail.

#include <chrono>
#include <cstddef>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "waterspout/netutil.h"
#include "waterspout/ssl_iostream.h"
#include "waterspout/tcpclient.h"

#include "support/connect_answer.h"
#include "support/fd_count.h"
#include "support/fixed_resolver.h"
#include "support/full_listener.h"
#include "support/loop_fixture.h"
#include "support/sockets.h"
#include "support/stream_helpers.h"
#include "support/tls_streams.h"
#include "support/virtual_clock.h"

using waterspout::AcceptHandler;
using waterspout::add_accept_handler;
using waterspout::Address;
using waterspout::bind_sockets;
using waterspout::ConnectError;
using waterspout::ConnectOptions;
using waterspout::IOLoop;
using waterspout::IOStream;
using waterspout::LogLevel;
using waterspout::RequestHandle;
using waterspout::Socket;
using waterspout::SSLErrc;
using waterspout::SSLIOStream;
using waterspout::TCPClient;
using waterspout::test::accept_from;
using waterspout::test::ConnectAnswer;
using waterspout::test::fd_count;
using waterspout::test::FixedResolver;
using waterspout::test::FullListener;
using waterspout::test::LoopFixture;
using waterspout::test::make_client_context;
using waterspout::test::make_server_context;
using waterspout::test::Token;
using waterspout::test::UniquePeerFd;
using waterspout::test::VirtualClock;

namespace {

using namespace std::chrono_literals;

using Step = ConnectError::Step;

ConnectOptions with_tls() { return {.tls = make_client_context()}; }

// Everybody is one server, "localhost" and 127.0.0.1 by its certificate.
class Scene {
 public:
  explicit Scene(waterspout::IOLoop::Options options = {})
      : loop(std::move(options)), resolver(loop), client(loop, resolver) {
    for (const char* name : {"localhost", "LocalHost.", "other.test"}) {
      resolver.add(name, {address()});
    }
  }

  // Accepts and shakes hands from now on.
  void serve() {
    server_ = add_accept_handler(
        loop, listener.fileno(), [this](Socket socket, const Address&) {
          accepted.push_back(SSLIOStream::create(loop, socket.release(),
                                                 make_server_context()));
        });
  }

  ConnectAnswer connect(std::string_view host, ConnectOptions options) {
    ConnectAnswer answer;
    client.connect(host, address().port(), std::move(options),
                   answer.callback());
    loop.run_until([&] { return answer.calls == 1; });
    CHECK(bool(answer.error) == (answer.stream == nullptr));
    return answer;
  }

  [[nodiscard]] Address address() const { return listener.local_address(); }

  LoopFixture loop;
  Socket listener = std::move(bind_sockets(0, "127.0.0.1").front());
  FixedResolver resolver;
  TCPClient client;
  std::vector<std::shared_ptr<SSLIOStream>> accepted;

 private:
  AcceptHandler server_;
};

}  // namespace

TEST_SUITE_BEGIN("tcpclient_tls");

TEST_CASE("TCPClient::connect verifies the host, and sends its name") {
  struct Example {
    const char* host;
    const char* name_sent;
  };
  const std::vector<Example> examples = {{"localhost", "localhost"},
                                         {"LocalHost.", "LocalHost"},
                                         {"127.0.0.1", ""}};
  for (const Example& example : examples) {
    CAPTURE(example.host);
    Scene scene;
    scene.serve();
    const ConnectAnswer answer = scene.connect(example.host, with_tls());
    REQUIRE(answer.stream);
    std::string got;
    answer.stream->read_bytes(5, [&](std::string_view data) { got = data; });
    REQUIRE(scene.accepted.size() == 1);
    scene.accepted[0]->write("hello");
    scene.loop.run_until([&] { return !got.empty(); });
    CHECK(got == "hello");
    CHECK(scene.accepted[0]->server_name() == example.name_sent);
    CHECK(std::dynamic_pointer_cast<SSLIOStream>(answer.stream)->version() ==
          "TLSv1.3");
  }
}

TEST_CASE("TCPClient::connect may verify another name than the host's") {
  Scene scene;
  scene.serve();
  ConnectOptions options = with_tls();
  options.tls_options.server_hostname = "localhost";
  CHECK(scene.connect("other.test", options).stream);
}

TEST_CASE("TCPClient logs nothing of a handshake that it tells of") {
  Scene scene;
  scene.serve();
  scene.loop.expect_log(LogLevel::info, "the peer refused our certificate");
  const ConnectAnswer answer = scene.connect("other.test", with_tls());
  // The server's stream is told too.
  scene.loop.run_until([&] { return scene.accepted[0]->closed(); });
  CHECK(answer.error.step == Step::handshake);
  CHECK(answer.error.code == SSLErrc::certificate_wrong_host);
  const std::string port = std::to_string(scene.address().port());
  CHECK(answer.error.message.starts_with("handshake: other.test:" + port +
                                         ": 127.0.0.1:" + port + ": "));
}

TEST_CASE("A peer that goes away in the handshake fails that step") {
  Scene scene;
  ConnectAnswer answer;
  scene.client.connect("localhost", scene.address().port(), with_tls(),
                       answer.callback());
  const AcceptHandler server = add_accept_handler(
      scene.loop, scene.listener.fileno(), [](Socket, const Address&) {});
  scene.loop.run_until([&] { return answer.calls == 1; });
  CHECK(answer.error.step == Step::handshake);
  CHECK(answer.error.code);
  CHECK_FALSE(answer.stream);
}

TEST_CASE("The one timeout bounds the handshake too (D8)") {
  const VirtualClock clock;
  Scene scene(clock.options());
  ConnectOptions options = with_tls();
  options.timeout = 5s;
  const ConnectAnswer answer = scene.connect("localhost", options);
  CHECK(answer.error.step == Step::handshake);
  CHECK(answer.error.code == std::errc::timed_out);
  CHECK(answer.error.message ==
        "handshake: localhost:" + std::to_string(scene.address().port()) +
            ": Connection timed out");
  CHECK(clock.elapsed() == 5s);
  CHECK(scene.loop->statistics().streams == 0);
  CHECK(scene.loop->statistics().timeouts == 0);
}

TEST_CASE("The handshake's own timeout holds as well") {
  const VirtualClock clock;
  Scene scene(clock.options());
  ConnectOptions options = with_tls();
  options.tls_options.handshake_timeout = 1s;
  ConnectOptions literal = options;
  const ConnectAnswer answer = scene.connect("localhost", options);
  CHECK(answer.error.step == Step::handshake);
  CHECK(answer.error.code == SSLErrc::handshake_timeout);
  const std::string address = scene.address().to_string();
  CHECK(answer.error.message ==
        "handshake: localhost:" + std::to_string(scene.address().port()) +
            ": " + address + ": the handshake took too long");
  CHECK(scene.connect("127.0.0.1", std::move(literal)).error.message ==
        "handshake: " + address + ": the handshake took too long");
}

TEST_CASE(
    "Only the winner of a race shakes hands, the loser is closed (K-96)") {
  const VirtualClock clock;
  Scene scene(clock.options());
  const FullListener hanging("::1");
  scene.resolver.add("localhost", {hanging.address(), scene.address()});
  const std::size_t before = fd_count();
  ConnectOptions options = with_tls();
  options.timeout = 5s;
  ConnectAnswer answer;
  scene.client.connect("localhost", 443, std::move(options), answer.callback());
  scene.loop->call_later(1s, [&] {
    CHECK(fd_count() == before + 1);
    scene.serve();
  });
  scene.loop.run_until([&] { return answer.calls == 1; });
  CHECK(answer.stream);
  CHECK(scene.accepted.size() == 1);
}

TEST_CASE("A connection may be taken away in its handshake") {
  const std::size_t fds = fd_count();
  for (const char* what : {"request", "client", "loop"}) {
    CAPTURE(what);
    {
      const Socket listener = std::move(bind_sockets(0, "127.0.0.1").front());
      auto loop = std::make_unique<IOLoop>();
      auto client = std::make_unique<TCPClient>(*loop);
      const Token token;
      RequestHandle handle = client->connect(
          "127.0.0.1", listener.local_address().port(), with_tls(),
          [held = token.copy()](const ConnectError&,
                                const std::shared_ptr<IOStream>&) {
            FAIL_CHECK("a callback ran that must not");
          });
      // The hello that arrives here is sent in the handshake.
      UniquePeerFd peer;
      loop->add_handler(listener.fileno(), IOLoop::READ,
                        [&](int fd, IOLoop::Events) {
                          peer = accept_from(fd);
                          loop->remove_handler(fd);
                          loop->add_handler(peer.get(), IOLoop::READ,
                                            [&](int its_fd, IOLoop::Events) {
                                              loop->remove_handler(its_fd);
                                              loop->stop();
                                            });
                        });
      loop->start();
      CHECK(loop->statistics().streams == 1);
      if (what == std::string_view("request")) {
        handle.cancel();
      } else if (what == std::string_view("client")) {
        client.reset();
      } else {
        loop.reset();
      }
      CHECK(token.alive() == 0);
      if (loop) {
        CHECK(loop->statistics().streams == 0);
        CHECK(loop->statistics().timeouts == 0);
      }
    }
    CHECK(fd_count() == fds);
  }
}

TEST_CASE("TCPClient::connect refuses TLS options that mean nothing") {
  Scene scene;
  const auto never = [](const ConnectError&, const std::shared_ptr<IOStream>&) {
  };
  CHECK_THROWS_AS(scene.client.connect("localhost", 443,
                                       {.tls = make_server_context()}, never),
                  std::invalid_argument);
  CHECK_THROWS_AS(scene.client.connect("no name", 443, with_tls(), never),
                  std::invalid_argument);
  CHECK(scene.client.pending() == 0);
}

TEST_SUITE_END();
