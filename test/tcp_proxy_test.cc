// The sample tcp_proxy as a user runs it, between plain sockets.

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <sys/socket.h>

#include <doctest/doctest.h>

#include "waterspout/address.h"

#include "support/program.h"
#include "support/sample_program.h"
#include "support/sanitizers.h"
#include "support/sockets.h"
#include "support/stream_helpers.h"

using waterspout::Address;
using waterspout::test::accept_from;
using waterspout::test::connect_to;
using waterspout::test::kSanitized;
using waterspout::test::listen_on_loopback;
using waterspout::test::make_pattern;
using waterspout::test::Program;
using waterspout::test::ProgramResult;
using waterspout::test::RefusingPort;
using waterspout::test::run_program;
using waterspout::test::sample_command;
using waterspout::test::scaled;
using waterspout::test::UniquePeerFd;

namespace {

using namespace std::chrono_literals;
using Strings = std::vector<std::string>;

// The program in front of a listener of the test's.
class Proxy {
 public:
  explicit Proxy(Program::Options options = {})
      : upstream_(listen_on_loopback(upstream_port_)),
        program_(
            sample_command("tcp_proxy",
                           {"--listen", "127.0.0.1:0", "--to",
                            "127.0.0.1:" + std::to_string(upstream_port_)}),
            options) {
    std::string said = program_.wait_for_out("\n");
    said = said.substr(0, said.find('\n'));
    address_ = Address::parse(said.substr(said.find("on ") + 3));
  }

  struct Ends {
    UniquePeerFd client;
    UniquePeerFd server;
  };

  Ends connect() {
    Ends ends;
    ends.client = connect_to(address_);
    ends.server = accept_from(upstream_.get());
    return ends;
  }

  Program& program() { return program_; }
  [[nodiscard]] const Address& address() const { return address_; }

 private:
  std::uint16_t upstream_port_ = 0;
  UniquePeerFd upstream_;
  Program program_;
  Address address_;
};

// What passes through in one direction: counted, and compared with what the
// place of every byte says.
class Counter {
 public:
  void take(std::string_view bytes) {
    for (const char byte : bytes) {
      right_ = right_ && byte == at(count_);
      ++count_;
    }
  }
  static char at(std::uint64_t place) {
    return static_cast<char>((place ^ (place >> 13U)) & 0xffU);
  }
  [[nodiscard]] std::uint64_t count() const { return count_; }
  [[nodiscard]] bool right() const { return right_; }

 private:
  std::uint64_t count_ = 0;
  bool right_ = true;
};

void send_counted(const UniquePeerFd& to, std::uint64_t bytes) {
  std::array<char, 65536> piece{};
  for (std::uint64_t sent = 0; sent < bytes;) {
    const auto size = static_cast<std::size_t>(
        std::min<std::uint64_t>(piece.size(), bytes - sent));
    for (std::size_t i = 0; i < size; ++i) {
      piece.at(i) = Counter::at(sent + i);
    }
    to.send({piece.data(), size});
    sent += size;
  }
  to.shutdown();
}

Counter receive_counted(const UniquePeerFd& from, bool slowly) {
  Counter counter;
  for (;;) {
    const std::string bytes = from.recv(slowly ? 1000 : 65536);
    if (bytes.empty()) {
      return counter;
    }
    counter.take(bytes);
  }
}

}  // namespace

TEST_SUITE_BEGIN("tcp_proxy");

TEST_CASE("tcp_proxy passes bytes both ways, and each side's end") {
  Proxy proxy;
  Proxy::Ends ends = proxy.connect();
  ends.client.send("question");
  CHECK(ends.server.recv_exactly(8) == "question");
  ends.client.shutdown();
  CHECK(ends.server.recv_all().empty());
  ends.server.send("answer, after the client's end");
  ends.server.close();
  CHECK(ends.client.recv_all() == "answer, after the client's end");
  CHECK(proxy.program().terminate().exit_code == 0);
}

TEST_CASE("tcp_proxy loses no byte that came before a reset") {
  for (const bool by_client : {true, false}) {
    CAPTURE(by_client);
    Proxy proxy;
    Proxy::Ends ends = proxy.connect();
    UniquePeerFd& resets = by_client ? ends.client : ends.server;
    UniquePeerFd& stays = by_client ? ends.server : ends.client;
    const std::string data = make_pattern(100'000);
    resets.send(data);
    // Its own queue is empty then, and the reset cannot overtake.
    CHECK(stays.recv_exactly(data.size()) == data);
    resets.send("last words");
    CHECK(stays.recv_exactly(10) == "last words");
    resets.reset();
    CHECK(stays.recv_all().empty());
    CHECK(proxy.program().terminate().exit_code == 0);
  }
}

TEST_CASE(
    "tcp_proxy moves gigabytes both ways at once, with a slow reader on "
    "one side, in bounded memory") {
  const auto bytes = static_cast<std::uint64_t>(scaled(1'000'000)) * 1000;
  Proxy proxy({.time_limit = 120s});
  Proxy::Ends ends = proxy.connect();
  Counter at_server;
  Counter at_client;
  std::thread client_sends([&] { send_counted(ends.client, bytes); });
  std::thread server_sends([&] { send_counted(ends.server, bytes); });
  std::thread server_reads(
      [&] { at_server = receive_counted(ends.server, false); });
  at_client = receive_counted(ends.client, true);
  for (std::thread* const thread :
       {&client_sends, &server_sends, &server_reads}) {
    thread->join();
  }
  CHECK(at_server.count() == bytes);
  CHECK(at_client.count() == bytes);
  CHECK(at_server.right());
  CHECK(at_client.right());
  const ProgramResult result = proxy.program().terminate();
  CHECK(result.exit_code == 0);
  if (!kSanitized) {
    CHECK(result.peak_rss_kib < 32 * 1024);
  }
}

TEST_CASE("tcp_proxy serves many clients, and tells of those that it cannot") {
  Proxy proxy;
  std::vector<Proxy::Ends> many;
  for (int i = 0; i < 100; ++i) {
    many.push_back(proxy.connect());
  }
  for (std::size_t i = 0; i < many.size(); ++i) {
    many[i].client.send("client " + std::to_string(i));
  }
  for (std::size_t i = 0; i < many.size(); ++i) {
    const std::string expected = "client " + std::to_string(i);
    CHECK(many[i].server.recv_exactly(expected.size()) == expected);
  }
  CHECK(proxy.program().terminate().exit_code == 0);

  const RefusingPort nobody;
  const std::string to = nobody.address().to_string();
  Program program(
      sample_command("tcp_proxy", {"--listen", "127.0.0.1:0", "--to", to}));
  const std::string said = program.wait_for_out("\n");
  const UniquePeerFd client = connect_to(Address::parse(said.substr(
      said.find("on ") + 3, said.find('\n') - said.find("on ") - 3)));
  CHECK(client.recv_all().empty());
  const std::string& told = program.wait_for_err("\n");
  CHECK(told.find(to) != std::string::npos);
  CHECK(told.find("Connection refused") != std::string::npos);
  CHECK(program.terminate().exit_code == 0);
}

TEST_CASE("tcp_proxy tells what is wrong with its command line") {
  struct Bad {
    Strings arguments;
    int exit_code;
    std::string_view says;
  };
  const std::vector<Bad> table = {
      {{}, 2, "--listen is needed"},
      {{"--listen", ":0"}, 2, "--to is needed"},
      {{"--listen", "0", "--to", "a:1"}, 2, "\"0\" is not HOST:PORT"},
      {{"--listen", ":0", "--to", "a:70000"}, 2, "is not HOST:PORT"},
      {{"--listen", ":0", "--to", "a:1", "--insecure"}, 2, "for --to-tls"},
      {{"--listen", ":0", "--to", "a:1", "more"}, 2, "unknown argument"},
      {{"--listen", "192.0.2.1:0", "--to", "a:1"}, 1, "192.0.2.1"},
      {{"--listen", ":0", "--to", "a:1", "--tls-cert", "/no/such/file"},
       1,
       "/no/such/file"},
  };
  for (const Bad& bad : table) {
    const ProgramResult result =
        run_program(sample_command("tcp_proxy", bad.arguments));
    CAPTURE(result.err);
    CHECK(result.exit_code == bad.exit_code);
    CHECK(result.err.find(bad.says) != std::string::npos);
  }
  CHECK(run_program(sample_command("tcp_proxy", {"--help"}))
            .out.find("--to-tls") != std::string::npos);
}

TEST_SUITE_END();
