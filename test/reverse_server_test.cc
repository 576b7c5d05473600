// The sample reverse_server: its FramedServer in this process, and the program
// as a user runs it.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "waterspout/address.h"
#include "waterspout/iostream.h"
#include "waterspout/log.h"

#include "reverse_server/framed_server.h"
#include "support/loop_fixture.h"
#include "support/program.h"
#include "support/sample_program.h"
#include "support/sockets.h"
#include "support/stream_helpers.h"
#include "support/temp_dir.h"

using reverse_server::FramedServer;
using waterspout::Address;
using waterspout::IOStream;
using waterspout::LogLevel;
using waterspout::test::announced_port;
using waterspout::test::bound_kernel_buffers;
using waterspout::test::connect_to;
using waterspout::test::LoopFixture;
using waterspout::test::make_pattern;
using waterspout::test::Program;
using waterspout::test::ProgramResult;
using waterspout::test::run_program;
using waterspout::test::sample_command;
using waterspout::test::TempDir;
using waterspout::test::UniquePeerFd;
using waterspout::test::wait_readable;

namespace {

std::string reversed(std::string_view text) {
  return {text.rbegin(), text.rend()};
}

std::string framed(std::string_view text, std::size_t digits = 5) {
  const std::string length = std::to_string(text.size());
  return std::string(digits - length.size(), '0') + length + std::string(text);
}

// Keeps the stream of its last connection, to look at it.
class WatchedServer final : public FramedServer {
 public:
  using FramedServer::FramedServer;
  std::shared_ptr<IOStream> stream;

 protected:
  void handle_stream(std::shared_ptr<IOStream> accepted,
                     const Address& address) override {
    stream = accepted;
    FramedServer::handle_stream(std::move(accepted), address);
  }
};

// A loop, a server on it and a client of it.
struct Served {
  explicit Served(FramedServer::Logic logic = reversed, int digits = 5)
      : server(
            std::make_unique<WatchedServer>(loop, digits, std::move(logic))) {
    loop.bound_turns(100'000);
    server->listen(0, "127.0.0.1");
    client = connect_to(server->addresses().front());
    loop.run_until([&] { return server->stream != nullptr; });
  }

  ~Served() {
    client.close();
    loop.run_until([&] { return loop->statistics().streams == 0; });
  }
  Served(const Served&) = delete;
  Served& operator=(const Served&) = delete;

  /// Runs the loop until the client has so many bytes more.
  std::string receive(std::size_t count) {
    std::string got;
    loop.run_until([&] {
      got += client.recv_ready();
      return got.size() >= count;
    });
    return got;
  }

  /// What comes until the server closes the connection.
  std::string receive_to_end() {
    loop.run_until([&] { return server->connections() == 0; });
    return client.recv_all();
  }

  LoopFixture loop;
  std::unique_ptr<WatchedServer> server;
  UniquePeerFd client;
};

// The program in the foreground, and where it listens.
struct RunningServer {
  explicit RunningServer(std::vector<std::string> more = {})
      : program(command(std::move(more))),
        address("127.0.0.1",
                announced_port(program.wait_for_out("listening on "))) {}

  static std::vector<std::string> command(std::vector<std::string> more) {
    more.insert(more.begin(), {"run", "--address", "127.0.0.1", "--port", "0"});
    return sample_command("reverse_server", std::move(more));
  }

  Program program;
  Address address;
};

ProgramResult run_sample(std::vector<std::string> arguments) {
  return run_program(sample_command("reverse_server", std::move(arguments)));
}

}  // namespace

TEST_SUITE_BEGIN("reverse_server");

TEST_CASE("FramedServer answers with a frame of its own") {
  struct Example {
    int digits;
    std::string request;
    std::string reply;
  };
  const std::vector<Example> examples = {
      {5, "00005abcde", "00005edcba"},
      {10, "0000000005HELLO", "0000000005OLLEH"},
      {10, "0000000001a", "0000000001a"},
      {10, "0000000012hello world\n", "0000000012\ndlrow olleh"},
      {1, "3abc", "3cba"},
      {5, std::string("00004a\0\xff\n", 9), std::string("00004\n\xff\0a", 9)},
  };
  for (const Example& example : examples) {
    CAPTURE(example.request);
    Served served(reversed, example.digits);
    served.client.send(example.request);
    CHECK(served.receive(example.reply.size()) == example.reply);
  }
}

TEST_CASE("FramedServer takes a request that comes byte by byte") {
  Served served;
  for (int round = 0; round < 2; ++round) {
    const std::string request = framed("abcde");
    for (std::size_t i = 0; i < request.size(); ++i) {
      CHECK(served.client.recv_ready().empty());
      served.client.send(request.substr(i, 1));
      // A header's bytes are unread until it is complete, and so is the rest.
      const std::size_t unread = i < 5 ? (i + 1) % 5 : (i + 1 - 5) % 5;
      served.loop.run_until(
          [&] { return served.server->stream->unread_bytes() == unread; });
    }
    CHECK(served.receive(10) == framed("edcba"));
  }
}

TEST_CASE("FramedServer answers requests that are sent at once in order") {
  Served served;
  std::string requests;
  std::string replies;
  for (int i = 0; i < 1000; ++i) {
    requests += framed("request " + std::to_string(i));
    replies += framed(reversed("request " + std::to_string(i)));
  }
  served.client.send(requests);
  CHECK(served.receive(replies.size()) == replies);
}

TEST_CASE("FramedServer takes the longest request that a header can say") {
  Served served;
  const std::string text = make_pattern(99'999);
  std::string rest = framed(text);
  std::string got;
  served.loop.run_until([&] {
    rest.erase(0, served.client.send_some(rest));
    got += served.client.recv_ready();
    return got.size() >= 5 + text.size();
  });
  CHECK(got == framed(reversed(text)));
}

TEST_CASE("FramedServer closes a connection with a bad header") {
  for (const std::string header :
       {"00000", "-0001", "+0001", " 0001", "0001 ", "0x001", "1e003", "0001.",
        "abcde", "GET /", "\r\n000", "00\xd9\xa1", "     "}) {
    CAPTURE(header);
    Served served;
    served.loop.expect_log(LogLevel::info, "bad header");
    served.client.send(framed("good") + header + framed("x"));
    served.loop.run_until([&] { return served.server->connections() == 0; });
    CHECK(served.server->stream->closed());
    CHECK(served.client.recv(9) == framed("doog"));
  }
}

TEST_CASE("FramedServer closes a connection whose request is too long") {
  Served served(reversed, 10);
  served.loop.expect_log(LogLevel::info, "bad header");
  served.client.send("0067108865");  // 64 MiB and a byte
  CHECK(served.receive_to_end().empty());
}

TEST_CASE("FramedServer forgets a client that goes in the middle") {
  for (const std::string part : {"", "000", "00005", "00005abc", "00005abcde",
                                 "00005abcde00005abcde000"}) {
    CAPTURE(part);
    for (const bool reset : {false, true}) {
      CAPTURE(reset);
      Served served;
      served.client.send(part);
      if (reset) {
        served.client.reset();
      } else {
        served.client.close();
      }
      wait_readable(served.server->stream->fileno());
      served.loop.run_until([&] { return served.server->connections() == 0; });
    }
  }
}

TEST_CASE("FramedServer closes where a reply does not fit its header") {
  Served served([](std::string_view) { return std::string(10, 'x'); }, 1);
  served.loop.expect_log(LogLevel::error,
                         "its 10 bytes are more than a header of 1 digits");
  served.client.send("1a");
  CHECK(served.receive_to_end().empty());
}

TEST_CASE("FramedServer says an empty reply, too") {
  Served served([](std::string_view) { return std::string(); });
  served.client.send("00001a");
  CHECK(served.receive(5) == "00000");
}

TEST_CASE("FramedServer closes the connection whose logic throws") {
  Served served([](std::string_view request) -> std::string {
    throw std::runtime_error("cannot " + std::string(request));
  });
  served.loop.expect_log(LogLevel::error, "cannot sin");
  served.client.send("00003sing");
  CHECK(served.receive_to_end().empty());
  REQUIRE(served.loop.failures.size() == 1);
  CHECK(served.loop.failures.front().find("cannot sin") != std::string::npos);
}

TEST_CASE("FramedServer drops a reply whose connection has closed meanwhile") {
  std::shared_ptr<IOStream> stream;
  Served served([&](std::string_view request) {
    stream->close();
    return std::string(request);
  });
  stream = served.server->stream;
  served.client.send("00001a");
  CHECK(served.receive_to_end().empty());
  CHECK(served.loop.failures.empty());
}

TEST_CASE("FramedServer may go before its connections") {
  Served served;
  served.server.reset();
  served.client.send("00005abcde");
  CHECK(served.receive(10) == "00005edcba");
}

TEST_CASE("FramedServer reads no request before the reply was taken") {
  constexpr std::size_t kRequest = 50'000;
  constexpr std::size_t kRequests = 200;
  Served served;
  bound_kernel_buffers(served.client.get(), 65536);
  bound_kernel_buffers(served.server->stream->fileno(), 65536);
  const std::string text = make_pattern(kRequest);
  std::string rest;
  for (std::size_t i = 0; i < kRequests; ++i) {
    rest += framed(text);
  }
  const std::size_t all = rest.size();

  // As long as the client does not read, the server comes to a stop.
  for (int idle = 0; idle < 20; ++idle) {
    const std::size_t taken = served.client.send_some(rest);
    rest.erase(0, taken);
    idle = taken > 0 ? 0 : idle;
    served.loop.run_turns(1);
    CHECK(served.server->stream->unsent_bytes() <= 5 + kRequest);
  }
  CHECK(all - rest.size() < all / 4);

  std::string got;
  served.loop.run_until([&] {
    rest.erase(0, served.client.send_some(rest));
    got += served.client.recv_ready();
    return got.size() >= all;
  });
  const std::string reply = framed(reversed(text));
  bool right = got.size() == all;
  for (std::size_t i = 0; right && i < kRequests; ++i) {
    right = got.compare(i * reply.size(), reply.size(), reply) == 0;
  }
  CHECK(right);
}

TEST_CASE("FramedServer refuses a width that is out of bounds") {
  LoopFixture loop;
  CHECK_THROWS_AS(FramedServer(loop, 0, reversed), std::invalid_argument);
  CHECK_THROWS_AS(FramedServer(loop, 11, reversed), std::invalid_argument);
}

TEST_CASE("reverse_server run serves until SIGTERM") {
  const TempDir dir;
  RunningServer server({"--digits", "10", "--pidfile", dir.path("pid")});
  CHECK(std::filesystem::exists(dir.path("pid")));
  const UniquePeerFd client = connect_to(server.address);
  client.send("0000000005HELLO");
  CHECK(client.recv_exactly(15) == "0000000005OLLEH");

  const ProgramResult result = server.program.terminate();
  CHECK(result.exit_code == 0);
  CHECK(result.err.empty());
  CHECK_FALSE(std::filesystem::exists(dir.path("pid")));
  CHECK(client.recv_all().empty());
}

TEST_CASE("reverse_server stop ends one in the foreground, too") {
  const TempDir dir;
  RunningServer server({"--pidfile", dir.path("pid")});
  CHECK(run_sample({"stop", "--pidfile", dir.path("pid")}).exit_code == 0);
  CHECK(server.program.wait().exit_code == 0);
  CHECK(run_sample({"stop", "--pidfile", dir.path("pid")})
            .err.ends_with(": not running\n"));
}

TEST_CASE("reverse_server serves a thousand connections at once") {
  const TempDir dir;
  RunningServer server({"--pidfile", dir.path("pid")});
  std::vector<UniquePeerFd> clients;
  for (int i = 0; i < 1000; ++i) {
    clients.push_back(connect_to(server.address));
  }
  for (int round = 0; round < 2; ++round) {
    for (std::size_t i = 0; i < clients.size(); ++i) {
      clients[i].send(framed("client " + std::to_string(i)));
    }
    std::size_t right = 0;
    for (std::size_t i = 0; i < clients.size(); ++i) {
      const std::string reply = framed(reversed("client " + std::to_string(i)));
      right += clients[i].recv_exactly(reply.size()) == reply ? 1 : 0;
    }
    CHECK(right == clients.size());
  }
  CHECK(server.program.terminate().exit_code == 0);
}

TEST_CASE("reverse_server start, restart and stop") {
  const TempDir dir;
  const auto command = [&](const char* verb) {
    return run_sample({verb, "--address", "127.0.0.1", "--port", "0",
                       "--pidfile", dir.path("pid"), "--logfile",
                       dir.path("log")});
  };
  const auto check_serving = [&] {
    const UniquePeerFd client =
        connect_to({"127.0.0.1", announced_port(dir.read("log"))});
    client.send("00005abcde");
    CHECK(client.recv_exactly(10) == "00005edcba");
  };
  const ProgramResult started = command("start");
  CHECK(started.exit_code == 0);
  CHECK(started.out.empty());
  CHECK(started.err.empty());
  check_serving();
  const std::string first = dir.read("pid");

  const ProgramResult again = command("start");
  CHECK(again.exit_code == 1);
  CHECK(again.err == "reverse_server: start: " + dir.path("pid") +
                         ": runs already, as process " +
                         first.substr(0, first.size() - 1) + "\n");

  std::filesystem::remove(dir.path("log"));
  CHECK(command("restart").exit_code == 0);
  CHECK(dir.read("pid") != first);
  check_serving();

  CHECK(command("stop").exit_code == 0);
  CHECK_FALSE(std::filesystem::exists(dir.path("pid")));
  const ProgramResult stopped = command("stop");
  CHECK(stopped.exit_code == 0);
  CHECK(stopped.err.find("not running") != std::string::npos);
}

TEST_CASE("reverse_server start says why it cannot serve") {
  const TempDir dir;
  std::uint16_t port = 0;
  const UniquePeerFd listener(waterspout::test::listen_on_loopback(port));
  for (const std::string verb : {"start", "run"}) {
    CAPTURE(verb);
    const ProgramResult result =
        run_sample({verb, "--address", "127.0.0.1", "--port",
                    std::to_string(port), "--pidfile", dir.path("pid")});
    CHECK(result.exit_code == 1);
    CHECK(result.err.find("127.0.0.1:" + std::to_string(port) +
                          ": Address already in use\n") != std::string::npos);
    CHECK_FALSE(std::filesystem::exists(dir.path("pid")));
  }
}

TEST_CASE("reverse_server start tells once that it cannot log") {
  const TempDir dir;
  const ProgramResult result =
      run_sample({"start", "--address", "127.0.0.1", "--port", "0", "--pidfile",
                  dir.path("pid"), "--logfile", dir.path("none/log")});
  CHECK(result.exit_code == 1);
  CHECK(result.err == "reverse_server: start: " + dir.path("pid") +
                          ": open: " + dir.path("none/log") +
                          ": No such file or directory\n");
}

TEST_CASE("reverse_server refuses a wrong command line") {
  const std::vector<std::vector<std::string>> wrong = {
      {},
      {"go"},
      {"start", "stop"},
      {"run", "--digits", "0"},
      {"run", "--digits", "11"},
      {"run", "--digits"},
      {"run", "--port", "65536"},
      {"run", "--port", "-1"},
      {"run", "--pidfile", ""},
      {"run", "--nonsense"},
  };
  for (const std::vector<std::string>& arguments : wrong) {
    const ProgramResult result = run_sample(arguments);
    CHECK(result.exit_code == 2);
    CHECK(result.err.find("see reverse_server --help") != std::string::npos);
  }
  CHECK(run_sample({"--help"}).out.find("usage: reverse_server") == 0);
}

TEST_SUITE_END();
