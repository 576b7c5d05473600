// The program redis_client against Debian's redis-server, over TLS.

#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "support/program.h"
#include "support/redis_server.h"
#include "support/temp_dir.h"
#include "support/text.h"

using waterspout::test::contains;
using waterspout::test::ProgramResult;
using waterspout::test::RedisServer;
using waterspout::test::run_program;
using waterspout::test::TempDir;

namespace {

using Words = std::vector<std::string>;

// A certificate for `names` that vouches for itself, in "cert.pem" and
// "key.pem".
void make_certificate(const TempDir& directory, const std::string& names) {
  const ProgramResult result = run_program(
      {"/usr/bin/openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
       "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj",
       "/CN=redis test", "-addext", "subjectAltName=" + names, "-keyout",
       directory.path("key.pem"), "-out", directory.path("cert.pem")});
  REQUIRE(result.exit_code == 0);
}

Words tls_options(const TempDir& directory) {
  return {"--tls-cert-file",    directory.path("cert.pem"),
          "--tls-key-file",     directory.path("key.pem"),
          "--tls-ca-cert-file", directory.path("cert.pem"),
          "--tls-auth-clients", "no"};
}

}  // namespace

TEST_SUITE_BEGIN("redis_client_tls");

TEST_CASE("redis_client --tls talks to a server that it can trust") {
  const TempDir directory;
  make_certificate(directory, "IP:127.0.0.1");
  const RedisServer server(tls_options(directory), "--tls-port");

  const ProgramResult trusted = server.run(
      {"--tls", "--cacert", directory.path("cert.pem"), "ECHO", "hello"});
  CHECK(trusted.exit_code == 0);
  CHECK(trusted.out == "hello\n");
  CHECK(trusted.err.empty());

  const ProgramResult unknown = server.run({"--tls", "PING"});
  CHECK(unknown.exit_code == 1);
  CHECK(unknown.out.empty());
  CHECK(contains(unknown.err, "redis_client: handshake: "));

  CHECK(server.run({"--tls", "--insecure", "PING"}).out == "PONG\n");
  CHECK(server
            .run({"--tls", "--cacert", directory.path("cert.pem"), "--repeat",
                  "10000", "INCR", "n"})
            .out.ends_with("\n10000\n"));
}

TEST_CASE("redis_client --tls refuses a server of another name") {
  const TempDir directory;
  make_certificate(directory, "DNS:example.org");
  const RedisServer server(tls_options(directory), "--tls-port");
  const ProgramResult result =
      server.run({"--tls", "--cacert", directory.path("cert.pem"), "PING"});
  CHECK(result.exit_code == 1);
  CHECK(contains(result.err, "redis_client: handshake: "));
}

TEST_CASE("redis_client tells plain text and TLS apart") {
  SUBCASE("where the server has no TLS") {
    const RedisServer server;
    // That takes what comes for a line whose end is still to come.
    const ProgramResult result =
        server.run({"--tls", "--insecure", "--timeout", "0.5", "PING"});
    CHECK(result.exit_code == 1);
    CHECK(contains(result.err, "redis_client: handshake: "));
    CHECK(contains(result.err, "timed out"));
  }
  SUBCASE("where the server has nothing else") {
    const TempDir directory;
    make_certificate(directory, "IP:127.0.0.1");
    const RedisServer server(tls_options(directory), "--tls-port");
    const ProgramResult result = server.run({"--timeout", "10", "PING"});
    CHECK(result.exit_code == 1);
    CHECK(contains(result.err, "redis_client: connection lost"));
  }
}

TEST_CASE("redis_client needs a file that has certificates") {
  const RedisServer server;
  const ProgramResult result =
      server.run({"--tls", "--cacert", "/nonexistent", "PING"});
  CHECK(result.exit_code == 1);
  CHECK(contains(result.err, "/nonexistent"));
}

TEST_SUITE_END();
