// SSLIOStream's own promises: the handshake, what it came to, and the ends.

#include "waterspout/ssl_iostream.h"

#include <chrono>
#include <memory>
#include <ostream>
#include <stdexcept>
#include <string>
#include <string_view>

#include <doctest/doctest.h>

#include "support/loop_fixture.h"
#include "support/sockets.h"
#include "support/stream_helpers.h"
#include "support/tls_streams.h"

using waterspout::IOStream;
using waterspout::LogLevel;
using waterspout::SSLContext;
using waterspout::SSLErrc;
using waterspout::SSLIOStream;
using waterspout::SSLVerify;
using waterspout::SSLVersion;
using waterspout::StreamClosedError;
using waterspout::test::accept_from;
using waterspout::test::Authority;
using waterspout::test::connect_tcp_pair;
using waterspout::test::EventLog;
using waterspout::test::Identity;
using waterspout::test::listen_on_loopback;
using waterspout::test::LoopFixture;
using waterspout::test::make_client_context;
using waterspout::test::make_server_context;
using waterspout::test::make_tls_pair;
using waterspout::test::shake_hands;
using waterspout::test::SocketPair;
using waterspout::test::TLSPair;
using waterspout::test::UniquePeerFd;

using namespace std::chrono_literals;

namespace {

void close_both(LoopFixture& loop, const TLSPair& pair) {
  pair.client->close();
  pair.server->close();
  loop.run_turns(3);
}

// The session's end of a connection that one of two contexts has made.
bool reused_over(LoopFixture& loop, const SSLContext& client,
                 const SSLContext& server, const UniquePeerFd& listener,
                 std::uint16_t port) {
  const auto stream =
      SSLIOStream::create(loop, client, {.server_hostname = "localhost"});
  bool reused = false;
  stream->connect({"127.0.0.1", port}, [] {});
  const auto other =
      SSLIOStream::create(loop, accept_from(listener.get()).release(), server);
  other->write("x");
  stream->read_bytes(1, [&](std::string_view) {
    reused = stream->session_reused();
    loop.stop();
  });
  loop.run();
  close_both(loop, {stream, other});
  return reused;
}

}  // namespace

TEST_SUITE_BEGIN("ssl_iostream");

TEST_CASE("SSLIOStream::connect calls back when the handshake is done") {
  LoopFixture loop;
  std::uint16_t port = 0;
  const UniquePeerFd listener(listen_on_loopback(port));
  const auto client = SSLIOStream::create(loop, make_client_context(),
                                          {.server_hostname = "localhost"});
  std::shared_ptr<SSLIOStream> server;
  EventLog log;

  client->connect({"127.0.0.1", port}, [&] {
    log.add(client->version());
    client->read_until("\n", [&](std::string_view line) {
      log.read("line")(line.substr(0, line.size() - 1));
      loop.stop();
    });
  });
  client->write("early\n");
  server = SSLIOStream::create(loop, accept_from(listener.get()).release(),
                               make_server_context());
  server->read_until("\n", [&](std::string_view line) { server->write(line); });

  loop.run();
  CHECK(log.text() == "TLSv1.3 line(early)");
  close_both(loop, {client, server});
}

TEST_CASE("SSLIOStream tells what the handshake came to") {
  LoopFixture loop;
  for (const SSLVersion version : {SSLVersion::tls1_2, SSLVersion::tls1_3}) {
    const TLSPair pair =
        make_tls_pair(loop,
                      make_client_context({.maximum_version = version,
                                           .alpn_protocols = {"b", "a"}}),
                      make_server_context({.alpn_protocols = {"a", "b"}}));
    CHECK(pair.client->cipher().empty());
    CHECK_FALSE(pair.client->peer_certificate().has_value());

    shake_hands(loop, pair);
    const bool old = version == SSLVersion::tls1_2;
    CHECK(pair.client->version() == (old ? "TLSv1.2" : "TLSv1.3"));
    CHECK(pair.client->cipher() == pair.server->cipher());
    CHECK(pair.client->alpn_protocol() == "a");
    CHECK(pair.server->alpn_protocol() == "a");
    CHECK(pair.server->server_name() == "localhost");
    CHECK_FALSE(pair.client->session_reused());
    const auto certificate = pair.client->peer_certificate();
    REQUIRE(certificate.has_value());
    CHECK(certificate->subject == "CN=localhost");
    CHECK(certificate->issuer == "CN=Test Authority");
    CHECK(certificate->dns_names == std::vector<std::string>{"localhost"});
    CHECK(certificate->ip_addresses == std::vector<std::string>{"127.0.0.1"});
    CHECK(certificate->pem == waterspout::test::good_identity().certificate);
    CHECK(certificate->der.size() > 100);
    CHECK_FALSE(pair.server->peer_certificate().has_value());
    close_both(loop, pair);
    CHECK(pair.client->version().empty());
  }
}

TEST_CASE(
    "SSLIOStream::wait_for_handshake tells once what could not be known "
    "before (test_wait_for_handshake_callback)") {
  LoopFixture loop;
  const TLSPair pair = make_tls_pair(loop);
  bool returned = false;
  EventLog log;
  CHECK(pair.server->cipher().empty());
  pair.server->wait_for_handshake([&] {
    CHECK(returned);
    CHECK_FALSE(pair.server->cipher().empty());
    log.add("shaken");
    // Done already: once more (test_wait_for_handshake_already_connected).
    pair.server->wait_for_handshake([&] {
      log.add("again");
      loop.stop();
    });
    CHECK(log.text() == "shaken");
  });
  returned = true;

  loop.run();
  CHECK(log.text() == "shaken again");
  close_both(loop, pair);
}

TEST_CASE(
    "SSLIOStream::wait_for_handshake refuses a second callback "
    "(test_wait_for_handshake_already_waiting_error)") {
  LoopFixture loop;
  const TLSPair pair = make_tls_pair(loop);
  pair.server->wait_for_handshake([&] { loop.stop(); });
  CHECK_THROWS_AS(pair.server->wait_for_handshake([] {}), std::logic_error);
  CHECK_THROWS_AS(pair.client->wait_for_handshake({}), std::invalid_argument);
  loop.run();
  close_both(loop, pair);
  CHECK_THROWS_AS(pair.server->wait_for_handshake([] {}), StreamClosedError);
}

TEST_CASE("SSLIOStream wants to know whom it talks to") {
  LoopFixture loop;
  const SSLContext client = make_client_context();
  CHECK_THROWS_AS(SSLIOStream::create(loop, client), std::invalid_argument);
  CHECK_THROWS_AS(
      SSLIOStream::create(loop, connect_tcp_pair().client.release(), client),
      std::invalid_argument);
  CHECK_NOTHROW(SSLIOStream::create(loop, client, {.verify_hostname = false}));
  CHECK_NOTHROW(SSLIOStream::create(
      loop, make_client_context({.verify = SSLVerify::none})));
  CHECK_THROWS_AS(SSLIOStream::create(loop, client, {.server_hostname = "a b"}),
                  std::invalid_argument);
}

TEST_CASE("SSLIOStream verifies addresses as well as names") {
  LoopFixture loop;
  for (const char* const host : {"127.0.0.1", "localhost.", "LOCALHOST"}) {
    const TLSPair pair =
        make_tls_pair(loop, make_client_context(), make_server_context(),
                      {.server_hostname = host});
    shake_hands(loop, pair);
    CHECK(pair.client->error_message() == "");
    CHECK_FALSE(pair.client->closed());
    // An address is not sent.
    CHECK((pair.server->server_name() == "") ==
          (std::string(host) == "127.0.0.1"));
    close_both(loop, pair);
  }
}

TEST_CASE("SSLIOStream gives the server the certificate of its client") {
  LoopFixture loop;
  const Identity client = Authority::shared().issue(
      {.common_name = "somebody", .names = "", .purpose = "clientAuth"});
  const TLSPair pair = make_tls_pair(
      loop,
      make_client_context(
          {.certificate = client.certificate, .key = client.key}),
      make_server_context({.ca = Authority::shared().certificate(),
                           .verify = SSLVerify::required}));
  shake_hands(loop, pair);
  REQUIRE(pair.server->peer_certificate().has_value());
  CHECK(pair.server->peer_certificate()->subject == "CN=somebody");
  close_both(loop, pair);
}

TEST_CASE("SSLVerify::optional asks clients and lets them go without") {
  LoopFixture loop;
  const TLSPair pair = make_tls_pair(
      loop, make_client_context(),
      make_server_context({.ca = Authority::shared().certificate(),
                           .verify = SSLVerify::optional}));
  shake_hands(loop, pair);
  CHECK_FALSE(pair.server->closed());
  CHECK_FALSE(pair.server->peer_certificate().has_value());
  close_both(loop, pair);
}

TEST_CASE("SSLOptions::sni_contexts gives each name its own context") {
  LoopFixture loop;
  const Identity other = Authority::shared().issue(
      {.common_name = "other", .names = "DNS:other.example"});
  const SSLContext named =
      make_server_context({.alpn_protocols = {"special"}}, other);
  const SSLContext server =
      make_server_context({.sni_contexts = {{"Other.Example", named}}});
  auto subject_for = [&](const char* host) {
    const TLSPair pair = make_tls_pair(
        loop, make_client_context({.alpn_protocols = {"special"}}), server,
        {.server_hostname = host});
    shake_hands(loop, pair);
    const auto certificate = pair.client->peer_certificate();
    const std::string protocol = pair.client->alpn_protocol();
    close_both(loop, pair);
    return (certificate ? certificate->subject : "none") + protocol;
  };
  CHECK(subject_for("other.EXAMPLE") == "CN=otherspecial");
  CHECK(subject_for("localhost") == "CN=localhost");
}

TEST_CASE("SSLOptions::sni_contexts brings its own verification") {
  LoopFixture loop;
  loop.expect_log(LogLevel::info, "certificate");
  const Identity other = Authority::shared().issue(
      {.common_name = "other", .names = "DNS:other.example"});
  const SSLContext strict = make_server_context(
      {.ca = Authority::shared().certificate(), .verify = SSLVerify::required},
      other);
  const SSLContext server =
      make_server_context({.sni_contexts = {{"other.example", strict}}});
  const TLSPair pair = make_tls_pair(loop, make_client_context(), server,
                                     {.server_hostname = "other.example"});
  pair.server->set_close_callback([&] { loop.stop(); });
  loop.run();
  CHECK(pair.server->error() == SSLErrc::certificate_missing);
  close_both(loop, pair);
}

TEST_CASE("SSLOptions::resumption spares the second handshake") {
  LoopFixture loop;
  std::uint16_t port = 0;
  const UniquePeerFd listener(listen_on_loopback(port));
  const SSLContext server = make_server_context();
  const SSLContext keeping = make_client_context();
  const SSLContext forgetting = make_client_context({.resumption = false});
  CHECK_FALSE(reused_over(loop, keeping, server, listener, port));
  CHECK(reused_over(loop, keeping, server, listener, port));
  CHECK(reused_over(loop, keeping, server, listener, port));
  CHECK_FALSE(reused_over(loop, forgetting, server, listener, port));
  CHECK_FALSE(reused_over(loop, forgetting, server, listener, port));
}

TEST_CASE("SSLStreamOptions::handshake_timeout closes a peer that is silent") {
  LoopFixture loop;
  for (const bool as_client : {true, false}) {
    SocketPair sockets = connect_tcp_pair();
    loop.expect_log(as_client ? LogLevel::warning : LogLevel::info,
                    "the handshake took too long");
    const auto stream = SSLIOStream::create(
        loop, sockets.client.release(),
        as_client ? make_client_context() : make_server_context(),
        {.server_hostname = as_client ? "localhost" : "",
         .handshake_timeout = 20ms});
    stream->set_close_callback([&] { loop.stop(); });
    loop.run();
    CHECK(stream->error() == SSLErrc::handshake_timeout);
  }
}

TEST_CASE("SSLIOStream::close ends the other side in order, behind the data") {
  LoopFixture loop;
  const TLSPair pair = make_tls_pair(loop);
  std::string got;
  pair.server->read_until_close([&](std::string_view data) { got = data; });
  pair.server->set_close_callback([&] { loop.stop(); });
  pair.client->write("all of it", [client = pair.client] { client->close(); });

  loop.run();
  CHECK(got == "all of it");
  CHECK_FALSE(pair.server->error());
  CHECK(pair.server->error_message().empty());
}

TEST_CASE("one direction of a protected stream can end before the other") {
  LoopFixture loop;
  const TLSPair pair = make_tls_pair(
      loop, connect_tcp_pair(), {.half_close = true}, {.half_close = true});
  std::string answer;
  pair.server->read_until_close([&](std::string_view question) {
    pair.server->write("answer to " + std::string(question));
    pair.server->shutdown_write();
  });
  pair.client->read_until_close([&](std::string_view data) { answer = data; });
  pair.client->set_close_callback([&] { loop.stop(); });
  pair.client->write("the question");
  pair.client->shutdown_write();

  loop.run();
  CHECK(answer == "answer to the question");
  CHECK(pair.client->error_message() == "");
  CHECK(pair.server->error_message() == "");
  close_both(loop, pair);
}

TEST_CASE("an end without TLS's own end is a truncation, behind the data") {
  for (const bool accepted : {false, true}) {
    LoopFixture loop;
    const TLSPair pair =
        make_tls_pair(loop, make_client_context(),
                      make_server_context({.accept_truncation = accepted}));
    std::string got;
    pair.server->read_until_close([&](std::string_view data) { got = data; });
    pair.server->set_close_callback([&] { loop.stop(); });
    pair.client->write("some of it", [client = pair.client] {
      client->close(std::make_error_code(std::errc::operation_canceled));
    });

    loop.run();
    CHECK(got == "some of it");
    CHECK((pair.server->error() == SSLErrc::truncated) == !accepted);
    CHECK((pair.server->error_message().find("unexpected eof") !=
           std::string::npos) == !accepted);
  }
}

TEST_CASE("what came before the handshake is never delivered") {
  // A peer in between sends plain text and is gone (CVE-2023-40217).
  LoopFixture loop;
  loop.expect_log(LogLevel::info, "not TLS");
  SocketPair sockets = connect_tcp_pair();
  const auto server = SSLIOStream::create(loop, sockets.server.release(),
                                          make_server_context());
  EventLog log;
  server->read_until_close(log.read("data"));
  server->set_close_callback([&] {
    log.add("closed");
    loop.stop();
  });
  sockets.client.send("plain text that looks like a request\n");
  sockets.client.close();

  loop.run();
  CHECK((log.text() == "closed" || log.text() == "data() closed"));
  CHECK(server->error() == SSLErrc::not_tls);
}

TEST_CASE("a chain of small reads goes on in what a record holds") {
  LoopFixture loop;
  const TLSPair pair = make_tls_pair(loop);
  const std::string text = waterspout::test::make_pattern(200'000);
  std::string got;
  std::function<void()> read = [&] {
    pair.client->read_bytes(7, {.partial = true}, [&](std::string_view data) {
      got += data;
      got.size() < text.size() ? read() : loop.stop();
    });
  };
  read();
  pair.server->write(text);
  loop.bound_turns(100'000);
  loop.run();
  CHECK((got == text));
  close_both(loop, pair);
}

TEST_CASE("a read that comes late finds what the session holds") {
  LoopFixture loop;
  const TLSPair pair = make_tls_pair(loop);
  std::string got;
  pair.server->write(std::string(40'000, 'x') + "\n");
  pair.client->read_bytes(100, [&](std::string_view) { loop.stop(); });
  loop.run();
  loop.run_turns(5);
  pair.client->read_until("\n", [&](std::string_view data) {
    got = data;
    loop.stop();
  });
  loop.run();
  CHECK(got.size() == 40'000 - 100 + 1);
  close_both(loop, pair);
}

TEST_CASE("a stream that nobody reads is quiet, whatever tickets come") {
  LoopFixture loop;
  const TLSPair pair = make_tls_pair(loop);
  shake_hands(loop, pair);
  pair.client->set_close_callback([] {});
  loop.run_turns(20);
  CHECK(pair.client->unread_bytes() == 0);
  close_both(loop, pair);
}

TEST_CASE("SSLIOStream closes during its handshake wherever it is told to") {
  LoopFixture loop;
  SUBCASE("at once") {
    const TLSPair pair = make_tls_pair(loop);
    EventLog log;
    pair.client->wait_for_handshake(log.note("shaken"));
    pair.client->set_close_callback(log.note("closed"));
    pair.client->close();
    pair.server->set_close_callback([&] { loop.stop(); });
    loop.run();
    CHECK(log.text() == "closed");
    CHECK(pair.server->error() == SSLErrc::closed_in_handshake);
  }
  SUBCASE("by dropping it") {
    TLSPair pair = make_tls_pair(loop);
    loop.run_turns(1);
    pair.client.reset();
    pair.server->set_close_callback([&] { loop.stop(); });
    loop.run();
    CHECK(pair.server->closed());
  }
  SUBCASE("in its callback") {
    const TLSPair pair = make_tls_pair(loop);
    pair.client->wait_for_handshake([&] { pair.client->close(); });
    pair.server->set_close_callback([&] { loop.stop(); });
    loop.run();
    CHECK_FALSE(pair.server->error());
  }
  SUBCASE("with its loop") {
    const TLSPair pair = make_tls_pair(loop);
    pair.client->wait_for_handshake([] {});
    loop.run_turns(1);
    loop->close();
    CHECK(pair.client->closed());
  }
}

TEST_SUITE_END();
