// http_fetch under TLS, against the sample http_server and python3.

#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "support/certificate_files.h"
#include "support/certificates.h"
#include "support/http_fetch.h"
#include "support/program.h"
#include "support/sample_program.h"
#include "support/scripted_http_server.h"
#include "support/sockets.h"
#include "support/temp_dir.h"
#include "support/text.h"
#include "support/web_servers.h"

using waterspout::test::announced_port;
using waterspout::test::Authority;
using waterspout::test::CertificateFiles;
using waterspout::test::contains;
using waterspout::test::http_fetch;
using waterspout::test::http_fetch_command;
using waterspout::test::Identity;
using waterspout::test::kHello;
using waterspout::test::listen_on_loopback;
using waterspout::test::make_self_signed;
using waterspout::test::Program;
using waterspout::test::ProgramResult;
using waterspout::test::PythonServer;
using waterspout::test::RefusingPort;
using waterspout::test::sample_command;
using waterspout::test::ScriptedAnswer;
using waterspout::test::ScriptedHttpServer;
using waterspout::test::TempDir;
using waterspout::test::UniquePeerFd;

namespace {

using Words = std::vector<std::string>;

/// The sample http_server under TLS, over a directory with a file "a.txt".
class SampleServer {
 public:
  explicit SampleServer(const CertificateFiles& files,
                        const std::string& address = "127.0.0.1")
      : program_(sample_command(
            "http_server",
            {"--address", address, "--port", "0", "--tls-cert",
             files.certificate, "--tls-key", files.key, site_.path()})),
        port_(std::to_string(
            announced_port(program_.wait_for_out("listening on ")))) {
    site_.write("a.txt", "hello\n");
  }

  [[nodiscard]] const std::string& port() const { return port_; }
  [[nodiscard]] std::string url(const std::string& host = "127.0.0.1",
                                const std::string& path = "/a.txt") const {
    return "https://" + host + ':' + port_ + path;
  }

  /// Makes a file of zeros that takes no room.
  void write_sparse(const std::string& name, std::uintmax_t size) const {
    site_.write(name, "");
    std::filesystem::resize_file(site_.path(name), size);
  }

 private:
  TempDir site_;
  Program program_;
  const std::string port_;
};

/// test/tools/https_server.py.
class PythonTLSServer {
 public:
  explicit PythonTLSServer(const CertificateFiles& files, Words arguments = {})
      : program_(command(files, std::move(arguments))) {
    const std::string& text = program_.wait_for_out("/)");
    const auto begin = text.find('(') + 1;
    base_ = text.substr(begin, text.find("/)") - begin);
  }

  [[nodiscard]] std::string url(const std::string& path) const {
    return base_ + path;
  }
  [[nodiscard]] std::string port() const {
    return base_.substr(base_.rfind(':') + 1);
  }

 private:
  static Words command(const CertificateFiles& files, Words arguments) {
    const char* root = std::getenv("WATERSPOUT_SOURCE_ROOT");
    if (root == nullptr) {
      throw std::runtime_error("WATERSPOUT_SOURCE_ROOT is not set");
    }
    arguments.insert(arguments.begin(),
                     {"/usr/bin/python3", "-u",
                      std::string(root) + "/test/tools/https_server.py",
                      files.certificate, files.key});
    return arguments;
  }

  Program program_;
  std::string base_;  // "https://127.0.0.1:40001"
};

// What http_fetch says of a failure, without the part that is always the same.
std::string reason_for(Words arguments, const std::string& url) {
  arguments.push_back(url);
  const ProgramResult result = http_fetch(std::move(arguments));
  CHECK(result.exit_code == 1);
  const std::string start = "http_fetch: " + url + ": ";
  CHECK(result.err.substr(0, start.size()) == start);
  CHECK(result.err.find('\n') == result.err.size() - 1);
  return result.err.substr(start.size(), result.err.size() - start.size() - 1);
}

}  // namespace

TEST_SUITE_BEGIN("http_fetch_tls");

TEST_CASE("http_fetch fetches https URLs of a server that it trusts") {
  const CertificateFiles files;
  const SampleServer server(files);
  ProgramResult result;

  SUBCASE("by --cacert, of an address and of a name, at the same time") {
    result = http_fetch({"--cacert", files.ca, server.url(), server.url(),
                         server.url("localhost")});
    CHECK(result.out == "hello\nhello\nhello\n");
  }
  SUBCASE("by the system's store, where nothing else is said") {
    Program::Options options;
    options.environment = {"SSL_CERT_FILE=" + files.ca, "SSL_CERT_DIR="};
    result = http_fetch({server.url()}, options);
    CHECK(result.out == "hello\n");
  }
  SUBCASE("and shows the heads of -v and -i as it does for http") {
    result = http_fetch({"-v", "-i", "--cacert", files.ca, server.url()});
    CHECK(contains(result.err, "> GET /a.txt HTTP/1.0\n> Host: 127.0.0.1:" +
                                   server.port() + "\n"));
    CHECK(contains(result.out, "Content-Length: 6\r\n"));
    result.err.clear();
  }

  CHECK(result.exit_code == 0);
  CHECK(result.err.empty());
}

TEST_CASE("http_fetch refuses a certificate that is no good, and says why") {
  struct Example {
    Identity identity;
    std::string reason;
  };
  const Authority& known = Authority::shared();
  const Authority unknown("Somebody");
  const std::vector<Example> examples = {
      {known.issue({.valid_from_days = -9, .valid_to_days = -1}),
       "the certificate has expired"},
      {known.issue({.valid_from_days = 1}), "the certificate is not yet valid"},
      {known.issue({.common_name = "other", .names = "DNS:other.example"}),
       "the certificate is for another host"},
      {known.issue({.names = "DNS:127.0.0.1"}),
       "the certificate is for another host"},
      {known.issue({.purpose = "clientAuth"}),
       "the certificate is for another purpose"},
      {make_self_signed(), "the certificate is self-signed"},
      {unknown.issue(), "the certificate is of no known authority"},
  };
  for (const Example& example : examples) {
    CAPTURE(example.reason);
    const CertificateFiles files(example.identity);
    const SampleServer server(files);

    const std::string reason = reason_for({"--cacert", files.ca}, server.url());
    CHECK(reason.substr(0, reason.find(' ')) == "handshake:");
    CHECK(contains(reason, "127.0.0.1:" + server.port() + ": "));
    CHECK(contains(reason, example.reason));

    const ProgramResult result = http_fetch({"--insecure", server.url()});
    CHECK(result.exit_code == 0);
    CHECK(result.out == "hello\n");
    CHECK(result.err.empty());
  }
}

TEST_CASE("http_fetch trusts the system's store alone unless it is told to") {
  const CertificateFiles files;
  const SampleServer server(files);
  CHECK(contains(reason_for({}, server.url()),
                 "the certificate is of no known authority"));
}

TEST_CASE("http_fetch verifies the host that the URL names") {
  const CertificateFiles files(
      Authority::shared().issue({.names = "DNS:localhost"}));
  const SampleServer server(files);
  CHECK(http_fetch({"--cacert", files.ca, server.url("LocalHost")}).out ==
        "hello\n");
  CHECK(contains(reason_for({"--cacert", files.ca}, server.url()),
                 "the certificate is for another host"));
}

TEST_CASE("http_fetch fetches from IPv6 literals by https") {
  const CertificateFiles files(Authority::shared().issue({.names = "IP:::1"}));
  const SampleServer server(files, "::1");
  const ProgramResult result =
      http_fetch({"--cacert", files.ca, server.url("[::1]")});
  CHECK(result.exit_code == 0);
  CHECK(result.out == "hello\n");

  const CertificateFiles other(Authority::shared().issue({.names = "IP:::2"}));
  const SampleServer impostor(other, "::1");
  CHECK(contains(reason_for({"--cacert", files.ca}, impostor.url("[::1]")),
                 "the certificate is for another host"));
}

TEST_CASE("http_fetch speaks TLS 1.2 and 1.3, and names the host") {
  const CertificateFiles files;
  for (const std::string version : {"1.2", "1.3"}) {
    CAPTURE(version);
    const PythonTLSServer server(files, {"--version", version});
    const ProgramResult named =
        http_fetch({"--cacert", files.ca,
                    "https://localhost:" + server.port() + "/about"});
    CHECK(named.out.substr(0, 23) == "TLSv" + version + "\nname localhost\n");

    // There is no naming an address (RFC 6066, section 3).
    const ProgramResult unnamed =
        http_fetch({"--cacert", files.ca, server.url("/about")});
    CHECK(unnamed.out.substr(0, 18) == "TLSv" + version + "\nname None\n");
  }
}

TEST_CASE("http_fetch --cert presents a certificate to who asks for one") {
  const CertificateFiles files;
  const Identity client = Authority::shared().issue(
      {.common_name = "somebody", .purpose = "clientAuth"});
  const std::string certificate = files.dir.write("cert", client.certificate);
  const std::string key = files.dir.write("key", client.key);
  const std::string both =
      files.dir.write("both", client.key + client.certificate);
  for (const std::string version : {"1.2", "1.3"}) {
    CAPTURE(version);
    const PythonTLSServer server(
        files, {"--version", version, "--client-ca", files.ca});
    const std::string url = server.url("/about");

    CHECK(contains(http_fetch({"--cacert", files.ca, "--cert", certificate,
                               "--key", key, url})
                       .out,
                   "\nclient somebody\n"));
    CHECK(contains(http_fetch({"--cacert", files.ca, "--cert", both, url}).out,
                   "\nclient somebody\n"));

    // Of TLS 1.2 the handshake fails; of 1.3 the answer to the request does.
    const std::string reason = reason_for({"--cacert", files.ca}, url);
    CHECK(contains(reason, version == "1.2"
                               ? "the peer refused the handshake"
                               : "the peer wants a certificate of ours"));
  }
}

TEST_CASE("http_fetch tells files that are no good, for https alone") {
  const CertificateFiles files;
  const std::string text = files.dir.write("text", "no certificate");
  const std::string none = files.certificate + ".none";
  const Identity other = Authority::shared().issue();
  const std::string other_key = files.dir.write("key", other.key);
  const std::string url = "https://127.0.0.1:1/";
  CHECK(reason_for({"--cacert", none}, url) ==
        "ca_file: " + none + ": No such file or directory");
  CHECK(reason_for({"--cacert", text}, url) ==
        "ca_file: " + text + ": no start line");
  CHECK(reason_for({"--cert", none}, url) ==
        "certificate_file: " + none + ": No such file or directory");
  CHECK(reason_for({"--cert", files.certificate, "--key", other_key}, url) ==
        "key_file: " + other_key + ": key values mismatch");

  ScriptedHttpServer server(
      {{"/", {kHello}},
       {"/to", {"HTTP/1.0 302 Found\r\nLocation: " + url + "\r\n\r\n"}}});
  CHECK(http_fetch({"--cacert", none, server.url()}).out == "hello\n");
  CHECK(reason_for({"-L", "--cacert", none}, server.url("/to")) ==
        "redirected to " + url + ": ca_file: " + none +
            ": No such file or directory");
}

TEST_CASE("http_fetch takes an end without close_notify for one cut short") {
  const CertificateFiles files;
  const PythonTLSServer server(files);
  auto fetch = [&](const std::string& path) {
    return http_fetch({"--cacert", files.ca, server.url(path)});
  };
  auto reason = [&](const std::string& path) {
    return reason_for({"--cacert", files.ca}, server.url(path));
  };
  const std::string cut = ": the stream ended without TLS's end";

  SUBCASE("where only the end of the connection ends the body") {
    CHECK(fetch("/ended").exit_code == 0);
    CHECK(fetch("/ended").out == "hello\n");
    CHECK(reason("/cut") == "body cut short: got 6 bytes" + cut);
  }
  SUBCASE("not where all of a length has come") {
    const ProgramResult result = fetch("/whole");
    CHECK(result.exit_code == 0);
    CHECK(result.out == "hello\n");
    CHECK(result.err.empty());
  }
  SUBCASE("where some of a length is missing") {
    CHECK(reason("/part") == "body cut short: got 6 of 7 bytes" + cut);
  }
  SUBCASE("in the head") {
    CHECK(reason("/cut_head") == "response head cut short" + cut);
  }
}

TEST_CASE("http_fetch -o leaves no file of a body that was cut under TLS") {
  const CertificateFiles files;
  const PythonTLSServer server(files);
  const TempDir dir;
  CHECK(http_fetch(
            {"--cacert", files.ca, "-o", dir.path("body"), server.url("/cut")})
            .exit_code == 1);
  CHECK(dir.names().empty());
  CHECK(http_fetch({"--cacert", files.ca, "-o", dir.path("body"),
                    server.url("/ended")})
            .exit_code == 0);
  CHECK(dir.read("body") == "hello\n");
}

TEST_CASE("http_fetch streams 64 MiB under TLS in bounded memory") {
  constexpr std::uintmax_t kSize = 64 << 20;
  constexpr long kMaxGrowthKib = 8192;
  const CertificateFiles files;
  const SampleServer server(files);
  server.write_sparse("large", kSize);
  const TempDir dir;
  // Sanitizers keep what was freed for a while, and count it as in use.
  Program::Options lean;
  lean.environment = {"ASAN_OPTIONS=quarantine_size_mb=1"};
  auto fetch = [&](const std::string& path) {
    return http_fetch({"--cacert", files.ca, "-o", dir.path("body"),
                       server.url("127.0.0.1", path)},
                      lean);
  };
  const long usual = fetch("/a.txt").peak_rss_kib;
  const ProgramResult result = fetch("/large");
  CHECK(result.exit_code == 0);
  CHECK(std::filesystem::file_size(dir.path("body")) == kSize);
  CHECK(result.peak_rss_kib - usual < kMaxGrowthKib);
}

TEST_CASE("http_fetch tells a port that speaks http where https was asked") {
  const TempDir dir;
  const PythonServer plain(dir.path());
  std::string url = plain.url("/");
  url.insert(4, "s");
  CHECK(contains(reason_for({}, url), "what the peer sent is not TLS"));
}

TEST_CASE("http_fetch tells a port that speaks https where http was asked") {
  const CertificateFiles files;
  const SampleServer server(files);
  const std::string reason =
      reason_for({}, "http://127.0.0.1:" + server.port() + "/a.txt");
  CHECK(contains(reason, "connection closed without a response"));
}

TEST_CASE("http_fetch tells a server that refuses https connections") {
  RefusingPort refusing;
  const std::string port = std::to_string(refusing.port());
  CHECK(reason_for({}, "https://127.0.0.1:" + port + "/") ==
        "connect: 127.0.0.1:" + port + ": Connection refused");
}

TEST_CASE("http_fetch -L follows redirects between http and https") {
  const CertificateFiles files;
  const PythonTLSServer secure(files);
  const Words arguments = {
      "-L", "--cacert",  files.ca, "-H", "Authorization: secret",
      "-H", "X-Plain: 1"};
  auto fetch = [&](const std::string& url) {
    Words words = arguments;
    words.push_back(url);
    return http_fetch(words);
  };

  SUBCASE("to https, without what is for the first server alone") {
    ScriptedHttpServer plain(
        "HTTP/1.0 302 Found\r\nLocation: " + secure.url("/about") + "\r\n\r\n");
    const ProgramResult result = fetch(plain.url("/a"));
    CHECK(result.exit_code == 0);
    CHECK(contains(result.out, "TLSv1.3\n"));
    CHECK(contains(result.out, "\n1\n"));
    CHECK_FALSE(contains(result.out, "secret"));
  }
  SUBCASE("to http, where everybody can read along") {
    ScriptedHttpServer plain(kHello);
    const ProgramResult result = fetch(secure.url("/to?" + plain.url("/b")));
    CHECK(result.exit_code == 0);
    CHECK(result.out == "hello\n");
    REQUIRE(plain.requests().size() == 1);
    CHECK(contains(plain.requests().front(), "X-Plain: 1"));
    CHECK_FALSE(contains(plain.requests().front(), "secret"));
  }
  SUBCASE("within https, with everything") {
    CHECK(contains(fetch(secure.url("/to?about")).out, "\nsecret\n"));
    const std::string schemeless = secure.url("/about").substr(6);
    CHECK(contains(fetch(secure.url("/to?" + schemeless)).out, "\nsecret\n"));
  }
  SUBCASE("to a server that it does not trust, which it tells") {
    const CertificateFiles others(make_self_signed());
    const SampleServer other(others);
    const ProgramResult result = fetch(secure.url("/to?" + other.url()));
    CHECK(result.exit_code == 1);
    CHECK(contains(result.err, ": redirected to " + other.url() +
                                   ": handshake: 127.0.0.1:"));
    CHECK(contains(result.err, "the certificate is self-signed"));
  }
}

TEST_CASE("http_fetch bounds the handshake by its timeout") {
  std::uint16_t port = 0;
  const UniquePeerFd silent(listen_on_loopback(port));
  const std::string host = "127.0.0.1:" + std::to_string(port);
  CHECK(reason_for({"--timeout", "0.3"}, "https://" + host + "/") ==
        "timed out after 0.3 s, connecting to " + host);
}

TEST_CASE("http_fetch -o cleans up when a signal ends it in the handshake") {
  std::uint16_t port = 0;
  const UniquePeerFd silent(listen_on_loopback(port));
  const std::string url = "https://127.0.0.1:" + std::to_string(port) + "/";
  const TempDir dir;
  Program program(http_fetch_command({"-v", "-o", dir.path("body"), url}));
  program.wait_for_err("> \n");
  program.send_signal(SIGTERM);
  const ProgramResult result = program.wait();
  CHECK(result.signal == SIGTERM);
  CHECK(contains(result.err, url + ": interrupted: Terminated\n"));
  CHECK(dir.names().empty());
}

TEST_SUITE_END();
