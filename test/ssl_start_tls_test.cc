// IOStream::start_tls: from plain to protected on one connection.

#include <memory>
#include <ostream>
#include <stdexcept>
#include <string>
#include <string_view>

#include <doctest/doctest.h>

#include "waterspout/ssl_iostream.h"

#include "support/loop_fixture.h"
#include "support/stream_helpers.h"
#include "support/stream_pair.h"
#include "support/tls_streams.h"

using waterspout::IOStream;
using waterspout::LogLevel;
using waterspout::SSLErrc;
using waterspout::SSLIOStream;
using waterspout::StreamClosedError;
using waterspout::test::Authority;
using waterspout::test::EventLog;
using waterspout::test::Identity;
using waterspout::test::LoopFixture;
using waterspout::test::make_client_context;
using waterspout::test::make_raw_pair;
using waterspout::test::make_server_context;
using waterspout::test::RawPeer;
using waterspout::test::SocketPair;

namespace {

// Where it is refused, nothing comes of it.
void start_tls(const std::shared_ptr<IOStream>& stream,
               const waterspout::SSLContext& context) {
  const auto unexpected = stream->start_tls(context, {});
}

/// Plain, whatever other tests run on.
struct PlainPair {
  explicit PlainPair(waterspout::IOLoop& loop) {
    SocketPair sockets = waterspout::test::connect_tcp_pair();
    client = IOStream::create(loop, sockets.client.release());
    server = IOStream::create(loop, sockets.server.release());
  }

  std::shared_ptr<IOStream> client;
  std::shared_ptr<IOStream> server;
};

/// A mail server's dialogue up to STARTTLS, and what follows it.
struct Mail {
  LoopFixture& loop;
  PlainPair& pair;
  EventLog log;
  std::shared_ptr<SSLIOStream> client;
  std::shared_ptr<SSLIOStream> server;

  void begin() {
    pair.server->write("220 ready\r\n");
    pair.client->read_until("\r\n", [this](std::string_view) {
      pair.client->write("STARTTLS\r\n");
      pair.client->read_until("\r\n", [this](std::string_view) {
        client = pair.client->start_tls(make_client_context(),
                                        {.server_hostname = "localhost"});
        greet();
      });
    });
    pair.server->read_until("\r\n", [this](std::string_view line) {
      log.read("plain")(line.substr(0, line.size() - 2));
      pair.server->write("220 go ahead\r\n", [this] { protect_server(); });
    });
  }

  void protect_server() {
    server = pair.server->start_tls(make_server_context(), {});
    server->wait_for_handshake([this] { log.add("shaken"); });
    server->read_until("\r\n", [this](std::string_view line) {
      log.read("protected")(line.substr(0, line.size() - 2));
      server->write("250 mail\r\n");
    });
  }

  void greet() {
    client->write("EHLO client\r\n");
    client->read_until("\r\n", [this](std::string_view line) {
      log.read("answer")(line.substr(0, line.size() - 2));
      loop.stop();
    });
  }
};

}  // namespace

TEST_SUITE_BEGIN("ssl_start_tls");

TEST_CASE(
    "IOStream::start_tls goes on under TLS at both sides "
    "(test_start_tls_smtp)") {
  LoopFixture loop;
  PlainPair pair(loop);
  Mail mail{loop, pair, {}, nullptr, nullptr};
  mail.begin();
  loop.run();
  CHECK(mail.log.text() ==
        "plain(STARTTLS) shaken protected(EHLO client) answer(250 mail)");
  CHECK(mail.client->version() == "TLSv1.3");
  mail.client->close();
  mail.server->close();
  loop.run_turns(3);
}

TEST_CASE("IOStream::start_tls leaves a closed stream behind") {
  LoopFixture loop;
  const PlainPair pair(loop);
  EventLog log;
  pair.client->set_close_callback(log.note("closed"));
  const int fd = pair.client->fileno();

  const auto stream = pair.client->start_tls(make_client_context(),
                                             {.server_hostname = "localhost"});
  CHECK(pair.client->closed());
  CHECK_FALSE(pair.client->error());
  CHECK(pair.client->fileno() == -1);
  CHECK(stream->fileno() == fd);
  CHECK_THROWS_AS(pair.client->write("x"), StreamClosedError);
  CHECK_THROWS_AS(start_tls(pair.client, make_client_context()),
                  StreamClosedError);
  loop.run_turns(2);
  CHECK(log.empty());

  // The close callback went along.
  stream->close();
  pair.server->close();
  loop.run_turns(2);
  CHECK(log.text() == "closed");
}

TEST_CASE("IOStream::start_tls refuses what was not protected") {
  LoopFixture loop;
  const RawPeer raw = make_raw_pair(loop);
  auto refuses = [&] {
    CHECK_THROWS_AS(start_tls(raw.stream, make_server_context()),
                    std::logic_error);
    CHECK_FALSE(raw.stream->closed());
  };
  std::string got;

  SUBCASE("bytes behind the command that starts it") {
    // Whoever injected them would have them taken for the client's.
    raw.peer.send("STARTTLS\r\nMAIL FROM: somebody else\r\n");
    raw.stream->read_until("\r\n", [&](std::string_view) {
      refuses();
      loop.stop();
    });
    loop.run();
    CHECK(raw.stream->unread_bytes() == 26);
    refuses();
  }
  SUBCASE("a read that is pending") {
    raw.stream->read_until("\r\n", [](std::string_view) {});
    refuses();
  }
  SUBCASE("a callback that has not run") {
    raw.stream->write("x", [] {});
    refuses();
    loop.run_turns(2);
  }
  SUBCASE("a stream that is not connected") {
    const auto stream = IOStream::create(loop);
    CHECK_THROWS_AS(start_tls(stream, make_server_context()), std::logic_error);
  }
  SUBCASE("a client that does not say whom it talks to") {
    CHECK_THROWS_AS(start_tls(raw.stream, make_client_context()),
                    std::invalid_argument);
    CHECK_FALSE(raw.stream->closed());
  }
  raw.stream->close();
  loop.run_turns(2);
}

TEST_CASE("IOStream::start_tls refuses a stream with unsent bytes") {
  LoopFixture loop;
  const RawPeer raw = make_raw_pair(loop);
  waterspout::test::bound_kernel_buffers(raw.stream->fileno());
  raw.stream->write(std::string(4'000'000, 'x'));
  REQUIRE(raw.stream->writing());
  CHECK_THROWS_AS(start_tls(raw.stream, make_server_context()),
                  std::logic_error);
  CHECK_FALSE(raw.stream->closed());
  raw.stream->close();
  loop.run_turns(2);
}

TEST_CASE("IOStream::start_tls is refused by a stream that is protected") {
  LoopFixture loop;
  const auto pair = waterspout::test::make_tls_pair(loop);
  shake_hands(loop, pair);
  CHECK_THROWS_AS(start_tls(pair.server, make_server_context()),
                  std::logic_error);
  CHECK_FALSE(pair.server->closed());
  pair.client->close();
  pair.server->close();
  loop.run_turns(3);
}

// Tornado 4.5 sent the name and did not look at the certificate's.
TEST_CASE("IOStream::start_tls checks the host name") {
  LoopFixture loop;
  loop.expect_log(LogLevel::warning, "the certificate is for another host");
  loop.expect_log(LogLevel::info, "refused our certificate");
  const PlainPair pair(loop);
  const auto client = pair.client->start_tls(
      make_client_context(), {.server_hostname = "elsewhere.example"});
  const auto server = pair.server->start_tls(make_server_context(), {});
  EventLog log;
  client->wait_for_handshake(log.note("shaken"));
  client->set_close_callback(log.note("closed"));
  server->set_close_callback([&] { loop.stop(); });
  loop.run();
  loop.run_turns(2);
  CHECK(log.text() == "closed");
  CHECK(client->error() == SSLErrc::certificate_wrong_host);
}

TEST_CASE(
    "IOStream::start_tls ends with an error at both sides where the server is "
    "not trusted (test_handshake_fail)") {
  LoopFixture loop;
  loop.expect_log(LogLevel::warning, "the certificate is self-signed");
  loop.expect_log(LogLevel::info, "authority of our certificate");
  const PlainPair pair(loop);
  const Identity self_signed = waterspout::test::make_self_signed();
  const auto client = pair.client->start_tls(make_client_context(),
                                             {.server_hostname = "localhost"});
  const auto server =
      pair.server->start_tls(make_server_context({}, self_signed), {});
  server->set_close_callback([&] { loop.stop(); });
  loop.run();
  CHECK(client->error() == SSLErrc::certificate_self_signed);
  CHECK(server->error() == SSLErrc::alert_unknown_ca);
}

TEST_CASE("IOStream::start_tls keeps the options of the stream") {
  LoopFixture loop;
  SocketPair sockets = waterspout::test::connect_tcp_pair();
  const auto plain = IOStream::create(loop, sockets.client.release(),
                                      {.max_write_buffer_size = 1000});
  const auto stream =
      plain->start_tls(make_client_context(), {.server_hostname = "localhost"});
  CHECK_THROWS_AS(stream->write(std::string(1001, 'x')),
                  waterspout::StreamBufferFullError);
  stream->close();
  loop.run_turns(1);
}

TEST_SUITE_END();
