// How http_fetch comes to a connection, and what it says when it does not.

#include <cstdint>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "waterspout/ssl.h"

#include "support/full_listener.h"
#include "support/http_fetch.h"
#include "support/program.h"
#include "support/scripted_http_server.h"
#include "support/sockets.h"
#include "support/temp_dir.h"
#include "support/text.h"

using waterspout::test::contains;
using waterspout::test::FullListener;
using waterspout::test::http_fetch;
using waterspout::test::http_fetch_command;
using waterspout::test::kHello;
using waterspout::test::Program;
using waterspout::test::ProgramResult;
using waterspout::test::RefusingPort;
using waterspout::test::run_program;
using waterspout::test::ScriptedHttpServer;
using waterspout::test::TempDir;

namespace {}  // namespace

TEST_SUITE_BEGIN("http_fetch_connect");

TEST_CASE("http_fetch tells a server that refuses") {
  RefusingPort refusing;
  const std::string port = std::to_string(refusing.port());
  const std::string url = "http://127.0.0.1:" + port + "/";
  const ProgramResult result = http_fetch({url});
  CHECK(result.exit_code == 1);
  CHECK(result.out.empty());
  CHECK(result.err == "http_fetch: " + url + ": connect: 127.0.0.1:" + port +
                          ": Connection refused\n");
}

TEST_CASE("http_fetch tells a name that does not resolve") {
  // The name is reserved for this (RFC 6761). Where even the question fails the
  // resolver has another reason, so only our part of the line is looked at.
  Program::Options options;
  options.environment = {"RES_OPTIONS=timeout:1 attempts:1"};
  const ProgramResult result = http_fetch({"http://nothing.invalid/"}, options);
  CHECK(result.exit_code == 1);
  CHECK(contains(
      result.err,
      "http_fetch: http://nothing.invalid/: resolve: nothing.invalid: "));
}

TEST_CASE("http_fetch resolves names") {
  ScriptedHttpServer server(kHello);
  const ProgramResult result =
      http_fetch({"http://localhost:" + std::to_string(server.port()) + "/"});
  CHECK(result.exit_code == 0);
  CHECK(result.out == "hello\n");
}

TEST_CASE("http_fetch tries the addresses of a name one after the other") {
  // A name of our own needs an /etc/hosts of our own, which not every container
  // lets one have.
  const std::vector<std::string> own_mounts = {"/usr/bin/unshare", "-rm",
                                               "/bin/sh", "-c"};
  auto run = [&](std::vector<std::string> words) {
    words.insert(words.begin(), own_mounts.begin(), own_mounts.end());
    return run_program(words);
  };
  const TempDir dir;
  const std::string hosts = dir.write(
      "hosts", "::1 some.test\n127.0.0.2 some.test\n127.0.0.1 some.test\n");
  if (run({"mount --bind \"$0\" /etc/hosts", hosts}).exit_code != 0) {
    MESSAGE("skipped: no mounts of our own here");
    return;
  }
  auto fetch = [&](std::uint16_t port) {
    return run({"mount --bind \"$0\" /etc/hosts && exec \"$1\" \"$2\"", hosts,
                http_fetch_command({}).front(),
                "http://some.test:" + std::to_string(port) + "/"});
  };

  ScriptedHttpServer server(kHello);
  const ProgramResult good = fetch(server.port());
  CHECK(good.exit_code == 0);
  CHECK(good.out == "hello\n");
  CHECK(good.err.empty());

  // It tells them all, in the order in which they failed.
  RefusingPort refusing;
  const std::string port = ':' + std::to_string(refusing.port());
  const ProgramResult bad = fetch(refusing.port());
  CHECK(bad.exit_code == 1);
  CHECK(contains(bad.err, ": connect: some.test" + port + ": "));
  for (const std::string address : {"[::1]", "127.0.0.2", "127.0.0.1"}) {
    CHECK(contains(bad.err, ' ' + address + port + ": Connection refused"));
  }
  CHECK(bad.err.find('\n') == bad.err.size() - 1);
}

TEST_CASE("http_fetch waits for no name server longer than for the rest") {
  // "drop" has a server that never answers.
  const ProgramResult result =
      run_program({"/usr/bin/python3",
                   std::getenv("WATERSPOUT_SOURCE_ROOT") +
                       std::string("/test/tools/with_stub_dns.py"),
                   http_fetch_command({}).front(), "--timeout", "0.4",
                   "http://drop.test/", "http://four.test:1/"});
  if (result.exit_code == 77) {
    MESSAGE("skipped: no namespaces of our own here");
    return;
  }
  CHECK(result.exit_code == 1);
  CHECK(result.err ==
        "http_fetch: http://four.test:1/: connect: four.test:1: 127.0.0.1:1: "
        "Connection refused\n"
        "http_fetch: http://drop.test/: timed out after 0.4 s, connecting to "
        "drop.test\n");
}

TEST_CASE("http_fetch bounds connecting by its timeout") {
  const FullListener full;
  const std::string host = full.address().to_string();
  const std::string url = "http://" + host + "/";
  const ProgramResult result = http_fetch({"--timeout", "0.2", url});
  CHECK(result.exit_code == 1);
  CHECK(result.err == "http_fetch: " + url +
                          ": timed out after 0.2 s, connecting to " + host +
                          "\n");
}

TEST_CASE("http_fetch tells that its build has no TLS") {
  try {
    const auto context = waterspout::SSLContext::client();
    MESSAGE("skipped: this build has TLS");
    return;
  } catch (const std::logic_error&) {
  }
  ScriptedHttpServer server(kHello);
  const ProgramResult result =
      http_fetch({"https://127.0.0.1:1/", server.url()});
  CHECK(result.exit_code == 1);
  CHECK(result.out == "hello\n");
  CHECK(result.err ==
        "http_fetch: https://127.0.0.1:1/: https is not supported: "
        "SSLContext: built without TLS\n");
}

TEST_SUITE_END();
