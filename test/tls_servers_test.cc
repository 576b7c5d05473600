// TLS behind TCPServer, and in the samples echo_server and tcp_proxy.

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "waterspout/ssl_iostream.h"
#include "waterspout/tcpclient.h"
#include "waterspout/tcpserver.h"

#include "support/certificate_files.h"
#include "support/certificates.h"
#include "support/loop_fixture.h"
#include "support/program.h"
#include "support/sample_program.h"
#include "support/sockets.h"
#include "support/temp_dir.h"
#include "support/tls_streams.h"

using waterspout::Address;
using waterspout::ConnectError;
using waterspout::ConnectOptions;
using waterspout::IOStream;
using waterspout::LogLevel;
using waterspout::SSLErrc;
using waterspout::SSLIOStream;
using waterspout::TCPClient;
using waterspout::TCPServer;
using waterspout::test::announced_port;
using waterspout::test::Authority;
using waterspout::test::CertificateFiles;
using waterspout::test::connect_to;
using waterspout::test::Identity;
using waterspout::test::LoopFixture;
using waterspout::test::make_client_context;
using waterspout::test::make_server_context;
using waterspout::test::Program;
using waterspout::test::ProgramResult;
using waterspout::test::run_program;
using waterspout::test::sample_command;
using waterspout::test::TempDir;
using waterspout::test::UniquePeerFd;

namespace {

using namespace std::chrono_literals;

// Sends every line back, in capitals if it came protected.
class EchoServer : public TCPServer {
 public:
  using TCPServer::TCPServer;
  std::vector<std::weak_ptr<IOStream>> streams;

 protected:
  void handle_stream(std::shared_ptr<IOStream> stream,
                     const Address& /*address*/) override {
    streams.push_back(stream);
    stream->read_until("\n", [stream](std::string_view line) {
      const bool tls = dynamic_cast<SSLIOStream*>(stream.get()) != nullptr;
      stream->write(std::string(tls ? "protected " : "plain ") +
                    std::string(line));
      stream->close_after_writing();
    });
  }
};

// Starts TLS on every connection.
class UpgradingServer : public TCPServer {
 public:
  using TCPServer::TCPServer;
  std::shared_ptr<SSLIOStream> upgraded;

 protected:
  void handle_stream(std::shared_ptr<IOStream> stream,
                     const Address& /*address*/) override {
    upgraded = stream->start_tls(make_server_context(), {});
  }
};

struct Serving {
  explicit Serving(TCPServer::Options options) : server(loop, options) {
    server.listen(0, "127.0.0.1");
    port = server.addresses().at(0).port();
  }

  LoopFixture loop;
  EchoServer server;
  std::uint16_t port = 0;
};

TCPServer::Options with_tls() {
  TCPServer::Options options;
  options.ssl = make_server_context();
  return options;
}

// What a TLS client gets that sends `line` to a port of 127.0.0.1.
std::string ask(LoopFixture& loop, std::uint16_t port,
                const std::string& line) {
  TCPClient client(loop);
  ConnectOptions options;
  options.tls = make_client_context();
  std::optional<std::string> answer;
  client.connect(
      "localhost", port, std::move(options),
      [&](const ConnectError& error, const std::shared_ptr<IOStream>& stream) {
        if (error) {
          answer = error.message;
          return;
        }
        stream->write(line);
        stream->read_until("\n", [&answer](std::string_view data) {
          answer = std::string(data);
        });
      });
  loop.run_until([&] { return answer.has_value(); });
  loop.run_until([&] { return client.pending() == 0; });
  return answer.value_or("none");
}

/// The certificate of Authority::shared() in files, for programs.
}  // namespace

TEST_SUITE_BEGIN("tls_servers");

TEST_CASE("A TCPServer with a context gives handle_stream protected streams") {
  Serving t(with_tls());
  CHECK(ask(t.loop, t.port, "hello\n") == "protected hello\n");
  CHECK(t.loop.run_until([&] { return t.server.connections() == 0; }));
}

TEST_CASE("A client that speaks no TLS is turned away, and its stream closes") {
  Serving t(with_tls());
  const UniquePeerFd client = connect_to(Address("127.0.0.1", t.port));
  client.send("hello, this is no handshake\n");
  t.loop.expect_log(LogLevel::info, "handshake");
  CHECK(t.loop.run_until([&] {
    return t.server.streams.size() == 1 && t.server.connections() == 0;
  }));
}

TEST_CASE(
    "A client that never shakes hands is closed after the server's "
    "handshake_timeout, and frees its place") {
  TCPServer::Options options = with_tls();
  options.handshake_timeout = 50ms;
  options.max_connections = 1;
  Serving t(options);
  const UniquePeerFd silent = connect_to(Address("127.0.0.1", t.port));
  t.loop.expect_log(LogLevel::info, "handshake");
  CHECK(ask(t.loop, t.port, "next\n") == "protected next\n");
  CHECK(silent.recv_all().empty());
}

TEST_CASE("A TCPServer drains protected streams") {
  Serving t(with_tls());
  const UniquePeerFd silent = connect_to(Address("127.0.0.1", t.port));
  CHECK(t.loop.run_until([&] { return t.server.connections() == 1; }));
  std::optional<TCPServer::Drained> result;
  t.server.drain(20ms, [&](TCPServer::Drained drained) { result = drained; });
  CHECK(t.loop.run_until([&] { return result.has_value(); }));
  CHECK(result->closed == 1);
}

TEST_CASE("A drain closes a connection that has started TLS meanwhile") {
  LoopFixture loop;
  UpgradingServer server(loop, TCPServer::Options());
  server.listen(0, "127.0.0.1");
  const UniquePeerFd silent = connect_to(server.addresses().at(0));
  CHECK(loop.run_until([&] { return server.upgraded != nullptr; }));
  CHECK(server.connections() == 1);
  std::optional<TCPServer::Drained> result;
  server.drain(20ms, [&](TCPServer::Drained drained) { result = drained; });
  CHECK(loop.run_until([&] { return result.has_value(); }));
  CHECK(result->closed == 1);
  CHECK(server.upgraded->closed());
  CHECK(server.connections() == 0);
}

TEST_CASE("A TCPServer refuses a client's context") {
  LoopFixture loop;
  TCPServer::Options options;
  options.ssl = make_client_context();
  CHECK_THROWS_AS(EchoServer(loop, options), std::invalid_argument);
}

TEST_CASE("echo_server and tcp_proxy speak TLS on every side") {
  const CertificateFiles files;
  const std::vector<std::string> tls = {"--tls-cert", files.certificate,
                                        "--tls-key", files.key};
  std::vector<std::string> arguments = {"--address", "127.0.0.1", "--port",
                                        "0"};
  arguments.insert(arguments.end(), tls.begin(), tls.end());
  Program echo(sample_command("echo_server", arguments));
  const std::uint16_t echo_port = announced_port(echo.wait_for_out("\n"));

  arguments = {"--listen", "127.0.0.1:0",
               "--to",     "localhost:" + std::to_string(echo_port),
               "--to-tls", "--cacert",
               files.ca};
  Program plain_to_tls(sample_command("tcp_proxy", arguments));
  arguments.insert(arguments.end(), tls.begin(), tls.end());
  Program tls_to_tls(sample_command("tcp_proxy", arguments));

  {
    LoopFixture loop;
    CHECK(ask(loop, echo_port, "hello\n") == "hello\n");
    CHECK(ask(loop, announced_port(tls_to_tls.wait_for_out("\n")), "twice\n") ==
          "twice\n");
    const UniquePeerFd client = connect_to(
        Address("127.0.0.1", announced_port(plain_to_tls.wait_for_out("\n"))));
    client.send("plain\n");
    CHECK(client.recv_exactly(6) == "plain\n");
  }
  for (Program* const program : {&plain_to_tls, &tls_to_tls, &echo}) {
    const ProgramResult result = program->terminate();
    CHECK(result.exit_code == 0);
    CHECK(result.err == "");
  }
}

TEST_CASE("A server that cannot be verified is not proxied to") {
  const CertificateFiles files;
  Program echo(sample_command(
      "echo_server", {"--address", "127.0.0.1", "--port", "0", "--tls-cert",
                      files.certificate, "--tls-key", files.key}));
  const std::string to =
      "127.0.0.1:" + std::to_string(announced_port(echo.wait_for_out("\n")));
  Program proxy(sample_command(
      "tcp_proxy", {"--listen", "127.0.0.1:0", "--to", to, "--to-tls"}));
  const UniquePeerFd client = connect_to(
      Address("127.0.0.1", announced_port(proxy.wait_for_out("\n"))));
  CHECK(client.recv_all().empty());
  CHECK(proxy.wait_for_err("\n").find("certificate") != std::string::npos);
  CHECK(proxy.terminate().exit_code == 0);
  CHECK(echo.terminate().exit_code == 0);
}

TEST_CASE(
    "The samples name a certificate that cannot be used, and serve "
    "nobody") {
  const CertificateFiles files;
  struct Bad {
    std::vector<std::string> arguments;
    std::string_view says;
  };
  const std::vector<Bad> table = {
      {{"--tls-cert", "/no/such/file"}, "/no/such/file"},
      {{"--tls-cert", files.certificate}, "holds no private key"},
      {{"--tls-cert", files.key, "--tls-key", files.key}, "certificate_file"},
      {{"--tls-key", files.key}, "needs a --tls-cert"}};
  for (const Bad& bad : table) {
    std::vector<std::string> arguments = bad.arguments;
    arguments.insert(arguments.begin(), {"--port", "0"});
    const ProgramResult result =
        run_program(sample_command("echo_server", arguments));
    CAPTURE(result.err);
    CHECK(result.exit_code != 0);
    CHECK(result.out == "");
    CHECK(result.err.find(bad.says) != std::string::npos);
  }
}

TEST_SUITE_END();
