// The program http_server as a user starts it, and the clients that people
// have: curl, wrk, Tornado's, our own.

#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <doctest/doctest.h>

#include "waterspout/address.h"

#include "support/http_fetch.h"
#include "support/program.h"
#include "support/sample_program.h"
#include "support/sockets.h"
#include "support/temp_dir.h"
#include "support/text.h"

using waterspout::Address;
using waterspout::test::announced_port;
using waterspout::test::connect_to;
using waterspout::test::contains;
using waterspout::test::http_fetch;
using waterspout::test::Program;
using waterspout::test::ProgramResult;
using waterspout::test::run_program;
using waterspout::test::sample_command;
using waterspout::test::TempDir;
using waterspout::test::UniquePeerFd;

namespace {

using namespace std::chrono_literals;
using SteadyClock = std::chrono::steady_clock;

constexpr const char* kCurl = "/usr/bin/curl";
constexpr const char* kPython = "/usr/bin/python3";
constexpr const char* kWrk = "/usr/bin/wrk";

std::vector<std::string> server_command(std::vector<std::string> arguments) {
  return sample_command("http_server", std::move(arguments));
}

std::vector<std::string> on_loopback(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), {"--address", "127.0.0.1"});
  return arguments;
}

/// A directory with "hello.txt", "big" and "sub/index.html".
class Site : public TempDir {
 public:
  Site() {
    std::filesystem::create_directory(path("sub"));
    write("hello.txt", "hello\n");
    write("sub/index.html", "<p>index\n");
    write("big", "");
    std::filesystem::resize_file(path("big"), 50000000);
  }
};

/// The program, serving a Site on a port of its own choice.
class Server {
 public:
  explicit Server(std::vector<std::string> options = {"--port", "0"})
      : program_(command(std::move(options))),
        port_(announced_port(program_.wait_for_out("\n"))) {}

  ~Server() {
    if (running_) {
      end();
    }
  }

  [[nodiscard]] std::string url(const std::string& path) const {
    return "http://127.0.0.1:" + std::to_string(port_) + path;
  }

  [[nodiscard]] Address address() const { return {"127.0.0.1", port_}; }
  Program& program() { return program_; }
  [[nodiscard]] const Site& site() const { return site_; }

  /// Ends it by SIGTERM, and checks that it ends well and soon.
  void end() {
    running_ = false;
    const auto begin = SteadyClock::now();
    program_.send_signal(SIGTERM);
    const ProgramResult result = program_.wait();
    CHECK(SteadyClock::now() - begin < 1s);
    CHECK(result.exit_code == 0);
    CHECK(result.err == "");
  }

 private:
  [[nodiscard]] std::vector<std::string> command(
      std::vector<std::string> options) const {
    options.push_back(site_.path());
    return server_command(on_loopback(std::move(options)));
  }

  const Site site_;
  Program program_;
  std::uint16_t port_;
  bool running_ = true;
};

std::string curl(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), {kCurl, "-sS", "--max-time", "15"});
  const ProgramResult result = run_program(arguments);
  CHECK(result.exit_code == 0);
  CHECK(result.err == "");
  return result.out;
}

std::vector<pid_t> children_of(pid_t parent) {
  const std::string id = std::to_string(parent);
  std::ifstream list("/proc/" + id + "/task/" + id + "/children");
  std::vector<pid_t> children;
  for (pid_t child = 0; list >> child;) {
    children.push_back(child);
  }
  return children;
}

// The processes that the only program which this one has started has forked.
std::vector<pid_t> workers() {
  const std::vector<pid_t> programs = children_of(getpid());
  REQUIRE(programs.size() == 1);
  return children_of(programs.front());
}

bool gone(pid_t process) { return kill(process, 0) != 0; }

std::size_t count_sockets(pid_t process) {
  std::size_t sockets = 0;
  for (const auto& entry : std::filesystem::directory_iterator(
           "/proc/" + std::to_string(process) + "/fd")) {
    std::error_code closed;  // by now
    const auto target = std::filesystem::read_symlink(entry, closed);
    if (target.string().starts_with("socket:")) {
      ++sockets;
    }
  }
  return sockets;
}

/// A port that only sockets with SO_REUSEPORT can be bound to meanwhile.
class ReservedPort {
 public:
  ReservedPort() : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    const int on = 1;
    setsockopt(socket_.get(), SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
    setsockopt(socket_.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    const Address any("127.0.0.1", 0);
    REQUIRE(::bind(socket_.get(), any.data(),
                   static_cast<socklen_t>(any.size())) == 0);
  }

  [[nodiscard]] std::string number() const {
    return std::to_string(Address::local_of(socket_.get()).port());
  }

 private:
  UniquePeerFd socket_;
};

}  // namespace

TEST_SUITE_BEGIN("http_server_clients");

TEST_CASE("http_server --help explains every option") {
  const ProgramResult result = run_program(server_command({"--help"}));
  CHECK(result.exit_code == 0);
  CHECK(result.err == "");
  for (const char* part : {"usage: http_server [options] DIR\n", "--address",
                           "--port", "--unix", "--processes", "--reuse-port"}) {
    CHECK(contains(result.out, part));
  }
}

TEST_CASE("http_server says in one line what is wrong with its arguments") {
  struct Example {
    std::vector<std::string> arguments;
    int exit_code;
    std::string message;
  };
  const std::string hint = " (see http_server --help)\n";
  const std::vector<Example> examples = {
      {{}, 2, "needs one directory" + hint},
      {{"/", "/"}, 2, "needs one directory" + hint},
      {{"--list", "/"}, 2, "unknown option: --list" + hint},
      {{"-p", "/"}, 2, "unknown option: -p" + hint},
      {{"--port", "x", "/"}, 2, ""},
      {{"/nowhere"}, 1, "/nowhere: No such file or directory\n"},
      {{"/dev/null"}, 1, "/dev/null: Not a directory\n"},
  };
  for (const Example& example : examples) {
    CAPTURE(example.message);
    const ProgramResult result = run_program(server_command(example.arguments));
    CHECK(result.exit_code == example.exit_code);
    CHECK(result.out == "");
    CHECK(result.err.starts_with("http_server: " + example.message));
    CHECK(result.err.find('\n') == result.err.size() - 1);
  }
}

TEST_CASE("http_server serves files to curl") {
  const Server server;
  CHECK(curl({server.url("/hello.txt")}) == "hello\n");
  CHECK(curl({"--http1.0", server.url("/hello.txt")}) == "hello\n");
  CHECK(curl({"--range", "1-3", server.url("/hello.txt")}) == "ell");
  CHECK(curl({"-C", "4", server.url("/hello.txt")}) == "o\n");
  CHECK(curl({"-L", server.url("/sub")}) == "<p>index\n");
  CHECK(curl({"-o", "/dev/null", "-w", "%{http_code} %{size_download}",
              server.url("/big")}) == "200 50000000");

  const std::string head = curl({"-I", server.url("/hello.txt")});
  CHECK(head.starts_with("HTTP/1.1 200 OK\r\n"));
  CHECK(contains(head, "\r\nContent-Length: 6\r\n"));
}

TEST_CASE("http_server keeps curl's connection from one URL to the next") {
  const Server server;
  const std::string each = "%{http_code} %{num_connects}\n";
  CHECK(curl({"-w", each, server.url("/hello.txt"), server.url("/hello.txt"),
              server.url("/missing"), server.url("/hello.txt")}) ==
        "hello\n200 1\nhello\n200 0\n404 Not Found: there is no such file\n"
        "404 0\nhello\n200 0\n");
}

TEST_CASE("http_server sends curl only what has changed") {
  const Server server;
  const std::string file = server.site().path("hello.txt");
  const std::string code = "%{http_code}";
  CHECK(curl({"-w", code, "-z", file, server.url("/hello.txt")}) == "304");
  CHECK(curl({"-w", code, "-z", "1 Jan 2001", server.url("/hello.txt")}) ==
        "hello\n200");
}

TEST_CASE("http_server refuses curl what it does not do") {
  const Server server;
  const auto code = [&](std::vector<std::string> arguments,
                        const std::string& path) {
    arguments.insert(arguments.end(), {"-o", "/dev/null", "-w", "%{http_code}",
                                       "--path-as-is", server.url(path)});
    return curl(std::move(arguments));
  };
  CHECK(code({"-d", "a=b"}, "/hello.txt") == "405");
  CHECK(code({"-T", server.site().path("hello.txt")}, "/x") == "405");
  CHECK(code({"-X", "BREW"}, "/") == "501");
  CHECK(code({}, "/../etc/passwd") == "403");
  CHECK(code({}, "/%2e%2e/etc/passwd") == "403");
  CHECK(code({"-H", "Host:"}, "/") == "400");
  CHECK(code({"--proxy", server.url("")}, "/hello.txt") == "200");
}

TEST_CASE("http_server stands up to wrk") {
  const Server server;
  const ProgramResult result = run_program(
      {kWrk, "-d", "1", "-c", "50", "-t", "1", server.url("/hello.txt")});
  CHECK(result.exit_code == 0);
  CHECK(contains(result.out, " requests in "));
  CHECK_FALSE(contains(result.out, " 0 requests in "));
  CHECK_FALSE(contains(result.out, "Socket errors"));
  CHECK_FALSE(contains(result.out, "Non-2xx"));
  CHECK(curl({server.url("/hello.txt")}) == "hello\n");
}

TEST_CASE("http_server serves Tornado's own client") {
  constexpr const char* kScript = R"(
import asyncio, sys
from tornado.simple_httpclient import SimpleAsyncHTTPClient

async def main(url):
    client = SimpleAsyncHTTPClient(max_clients=20)
    async def show(path, **options):
        response = await client.fetch(url + path, raise_error=False, **options)
        print(response.code, len(response.body), response.body[:6])
        return response
    first = await show('/hello.txt')
    await show('/hello.txt', headers={
        'If-Modified-Since': first.headers['Last-Modified']})
    await show('/hello.txt', headers={'Range': 'bytes=2-3'})
    await show('/hello.txt', method='HEAD')
    await show('/sub', follow_redirects=True)
    await show('/missing')
    await show('/hello.txt', method='POST', body='x=y')
    await show('/big')
    many = await asyncio.gather(
        *[client.fetch(url + '/hello.txt') for _ in range(200)])
    print(all(response.body == b'hello\n' for response in many))

asyncio.run(main(sys.argv[1]))
)";
  const Server server;
  const ProgramResult result =
      run_program({kPython, "-c", kScript, server.url("")});
  CHECK(result.err == "");
  CHECK(result.out ==
        "200 6 b'hello\\n'\n304 0 b''\n206 2 b'll'\n200 0 b''\n"
        "200 9 b'<p>ind'\n404 37 b'404 No'\n405 57 b'405 Me'\n"
        "200 50000000 b'\\x00\\x00\\x00\\x00\\x00\\x00'\nTrue\n");
}

TEST_CASE("http_server serves http_fetch") {
  const Server server;
  CHECK(http_fetch({server.url("/hello.txt")}).out == "hello\n");
  CHECK(http_fetch({"-L", server.url("/sub")}).out == "<p>index\n");
  CHECK(http_fetch({"-f", server.url("/missing")}).exit_code == 22);
  const std::string copy = server.site().path("copy");
  CHECK(http_fetch({"-o", copy, server.url("/big")}).exit_code == 0);
  CHECK(std::filesystem::file_size(copy) == 50000000);
}

TEST_CASE("http_server ends at once on SIGTERM, whatever its clients do") {
  Server server;
  const UniquePeerFd silent = connect_to(server.address());
  const UniquePeerFd idle = connect_to(server.address());
  idle.send("GET /hello.txt HTTP/1.1\r\nHost: x\r\n\r\n");
  CHECK(contains(idle.recv(), "200 OK"));
  const UniquePeerFd stalled = connect_to(server.address());
  stalled.send("GET /big HTTP/1.1\r\nHost: x\r\n\r\n");
  CHECK(contains(stalled.recv(100), "200 OK"));
  server.end();
  CHECK(silent.recv() == "");
  CHECK(idle.recv() == "");
}

TEST_CASE("http_server --processes serves with every one of them") {
  Server server({"--port", "0", "--processes", "2"});
  CHECK(curl({server.url("/hello.txt")}) == "hello\n");
  const std::vector<pid_t> processes = workers();
  REQUIRE(processes.size() == 2);
  for (const pid_t stopped : processes) {
    // While one stands still the other one answers.
    kill(stopped, SIGSTOP);
    CHECK(curl({server.url("/hello.txt")}) == "hello\n");
    kill(stopped, SIGCONT);
  }
  server.end();
  CHECK(gone(processes[0]));
  CHECK(gone(processes[1]));
}

TEST_CASE("http_server --reuse-port gives every process its own clients") {
  constexpr std::size_t kClients = 64;
  const ReservedPort port;
  Server server({"--port", port.number(), "--processes", "2", "--reuse-port"});
  const std::string line =
      "http_server: listening on 127.0.0.1:" + port.number() + "\n";
  server.program().wait_for_out(line + line);
  std::vector<UniquePeerFd> clients;
  for (std::size_t i = 0; i < kClients; ++i) {
    clients.push_back(connect_to(server.address()));
    clients.back().send("GET /hello.txt HTTP/1.1\r\nHost: x\r\n\r\n");
    CHECK(contains(clients.back().recv(), "200 OK"));
  }
  const std::vector<pid_t> processes = workers();
  REQUIRE(processes.size() == 2);
  const std::size_t first = count_sockets(processes[0]);
  const std::size_t second = count_sockets(processes[1]);
  // That all were dealt to one has a chance of 2 in 2 to the power of 64.
  CHECK(first < kClients);
  CHECK(second < kClients);
  CHECK(first + second >= kClients);
  server.end();
  CHECK(gone(processes[0]));
  CHECK(gone(processes[1]));
}

TEST_CASE("http_server --unix serves on a socket file, and removes it") {
  const Site site;
  const TempDir run;
  const std::string path = run.path("http");
  Program program(server_command({"--unix", path, site.path()}));
  CHECK(contains(program.wait_for_out("\n"), path));
  CHECK(curl({"--unix-socket", path, "http://x/hello.txt"}) == "hello\n");
  CHECK(curl({"--unix-socket", path, "-o", "/dev/null", "-w",
              "%{size_download}", "http://x/big"}) == "50000000");
  CHECK(program.terminate().exit_code == 0);
  CHECK_FALSE(std::filesystem::exists(path));
}
