// The TLS of others: openssl s_client and s_server, curl, nginx, Tornado.

#include <cstdint>
#include <cstdlib>
#include <functional>
#include <memory>
#include <ostream>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <unistd.h>

#include <doctest/doctest.h>

#include "waterspout/ssl_iostream.h"

#include "support/loop_fixture.h"
#include "support/program.h"
#include "support/sockets.h"
#include "support/temp_dir.h"
#include "support/tls_streams.h"

using waterspout::IOLoop;
using waterspout::LogLevel;
using waterspout::SSLContext;
using waterspout::SSLErrc;
using waterspout::SSLIOStream;
using waterspout::SSLOptions;
using waterspout::SSLVerify;
using waterspout::SSLVersion;
using waterspout::test::accept_from;
using waterspout::test::Authority;
using waterspout::test::good_identity;
using waterspout::test::Identity;
using waterspout::test::listen_on_loopback;
using waterspout::test::LoopFixture;
using waterspout::test::make_client_context;
using waterspout::test::make_server_context;
using waterspout::test::Program;
using waterspout::test::ProgramResult;
using waterspout::test::run_program;
using waterspout::test::TempDir;
using waterspout::test::UniquePeerFd;

namespace {

std::string reversed(std::string_view text) {
  return {text.rbegin(), text.rend()};
}

/// Certificates in files, for programs.
struct Files {
  Files()
      : ca(dir.write("ca.pem", Authority::shared().certificate())),
        certificate(dir.write("server.pem", good_identity().certificate)),
        key(dir.write("server.key", good_identity().key)) {
    const Identity client = Authority::shared().issue(
        {.common_name = "somebody", .purpose = "clientAuth"});
    client_certificate = dir.write("client.pem", client.certificate);
    client_key = dir.write("client.key", client.key);
  }

  TempDir dir;
  std::string ca;
  std::string certificate;
  std::string key;
  std::string client_certificate;
  std::string client_key;
};

/// Accepts on the test's loop and hands the streams over.
class Server {
 public:
  using Serve = std::function<void(const std::shared_ptr<SSLIOStream>&)>;

  Server(LoopFixture& loop, SSLContext context, Serve serve)
      : loop_(loop),
        context_(std::move(context)),
        serve_(std::move(serve)),
        listener_(listen_on_loopback(port_)) {
    loop_->add_handler(
        listener_.get(), IOLoop::READ, [this](int, IOLoop::Events) {
          stream = SSLIOStream::create(
              loop_, accept_from(listener_.get()).release(), context_);
          serve_(stream);
        });
  }
  ~Server() { loop_->remove_handler(listener_.get()); }

  [[nodiscard]] std::string port() const { return std::to_string(port_); }

  /// Runs a program beside the loop, which serves it until it ends.
  ProgramResult serve_program(const std::vector<std::string>& command) {
    ProgramResult result;
    loop_.bound_turns(10'000);
    std::thread beside([&] {
      try {
        result = run_program(command);
      } catch (const std::exception& error) {
        result.err = error.what();
      }
      loop_->add_callback([this] { loop_.stop(); });
    });
    loop_.run(std::chrono::seconds(20));
    beside.join();
    loop_.run_turns(3);
    return result;
  }

  std::shared_ptr<SSLIOStream> stream;  ///< the last one

 private:
  LoopFixture& loop_;
  SSLContext context_;
  Serve serve_;
  std::uint16_t port_ = 0;
  UniquePeerFd listener_;
};

/// Answers a line with what the handshake came to, and closes.
void tell(const std::shared_ptr<SSLIOStream>& stream) {
  stream->read_until("\n", [stream](std::string_view line) {
    const auto certificate = stream->peer_certificate();
    stream->write("got " + std::string(line) + stream->version() + " " +
                  stream->alpn_protocol() + " " +
                  (stream->session_reused() ? "resumed " : "new ") +
                  (certificate ? certificate->subject : "nobody") + "\n");
    stream->close_after_writing();
  });
}

// Its input does not end before it does: letters are commands only then.
std::vector<std::string> s_client(const Server& server, const Files& files,
                                  const std::string& arguments,
                                  const std::string& input = "hello\\n") {
  const std::string fifo = files.dir.path("input");
  return {"/bin/sh", "-c",
          "rm -f " + fifo + " && mkfifo " + fifo + " && exec 3<>" + fifo +
              " && printf '" + input +
              "' >&3 && timeout 10 openssl s_client -connect 127.0.0.1:" +
              server.port() + " -CAfile " + files.ca +
              " -verify_return_error -verify_hostname localhost" +
              " -servername localhost " + arguments + " <&3"};
}

bool contains(const ProgramResult& result, std::string_view text) {
  return result.out.find(text) != std::string::npos ||
         result.err.find(text) != std::string::npos;
}

/// Sends a line and returns the answer; what went wrong where there is none.
std::string ask(LoopFixture& loop, const SSLContext& context,
                std::uint16_t port, const std::string& request,
                const std::string& until = "\n") {
  std::string answer;
  const auto stream =
      SSLIOStream::create(loop, context, {.server_hostname = "localhost"});
  loop.bound_turns(10'000);
  stream->set_close_callback([&] { loop.stop(); });
  stream->connect({"127.0.0.1", port}, [&] {
    stream->write(request);
    stream->read_until(until, [&](std::string_view line) {
      answer = line;
      stream->close();
    });
  });
  loop.run();
  return answer.empty() ? stream->error_message() : answer;
}

/// openssl s_server, which reverses lines.
class OpensslServer {
 public:
  OpensslServer(const Files& files, const std::string& arguments)
      : program_({"/bin/sh", "-c",
                  "exec openssl s_server -rev -accept 127.0.0.1:0 "
                  "-cert " +
                      files.certificate + " -key " + files.key + " " +
                      arguments}) {
    const std::string& out = program_.wait_for_out("ACCEPT 127.0.0.1:");
    const auto at = out.find("ACCEPT 127.0.0.1:") + 17;
    port = static_cast<std::uint16_t>(std::stoi(out.substr(at)));
  }

  std::uint16_t port = 0;

 private:
  Program program_;
};

std::string tornado_script() {
  const char* const root = std::getenv("WATERSPOUT_SOURCE_ROOT");
  return std::string(root != nullptr ? root : ".") +
         "/test/tools/tornado_tls.py";
}

}  // namespace

TEST_SUITE_BEGIN("ssl_interop");

TEST_CASE("SSLIOStream serves openssl s_client") {
  const Files files;
  LoopFixture loop;
  Server server(loop, make_server_context({.alpn_protocols = {"proto"}}), tell);
  for (const std::string version : {"1_2", "1_3"}) {
    const ProgramResult result = server.serve_program(
        s_client(server, files, "-alpn proto -tls" + version));
    const std::string name = version == "1_2" ? "TLSv1.2" : "TLSv1.3";
    CHECK(contains(result, "got hello\n" + name + " proto new nobody\n"));
    CHECK(contains(result, "Verification: OK"));
    CHECK(result.exit_code == 0);
  }
}

TEST_CASE("SSLIOStream takes the client certificate of openssl s_client") {
  const Files files;
  LoopFixture loop;
  Server server(
      loop,
      make_server_context({.ca_file = files.ca, .verify = SSLVerify::required}),
      tell);
  const ProgramResult result = server.serve_program(s_client(
      server, files,
      "-cert " + files.client_certificate + " -key " + files.client_key));
  CHECK(contains(result, "new CN=somebody\n"));
  CHECK(contains(result, "Test Authority"));  // whom the server trusts
}

TEST_CASE("SSLIOStream lets openssl s_client resume its session") {
  const Files files;
  LoopFixture loop;
  Server server(loop, make_server_context(), tell);
  const std::string kept = files.dir.path("session");
  for (const std::string version : {"-tls1_2", "-tls1_3"}) {
    CHECK(contains(server.serve_program(
                       s_client(server, files, version + " -sess_out " + kept)),
                   " new nobody"));
    CHECK(contains(server.serve_program(
                       s_client(server, files, version + " -sess_in " + kept)),
                   " resumed nobody"));
  }
}

TEST_CASE("SSLIOStream refuses to renegotiate") {
  const Files files;
  LoopFixture loop;
  loop.expect_log(LogLevel::info, "read: ");
  Server server(loop, make_server_context(), tell);
  const ProgramResult result =
      server.serve_program(s_client(server, files, "-tls1_2", "R\\n"));
  CHECK(contains(result, "RENEGOTIATING"));
  CHECK(contains(result, "no renegotiation"));
  CHECK(server.stream->closed());
}

TEST_CASE("SSLIOStream refuses what is older than TLS 1.2") {
  const Files files;
  LoopFixture loop;
  loop.expect_log(LogLevel::info, "no version of TLS in common");
  Server server(loop, make_server_context(), tell);
  const ProgramResult result = server.serve_program(
      s_client(server, files, "-tls1_1 -cipher DEFAULT@SECLEVEL=0"));
  CHECK(contains(result, "alert protocol version"));
  CHECK(server.stream->error() == SSLErrc::no_shared_version);
}

TEST_CASE("SSLIOStream talks to openssl s_server") {
  const Files files;
  for (const SSLVersion version : {SSLVersion::tls1_2, SSLVersion::tls1_3}) {
    LoopFixture loop;
    const OpensslServer server(files, "-alpn proto");
    const SSLContext context = make_client_context(
        {.maximum_version = version, .alpn_protocols = {"proto"}});
    CHECK(ask(loop, context, server.port, "hello\n") == "olleh\n");
  }
}

TEST_CASE("SSLIOStream shows its certificate to openssl s_server") {
  const Files files;
  LoopFixture loop;
  const OpensslServer server(
      files, "-Verify 1 -verify_return_error -CAfile " + files.ca);
  CHECK(ask(loop,
            make_client_context({.certificate_file = files.client_certificate,
                                 .key_file = files.client_key}),
            server.port, "hello\n") == "olleh\n");
}

TEST_CASE("SSLIOStream serves curl") {
  const Files files;
  LoopFixture loop;
  Server server(
      loop, make_server_context({.alpn_protocols = {"http/1.1"}}),
      [](const std::shared_ptr<SSLIOStream>& stream) {
        stream->read_until("\r\n\r\n", [stream](std::string_view) {
          stream->write("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" +
                        stream->alpn_protocol() + "\n");
          stream->close_after_writing();
        });
      });
  const ProgramResult result = server.serve_program(
      {"/usr/bin/curl", "-sS", "--max-time", "10", "--cacert", files.ca,
       "--resolve", "localhost:" + server.port() + ":127.0.0.1",
       "https://localhost:" + server.port() + "/"});
  CHECK(result.out == "http/1.1\n");
  CHECK(result.err == "");
  CHECK(result.exit_code == 0);
}

TEST_CASE("a program that does not trust us shows in the log of the server") {
  const Files files;
  LoopFixture loop;
  loop.expect_log(LogLevel::info, "the peer does not know the authority");
  Server server(loop, make_server_context(), tell);
  const ProgramResult result =
      server.serve_program({"/usr/bin/curl", "-sS", "--max-time", "10",
                            "https://127.0.0.1:" + server.port() + "/"});
  CHECK(result.exit_code == 60);
  CHECK(server.stream->error() == SSLErrc::alert_unknown_ca);
}

TEST_CASE("SSLIOStream talks to nginx") {
  const Files files;
  LoopFixture loop;
  std::uint16_t port = 0;
  const UniquePeerFd listener(listen_on_loopback(port));
  const std::string own = files.dir.path();
  const std::string page = files.dir.write("page", "hello from nginx\n");
  std::string temporary;
  for (const std::string name :
       {"client_body", "proxy", "fastcgi", "uwsgi", "scgi"}) {
    temporary += name + "_temp_path " + own + "/t_" + name + ";\n";
  }
  const std::string configuration = files.dir.write(
      "nginx.conf",
      std::string(geteuid() == 0 ? "user root;\n" : "") +
          "daemon off;\nworker_processes 1;\npid " + own + "/pid;\n" +
          "error_log stderr crit;\nevents {}\nhttp {\naccess_log off;\n" +
          temporary + "server {\nlisten 127.0.0.1:" + std::to_string(port) +
          " ssl;\nssl_certificate " + files.certificate +
          ";\nssl_certificate_key " + files.key + ";\nroot " + own +
          ";\n}\n}\n");
  Program::Options options;
  options.environment = {"NGINX=3;"};  // it takes over our listener
  options.pass_fd = listener.get();
  const Program nginx({"/usr/bin/timeout", "20", "/usr/sbin/nginx", "-e",
                       "stderr", "-c", configuration},
                      options);
  for (const SSLVersion version : {SSLVersion::tls1_2, SSLVersion::tls1_3}) {
    const std::string answer =
        ask(loop, make_client_context({.maximum_version = version}), port,
            "GET /page HTTP/1.0\r\nHost: localhost\r\n\r\n", "nginx\n");
    CHECK(answer.find("hello from nginx\n") != std::string::npos);
  }
}

TEST_CASE("SSLIOStream talks to Tornado's TCPServer") {
  const Files files;
  LoopFixture loop;
  Program server({"/usr/bin/timeout", "20", "/usr/bin/python3", "-u",
                  tornado_script(), "serve", files.certificate, files.key});
  const std::string& out = server.wait_for_out("\n");
  const auto port =
      static_cast<std::uint16_t>(std::stoi(out.substr(out.find(' '))));
  CHECK(ask(loop, make_client_context(), port, "hello\n") == "olleh\n");
}

TEST_CASE("SSLIOStream serves Tornado's TCPClient") {
  const Files files;
  LoopFixture loop;
  Server server(loop, make_server_context(),
                [](const std::shared_ptr<SSLIOStream>& stream) {
                  stream->read_until("\n", [stream](std::string_view line) {
                    line.remove_suffix(1);
                    stream->write(reversed(line) + "\nthe end");
                    stream->close_after_writing();
                  });
                });
  const ProgramResult result =
      server.serve_program({"/usr/bin/timeout", "20", "/usr/bin/python3", "-u",
                            tornado_script(), "talk", server.port(), files.ca});
  CHECK(result.out == "olleh\nb'the end'\n");
  CHECK(result.err == "");
}

TEST_SUITE_END();
