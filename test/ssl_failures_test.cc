// Each way in which a connection fails, and what each side says of it.

#include <cstdint>
#include <functional>
#include <memory>
#include <ostream>
#include <string>
#include <string_view>
#include <vector>

#include <sys/socket.h>

#include <doctest/doctest.h>

#include "waterspout/ssl_iostream.h"

#include "support/loop_fixture.h"
#include "support/sockets.h"
#include "support/stream_helpers.h"
#include "support/tls_streams.h"

using waterspout::IOStream;
using waterspout::LogLevel;
using waterspout::SSLContext;
using waterspout::SSLErrc;
using waterspout::SSLIOStream;
using waterspout::SSLStreamOptions;
using waterspout::SSLVerify;
using waterspout::SSLVersion;
using waterspout::test::Authority;
using waterspout::test::CertificateRequest;
using waterspout::test::connect_tcp_pair;
using waterspout::test::Identity;
using waterspout::test::LoopFixture;
using waterspout::test::make_client_context;
using waterspout::test::make_self_signed;
using waterspout::test::make_server_context;
using waterspout::test::make_tls_pair;
using waterspout::test::SocketPair;
using waterspout::test::TLSPair;

namespace {

/// What the two sides say; the log lines come with the same texts.
struct Expected {
  SSLErrc client;
  SSLErrc server;
};

std::string text_of(SSLErrc code) { return std::error_code(code).message(); }

// A client that is turned down after its own handshake hears of it in its first
// read, and that is the peer's doing.
void expect_logs(LoopFixture& loop, const Expected& expected,
                 bool client_was_done) {
  loop.expect_log(client_was_done ? LogLevel::info : LogLevel::warning,
                  text_of(expected.client));
  if (expected.server != SSLErrc::closed_in_handshake) {
    loop.expect_log(LogLevel::info, text_of(expected.server));
  }
}

void check_failure(const SSLContext& client, const SSLContext& server,
                   const Expected& expected, bool client_was_done = false,
                   const SSLStreamOptions& tls = {
                       .server_hostname = "localhost"}) {
  LoopFixture loop;
  expect_logs(loop, expected, client_was_done);
  const TLSPair pair = make_tls_pair(loop, client, server, tls);
  int closed = 0;
  for (const auto& stream : {pair.client, pair.server}) {
    stream->read_bytes(1, [](std::string_view) { CHECK(false); });
    stream->set_close_callback([&] {
      ++closed;
      if (closed == 2) {
        loop.stop();
      }
    });
  }
  loop.run();
  CHECK(pair.client->error() == expected.client);
  CHECK(pair.server->error() == expected.server);
  CHECK(pair.client->error_message().find(text_of(expected.client)) !=
        std::string::npos);
  CHECK(pair.client->error_message().find("127.0.0.1:") != std::string::npos);
}

void check_certificate(const Identity& identity, const Expected& expected) {
  check_failure(make_client_context(), make_server_context({}, identity),
                expected);
}

/// What a stream says to a peer that sends `bytes` and ends.
struct RawOutcome {
  std::error_code error;
  std::string answer;
};

RawOutcome after_bytes(LoopFixture& loop, const SSLContext& context,
                       const std::string& bytes) {
  SocketPair sockets = connect_tcp_pair();
  const bool client = context.role() == SSLContext::Role::client;
  const auto stream =
      SSLIOStream::create(loop, sockets.client.release(), context,
                          {.server_hostname = client ? "localhost" : ""});
  stream->read_until_close([](std::string_view data) { CHECK(data.empty()); });
  stream->set_close_callback([&] { loop.stop(); });
  sockets.server.send(bytes);
  sockets.server.shutdown();
  loop.run();
  return {stream->error(), sockets.server.recv_all()};
}

}  // namespace

TEST_SUITE_BEGIN("ssl_failures");

TEST_CASE("a certificate that has expired is refused") {
  check_certificate(
      Authority::shared().issue({.valid_from_days = -10, .valid_to_days = -1}),
      {SSLErrc::certificate_expired, SSLErrc::alert_certificate_expired});
}

TEST_CASE("a certificate that is not yet valid is refused") {
  check_certificate(
      Authority::shared().issue({.valid_from_days = 1, .valid_to_days = 10}),
      {SSLErrc::certificate_not_yet_valid, SSLErrc::alert_bad_certificate});
}

TEST_CASE("a self-signed certificate is refused") {
  check_certificate(make_self_signed(), {SSLErrc::certificate_self_signed,
                                         SSLErrc::alert_unknown_ca});
}

TEST_CASE("a certificate of an unknown authority is refused") {
  const Authority stranger("Stranger");
  check_certificate(stranger.issue(), {SSLErrc::certificate_unknown_ca,
                                       SSLErrc::alert_unknown_ca});
}

TEST_CASE("a certificate for another host is refused") {
  const Identity other = Authority::shared().issue(
      {.common_name = "localhost", .names = "DNS:elsewhere.example"});
  check_certificate(
      other, {SSLErrc::certificate_wrong_host, SSLErrc::alert_bad_certificate});
}

TEST_CASE("a certificate for another address is refused") {
  check_failure(
      make_client_context(), make_server_context(),
      {SSLErrc::certificate_wrong_host, SSLErrc::alert_bad_certificate}, false,
      {.server_hostname = "127.0.0.2"});
}

TEST_CASE("a context of the application's own has the host checked too") {
  const SSLContext made = make_client_context();
  check_failure(
      SSLContext::adopt(made.native(), SSLContext::Role::client),
      make_server_context(),
      {SSLErrc::certificate_wrong_host, SSLErrc::alert_bad_certificate}, false,
      {.server_hostname = "elsewhere.example"});
}

TEST_CASE("a wildcard stands for one label") {
  const Identity wild = Authority::shared().issue(
      {.common_name = "wild", .names = "DNS:*.example.test"});
  check_failure(
      make_client_context(), make_server_context({}, wild),
      {SSLErrc::certificate_wrong_host, SSLErrc::alert_bad_certificate}, false,
      {.server_hostname = "a.b.example.test"});

  LoopFixture loop;
  const TLSPair pair =
      make_tls_pair(loop, make_client_context(), make_server_context({}, wild),
                    {.server_hostname = "a.example.test"});
  shake_hands(loop, pair);
  CHECK_FALSE(pair.client->closed());
  pair.client->close();
  pair.server->close();
  loop.run_turns(3);
}

TEST_CASE("a client's certificate does not make a server") {
  check_certificate(
      Authority::shared().issue({.purpose = "clientAuth"}),
      {SSLErrc::certificate_wrong_purpose, static_cast<SSLErrc>(1043)});
}

TEST_CASE("a certificate whose key is too weak is refused") {
  const Identity weak =
      Authority::shared().issue({.key = CertificateRequest::Key::rsa_1024});
  check_failure(
      make_client_context(),
      make_server_context({.ciphers = "DEFAULT@SECLEVEL=1"}, weak),
      {SSLErrc::certificate_too_weak, SSLErrc::alert_bad_certificate});
}

TEST_CASE("a server without a common version refuses") {
  check_failure(make_client_context({.maximum_version = SSLVersion::tls1_2}),
                make_server_context({.minimum_version = SSLVersion::tls1_3}),
                {SSLErrc::alert_protocol_version, SSLErrc::no_shared_version});
}

TEST_CASE("a server without a common cipher refuses") {
  check_failure(
      make_client_context({.maximum_version = SSLVersion::tls1_2,
                           .ciphers = "ECDHE-ECDSA-AES128-GCM-SHA256"}),
      make_server_context({.ciphers = "ECDHE-ECDSA-AES256-GCM-SHA384"}),
      {SSLErrc::alert_handshake_failure, SSLErrc::no_shared_cipher});
  check_failure(make_client_context({.minimum_version = SSLVersion::tls1_3,
                                     .ciphersuites = "TLS_AES_128_GCM_SHA256"}),
                make_server_context({.ciphersuites = "TLS_AES_256_GCM_SHA384"}),
                {SSLErrc::alert_handshake_failure, SSLErrc::no_shared_cipher});
}

TEST_CASE("a server without a common application protocol refuses") {
  check_failure(
      make_client_context({.alpn_protocols = {"a"}}),
      make_server_context({.alpn_protocols = {"b"}}),
      {SSLErrc::alert_no_application_protocol, SSLErrc::no_shared_protocol});
}

TEST_CASE("a server that requires a certificate refuses a client without") {
  const auto server = make_server_context(
      {.ca = Authority::shared().certificate(), .verify = SSLVerify::required});
  check_failure(
      make_client_context({.maximum_version = SSLVersion::tls1_2}), server,
      {SSLErrc::alert_handshake_failure, SSLErrc::certificate_missing});
  // Under TLS 1.3 the client's own handshake is done by then.
  check_failure(
      make_client_context(), server,
      {SSLErrc::alert_certificate_required, SSLErrc::certificate_missing},
      true);
}

TEST_CASE("a server refuses a client's certificate of another authority") {
  const Authority stranger("Stranger");
  const Identity client = stranger.issue();
  for (const SSLVerify verify : {SSLVerify::required, SSLVerify::optional}) {
    check_failure(make_client_context(
                      {.certificate = client.certificate, .key = client.key}),
                  make_server_context({.ca = Authority::shared().certificate(),
                                       .verify = verify}),
                  {SSLErrc::alert_unknown_ca, SSLErrc::certificate_unknown_ca},
                  true);
  }
}

TEST_CASE("a context without a certificate of its own has nothing in common") {
  const auto other = make_server_context();
  const SSLContext server =
      SSLContext::server({.sni_contexts = {{"other.example", other}}});
  check_failure(make_client_context(), server,
                {SSLErrc::alert_handshake_failure, SSLErrc::no_shared_cipher});
}

TEST_CASE("plain HTTP on a TLS port is called that, in one line of the log") {
  LoopFixture loop;
  loop.expect_log(LogLevel::info, "plain HTTP on a TLS port");
  const RawOutcome outcome = after_bytes(
      loop, make_server_context(), "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
  CHECK(outcome.error == SSLErrc::http_request);
}

TEST_CASE("what is not TLS is called that, at either end") {
  LoopFixture loop;
  loop.expect_log(LogLevel::info, "what the peer sent is not TLS");
  CHECK(
      after_bytes(loop, make_server_context(), "hello, I am not TLS\n").error ==
      SSLErrc::not_tls);
  loop.expect_log(LogLevel::warning, "what the peer sent is not TLS");
  CHECK(after_bytes(loop, make_client_context(), "220 mail.example ready\r\n")
            .error == SSLErrc::not_tls);
}

TEST_CASE(
    "a peer that leaves in the handshake is not worth a line to servers") {
  LoopFixture loop;
  CHECK(after_bytes(loop, make_server_context(), "").error ==
        SSLErrc::closed_in_handshake);
  loop.expect_log(LogLevel::warning, "the peer closed during the handshake");
  CHECK(after_bytes(loop, make_client_context(), "").error ==
        SSLErrc::closed_in_handshake);
}

TEST_CASE("records that cannot be are refused at their heads") {
  LoopFixture loop;
  loop.expect_log(LogLevel::info, "(");
  const RawOutcome alert =
      after_bytes(loop, make_server_context(),
                  std::string("\x15\x03\x03\x00\x02\x02\x28", 7));
  CHECK(alert.error.category() == waterspout::ssl_category());
  loop.expect_log(LogLevel::info, "(");
  const RawOutcome large = after_bytes(loop, make_server_context(),
                                       std::string("\x16\x03\x03\xff\xff", 5));
  CHECK(large.error == SSLErrc::bad_record);
}

TEST_CASE("a reset in the handshake ends it") {
  LoopFixture loop;
  for (const bool as_client : {false, true}) {
    if (as_client) {
      loop.expect_log(LogLevel::warning, "Connection reset by peer");
    }
    SocketPair sockets = connect_tcp_pair();
    const auto stream = SSLIOStream::create(
        loop, sockets.client.release(),
        as_client ? make_client_context() : make_server_context(),
        {.server_hostname = as_client ? "localhost" : ""});
    stream->set_close_callback([&] { loop.stop(); });
    loop.run_turns(3);
    sockets.server.reset();
    loop.run();
    CHECK(stream->error() == std::errc::connection_reset);
  }
}

TEST_CASE("a record that is altered on the way ends the stream") {
  LoopFixture loop;
  loop.expect_log(LogLevel::info, "a record was damaged or altered");
  loop.expect_log(LogLevel::info, "alert");
  const TLSPair pair = make_tls_pair(loop);
  shake_hands(loop, pair);
  // Somebody in between writes on the client's descriptor.
  const std::string record =
      std::string("\x17\x03\x03\x00\x23", 5) + std::string(35, 'x');
  CHECK(send(pair.client->fileno(), record.data(), record.size(), 0) == 40);
  pair.server->read_bytes(1, [](std::string_view) { CHECK(false); });
  pair.client->set_close_callback([&] { loop.stop(); });
  loop.run();
  CHECK(pair.server->error() == SSLErrc::bad_record);
  CHECK(pair.client->error().value() == 1020);
}

TEST_CASE("a client hears why it was refused though its write fails first") {
  LoopFixture loop;
  loop.expect_log(LogLevel::info, text_of(SSLErrc::certificate_missing));
  loop.expect_log(LogLevel::info, text_of(SSLErrc::alert_certificate_required));
  const TLSPair pair = make_tls_pair(
      loop, make_client_context(),
      make_server_context({.ca = Authority::shared().certificate(),
                           .verify = SSLVerify::required}));
  pair.server->set_close_callback([&] { loop.stop(); });
  pair.client->wait_for_handshake([] {});
  loop.run();
  loop.run_turns(2);
  if (!pair.client->closed()) {
    pair.client->set_close_callback([&] { loop.stop(); });
    pair.client->write("one");
    pair.client->write("two");
    loop.run();
  }
  CHECK(pair.client->error() == SSLErrc::alert_certificate_required);
}

TEST_SUITE_END();
