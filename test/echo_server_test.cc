// The sample echo_server as a user runs it, and the server that it stands for
// under load.

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <set>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <netinet/in.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <doctest/doctest.h>

#include "waterspout/address.h"

#include "support/proc.h"
#include "support/program.h"
#include "support/sample_program.h"
#include "support/sanitizers.h"
#include "support/sockets.h"
#include "support/temp_dir.h"

using waterspout::Address;
using waterspout::test::connect_to;
using waterspout::test::fds_of;
using waterspout::test::kSanitized;
using waterspout::test::Program;
using waterspout::test::ProgramResult;
using waterspout::test::run_program;
using waterspout::test::sample_command;
using waterspout::test::scaled;
using waterspout::test::status_of;
using waterspout::test::TempDir;
using waterspout::test::UniquePeerFd;

namespace {

using namespace std::chrono_literals;
using Strings = std::vector<std::string>;

// The program, once it listens, and where.
class EchoServer {
 public:
  explicit EchoServer(Strings arguments, Program::Options options = {})
      : program_(sample_command("echo_server", std::move(arguments)), options) {
    std::string said = program_.wait_for_out("\n");
    said = said.substr(0, said.find('\n'));
    said = said.substr(said.find("listening on ") + 13);
    address_ = Address::parse(said);
  }

  [[nodiscard]] Program& program() { return program_; }
  [[nodiscard]] const Address& address() const { return address_; }

 private:
  Program program_;
  Address address_;
};

Strings on_loopback(Strings more = {}) {
  Strings arguments{"--address", "127.0.0.1", "--port", "0"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

std::string ask(const UniquePeerFd& client, const std::string& line) {
  client.send(line);
  return client.recv_exactly(line.size());
}

// A port that stays free for servers with SO_REUSEPORT while this lives.
class ReservedPort {
 public:
  ReservedPort() : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    const int on = 1;
    setsockopt(socket_.get(), SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
    const Address any("127.0.0.1", 0);
    CHECK(bind(socket_.get(), any.data(), static_cast<socklen_t>(any.size())) ==
          0);
  }
  [[nodiscard]] std::string text() const {
    return std::to_string(Address::local_of(socket_.get()).port());
  }

 private:
  UniquePeerFd socket_;
};

std::set<std::string> children_of(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/task/" +
                     std::to_string(pid) + "/children");
  std::set<std::string> children;
  for (std::string child; file >> child;) {
    children.insert(child);
  }
  return children;
}

// None of a process that has just gone.
long open_sockets(const std::string& pid) {
  std::error_code gone;
  long count = 0;
  for (const auto& entry :
       std::filesystem::directory_iterator("/proc/" + pid + "/fd", gone)) {
    const auto target = std::filesystem::read_symlink(entry, gone);
    count += target.string().starts_with("socket:") ? 1 : 0;
  }
  return count;
}

long status_number(pid_t pid, const std::string& name) {
  return std::stol(status_of(pid, name));
}

// For so long none of them is told anything, nor closed.
bool stay_quiet(const std::vector<UniquePeerFd>& clients,
                std::chrono::milliseconds time) {
  std::vector<pollfd> states;
  states.reserve(clients.size());
  for (const UniquePeerFd& client : clients) {
    states.push_back({.fd = client.get(), .events = POLLIN, .revents = 0});
  }
  return poll(states.data(), states.size(), static_cast<int>(time.count())) ==
         0;
}

}  // namespace

TEST_SUITE_BEGIN("echo_server");

TEST_CASE("echo_server sends lines back until it is told to end") {
  EchoServer server(on_loopback());
  const UniquePeerFd client = connect_to(server.address());
  CHECK(ask(client, "hello\n") == "hello\n");
  CHECK(ask(client, "two\nlines\n") == "two\nlines\n");
  const ProgramResult result = server.program().terminate();
  CHECK(result.exit_code == 0);
  CHECK(result.err.empty());
  CHECK(client.recv_all().empty());
}

TEST_CASE("echo_server serves a Unix domain socket, and takes its file away") {
  const TempDir dir;
  const std::string path = dir.path("echo.sock");
  EchoServer server({"--unix", path});
  CHECK(ask(connect_to(server.address()), "hello\n") == "hello\n");
  CHECK(server.program().terminate().exit_code == 0);
  CHECK(access(path.c_str(), F_OK) != 0);
}

TEST_CASE("echo_server serves an abstract name") {
  const std::string name = "@waterspout-echo-" + std::to_string(getpid());
  EchoServer server({"--unix=" + name});
  CHECK(server.address().to_string() == "unix:" + name);
  CHECK(ask(connect_to(server.address()), "hello\n") == "hello\n");
  CHECK(server.program().terminate().exit_code == 0);
}

TEST_CASE("echo_server closes a client that sends no line for too long") {
  EchoServer server(on_loopback());
  const UniquePeerFd client = connect_to(server.address());
  const std::string piece(65536, 'x');
  bool refused = false;
  for (int i = 0; i < 1000 && !refused; ++i) {
    refused = send(client.get(), piece.data(), piece.size(), MSG_NOSIGNAL) < 0;
  }
  CHECK(refused);
  CHECK(ask(connect_to(server.address()), "next\n") == "next\n");
  CHECK(server.program().terminate().exit_code == 0);
}

TEST_CASE(
    "In several processes, with a shared listener and with one each, "
    "every child serves, a killed one is replaced, and SIGTERM ends all "
    "within a second") {
  const ReservedPort port;
  const std::vector<Strings> forms = {
      on_loopback({"--processes", "2"}),
      {"--address", "127.0.0.1", "--port", port.text(), "--processes", "2",
       "--reuse-port"}};
  for (const Strings& arguments : forms) {
    CAPTURE(arguments.size());
    EchoServer server(arguments);
    const pid_t parent = server.program().pid();
    std::vector<UniquePeerFd> clients;
    // A child that serves has a socket besides the one on which it listens.
    const auto serving = [&] {
      const std::set<std::string> children = children_of(parent);
      return std::count_if(
          children.begin(), children.end(),
          [](const std::string& child) { return open_sockets(child) > 1; });
    };
    // A child that has just started may not listen yet.
    const auto connect_until_both_serve = [&] {
      const auto limit = std::chrono::steady_clock::now() + 10s;
      while (serving() < 2 && std::chrono::steady_clock::now() < limit) {
        if (clients.size() == 200) {
          clients.clear();
        }
        clients.push_back(connect_to(server.address()));
        CHECK(ask(clients.back(), "hello\n") == "hello\n");
      }
    };
    connect_until_both_serve();
    CHECK(serving() == 2);
    const std::set<std::string> before = children_of(parent);
    REQUIRE(before.size() == 2);
    kill(std::stoi(*before.begin()), SIGKILL);
    server.program().wait_for_err("restarting");
    connect_until_both_serve();
    CHECK(serving() == 2);
    CHECK(children_of(parent) != before);
    clients.clear();
    const auto began = std::chrono::steady_clock::now();
    const ProgramResult result = server.program().terminate();
    CHECK(std::chrono::steady_clock::now() - began < 1s);
    CHECK(result.exit_code == 0);
    for (const std::string& child : before) {
      CHECK(kill(std::stoi(child), 0) != 0);
    }
  }
}

TEST_CASE("echo_server serves the sockets that systemd passes") {
  const UniquePeerFd listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const Address any("127.0.0.1", 0);
  REQUIRE(bind(listener.get(), any.data(),
               static_cast<socklen_t>(any.size())) == 0);
  REQUIRE(listen(listener.get(), 10) == 0);
  // The shell becomes the server, so LISTEN_PID is right.
  Program program({"/bin/sh", "-c", "LISTEN_PID=$$ LISTEN_FDS=1 exec \"$0\"",
                   sample_command("echo_server", {}).front()},
                  {.pass_fd = listener.get()});
  program.wait_for_out(Address::local_of(listener.get()).to_string());
  CHECK(ask(connect_to(Address::local_of(listener.get())), "hello\n") ==
        "hello\n");
  CHECK(program.terminate().exit_code == 0);
}

TEST_CASE("echo_server tells what is wrong with its command line") {
  struct Bad {
    Strings arguments;
    int exit_code;
    std::string_view says;
  };
  const std::vector<Bad> table = {
      {{"--port", "70000"}, 2, "--port: \"70000\" is no number"},
      {{"--port", "x"}, 2, "--port: \"x\" is no number"},
      {{"--port"}, 2, "--port: needs a value"},
      {{"--processes", "-1"}, 2, "--processes: \"-1\" is no number"},
      {{"--unix", "a", "--port", "1"}, 2, "--unix: takes neither"},
      {{"--unix="}, 2, "--unix: needs a path"},
      {{"--reuse-port", "--processes", "2", "--port", "0"}, 2, "--reuse-port"},
      {{"what"}, 2, "unknown argument: what"},
      {{"--address", "192.0.2.1"}, 1, "192.0.2.1:7000: Cannot assign"},
      {{"--unix", "/no/such/dir/s"}, 1, "/no/such/dir/s: No such file"},
  };
  for (const Bad& bad : table) {
    const ProgramResult result =
        run_program(sample_command("echo_server", bad.arguments));
    CAPTURE(result.err);
    CHECK(result.exit_code == bad.exit_code);
    CHECK(result.err.starts_with("echo_server: "));
    CHECK(result.err.find(bad.says) != std::string::npos);
  }
  const ProgramResult help =
      run_program(sample_command("echo_server", {"--help"}));
  CHECK(help.exit_code == 0);
  CHECK(help.out.find("--reuse-port") != std::string::npos);
}

TEST_CASE(
    "One process holds 10,000 connections at once, and serves each of "
    "them") {
  const auto count = static_cast<std::size_t>(scaled(10'000));
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  const rlimit before = limit;
  limit.rlim_cur = limit.rlim_max;
  REQUIRE(setrlimit(RLIMIT_NOFILE, &limit) == 0);
  REQUIRE(limit.rlim_cur >= count + 100);
  EchoServer server(on_loopback());
  std::vector<UniquePeerFd> clients;
  clients.reserve(count);
  for (std::size_t i = 0; i < count; ++i) {
    clients.push_back(connect_to(server.address()));
  }
  bool right = true;
  for (std::size_t i = 0; i < count; ++i) {
    const std::string line = "client " + std::to_string(i) + "\n";
    right = right && ask(clients[i], line) == line;
  }
  CHECK(right);
  if (!kSanitized) {
    CHECK(status_number(server.program().pid(), "VmRSS") < 64 * 1024);
  }
  // Idle, it sleeps.
  const pid_t pid = server.program().pid();
  const long wakes = status_number(pid, "voluntary_ctxt_switches");
  CHECK(stay_quiet(clients, 200ms));
  CHECK(status_number(pid, "voluntary_ctxt_switches") - wakes <= 2);
  clients.clear();
  CHECK(server.program().terminate().exit_code == 0);
  setrlimit(RLIMIT_NOFILE, &before);
}

namespace {

// Connects, asks, is answered, and closes; half of the times with a reset.
bool round(const Address& server, int number) {
  UniquePeerFd client = connect_to(server);
  const bool right = ask(client, "ping\n") == "ping\n";
  if (number % 2 == 0) {
    client.reset();
  }
  return right;
}

}  // namespace

TEST_CASE(
    "Two hundred thousand connections leave no descriptor and no memory "
    "behind") {
  const int rounds = scaled(200'000);
  EchoServer server({"--port", "0", "--address", "0.0.0.0"},
                    {.time_limit = 120s});
  const pid_t pid = server.program().pid();
  const std::uint16_t port = server.address().port();
  // It says where it listens before it has made its loop.
  CHECK(ask(connect_to(Address("127.0.0.1", port)), "first\n") == "first\n");
  const std::size_t descriptors = fds_of(pid);
  long settled_kib = 0;
  bool right = true;
  for (int i = 0; i < rounds && right; ++i) {
    // A clean close keeps its port for a minute: many addresses have more.
    const std::string ip = "127.0.0." + std::to_string(1 + i % 32);
    right = round(Address(ip, port), i);
    if (i == rounds / 2) {
      settled_kib = status_number(pid, "VmRSS");
    }
  }
  CHECK(right);
  // The server hears of the last resets when it gets to them.
  bool settled = false;
  for (int i = 0; i < 1000 && !settled; ++i) {
    CHECK(ask(connect_to(Address("127.0.0.1", port)), "last\n") == "last\n");
    settled = fds_of(pid) <= descriptors + 2;
  }
  CHECK(settled);
  if (!kSanitized) {
    CHECK(status_number(pid, "VmRSS") - settled_kib <= 256);
  }
  CHECK(server.program().terminate().exit_code == 0);
}

TEST_SUITE_END();
