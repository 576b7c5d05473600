// The program redis_client against Debian's redis-server.

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <unistd.h>

#include <doctest/doctest.h>

#include "redis_client/client.h"
#include "support/loop_fixture.h"
#include "support/program.h"
#include "support/redis_server.h"
#include "support/sample_program.h"
#include "support/sanitizers.h"
#include "support/sockets.h"
#include "support/stream_helpers.h"
#include "support/temp_dir.h"
#include "support/text.h"

using redis_client::RedisClient;
using redis_client::Reply;
using waterspout::test::contains;
using waterspout::test::LoopFixture;
using waterspout::test::make_pattern;
using waterspout::test::Program;
using waterspout::test::ProgramResult;
using waterspout::test::RedisServer;
using waterspout::test::RefusingPort;
using waterspout::test::run_program;
using waterspout::test::sample_command;
using waterspout::test::TempDir;

namespace {

using namespace std::chrono_literals;
using Words = std::vector<std::string>;

// A program that reads what the test writes, through a pipe.
class PipedProgram {
 public:
  explicit PipedProgram(const Words& command)
      : ends_(make_pipe()), program_(through_shell(command), options()) {
    ::close(ends_[0]);
  }
  ~PipedProgram() { end_input(); }
  PipedProgram(const PipedProgram&) = delete;
  PipedProgram& operator=(const PipedProgram&) = delete;

  void write(std::string_view text) {
    CHECK(::write(ends_[1], text.data(), text.size()) ==
          static_cast<ssize_t>(text.size()));
  }
  void end_input() {
    if (ends_[1] >= 0) {
      ::close(std::exchange(ends_[1], -1));
    }
  }
  Program& operator*() { return program_; }
  Program* operator->() { return &program_; }

 private:
  static std::array<int, 2> make_pipe() {
    std::array<int, 2> ends{};
    REQUIRE(::pipe2(ends.data(), O_CLOEXEC) == 0);
    return ends;
  }
  static Words through_shell(const Words& command) {
    Words words = {"/bin/sh", "-c", "exec \"$0\" \"$@\" <&3 3<&-"};
    words.insert(words.end(), command.begin(), command.end());
    return words;
  }
  [[nodiscard]] Program::Options options() const {
    Program::Options result;
    result.pass_fd = ends_[0];
    return result;
  }

  std::array<int, 2> ends_;
  Program program_;
};

// Runs it with a file as its input.
ProgramResult run_with_input(const Words& command, const std::string& text) {
  const TempDir directory;
  Words words = {"/bin/sh", "-c", "exec \"$@\" < \"$0\"",
                 directory.write("input", text)};
  words.insert(words.end(), command.begin(), command.end());
  return run_program(words);
}

}  // namespace

TEST_SUITE_BEGIN("redis_client_server");

TEST_CASE("redis_client shows what a command gives") {
  const RedisServer server;
  const ProgramResult set = server.run({"SET", "key", "a value"});
  CHECK(set.exit_code == 0);
  CHECK(set.out == "OK\n");
  CHECK(set.err.empty());
  CHECK(server.run({"GET", "key"}).out == "a value\n");
  CHECK(server.run({"--no-raw", "GET", "key"}).out == "\"a value\"\n");
  CHECK(server.run({"GET", "nothing"}).out == "\n");
  CHECK(server.run({"--no-raw", "GET", "nothing"}).out == "(nil)\n");
  CHECK(server.run({"DECR", "number"}).out == "-1\n");
  CHECK(server.run({"--database", "3", "GET", "key"}).out == "\n");
  CHECK(server.run({"SET", "--host", "-x"}).out == "OK\n");
}

TEST_CASE("redis_client shows replies as redis-cli does") {
  const RedisServer server;
  const std::vector<Words> commands = {
      {"EVAL", "return {1,{2,'x',{}},{{'y'},false},{ok='fine'},'a\\0\\n\"'}",
       "0"},
      {"EVAL", "local t = {} for i = 1, 120 do t[i] = {i, {}} end return t",
       "0"},
      {"COMMAND", "INFO", "get", "nonsense", "set"},
      {"CONFIG", "GET", "max*"},
      {"COMMAND", "DOCS", "get"},
  };
  for (const Words& command : commands) {
    CAPTURE(command[1]);
    for (const char* format : {"--raw", "--no-raw"}) {
      Words ours = {format};
      ours.insert(ours.end(), command.begin(), command.end());
      Words theirs = {"/usr/bin/redis-cli", "-p", server.port()};
      theirs.insert(theirs.end(), ours.begin(), ours.end());
      const ProgramResult result = server.run(ours);
      CHECK(result.exit_code == 0);
      CHECK(result.out == run_program(theirs).out);
      CHECK_FALSE(result.out.empty());
    }
  }
}

TEST_CASE("redis_client --repeat sends a command many times") {
  const RedisServer server;
  const ProgramResult result = server.run({"--repeat", "1000", "INCR", "n"});
  CHECK(result.exit_code == 0);
  std::string expected;
  for (int i = 1; i <= 1000; i++) {
    expected += std::to_string(i) + "\n";
  }
  CHECK(result.out == expected);

  // More than are ever under way at once.
  const ProgramResult many =
      server.run({"--repeat", "200000", "INCRBY", "n", "1"});
  CHECK(many.out.ends_with("\n200999\n201000\n"));
  if (!waterspout::test::kSanitized) {
    CHECK(many.peak_rss_kib < 65536);
  }
}

TEST_CASE("redis_client exits 1 for an error, and tells it apart") {
  const RedisServer server;
  const ProgramResult result = server.run({"NONSENSE"});
  CHECK(result.exit_code == 1);
  CHECK(result.out.empty());
  CHECK(result.err.starts_with("(error) ERR unknown command 'NONSENSE'"));
  // Each by itself.
  const ProgramResult thrice = server.run({"--repeat", "3", "GET"});
  CHECK(thrice.exit_code == 1);
  const std::string line =
      "(error) ERR wrong number of arguments for 'get' command\n";
  CHECK(thrice.err == line + line + line);
  for (const char* name : {"SYNC", "HELLO", "RESET", "SUBSCRIBE"}) {
    const ProgramResult refused = server.run({name});
    CHECK(refused.exit_code == 1);
    CHECK(refused.err.starts_with("redis_client: "));
  }
}

TEST_CASE("redis_client exits 1 without a connection, once for all repeats") {
  const RefusingPort port;
  const std::string number = std::to_string(port.port());
  const ProgramResult result = run_program(sample_command(
      "redis_client", {"--port", number, "--repeat", "1000", "PING"}));
  CHECK(result.exit_code == 1);
  CHECK(result.out.empty());
  CHECK(result.err.starts_with("redis_client: connect: 127.0.0.1:" + number));
  CHECK(result.err.ends_with("Connection refused\n"));
  CHECK(std::count(result.err.begin(), result.err.end(), '\n') == 1);
}

TEST_CASE("redis_client exits 2 for a command line that is wrong") {
  const ProgramResult result =
      run_program(sample_command("redis_client", {"--port", "x", "PING"}));
  CHECK(result.exit_code == 2);
  CHECK(result.err ==
        "redis_client: --port: 'x' is no number from 1 to 65535 (see "
        "redis_client --help)\n");
  const ProgramResult help =
      run_program(sample_command("redis_client", {"--help"}));
  CHECK(help.exit_code == 0);
  CHECK(help.out.starts_with("usage: redis_client"));
}

TEST_CASE("redis_client says when nobody takes its output") {
  const RedisServer server;
  Program::Options full;
  full.out_file = "/dev/full";
  const ProgramResult result = server.run({"PING"}, full);
  CHECK(result.exit_code == 1);
  CHECK(result.err ==
        "redis_client: standard output: No space left on device\n");
  Program::Options closed;
  closed.out_file = "-";
  CHECK(server.run({"PING"}, closed).exit_code == 1);
  CHECK(server.run({"PING"}).out == "PONG\n");
}

TEST_CASE("redis_client --timeout bounds the wait for a reply") {
  const RedisServer server;
  const ProgramResult result =
      server.run({"--timeout", "0.2", "BLPOP", "nothing", "0"});
  CHECK(result.exit_code == 1);
  CHECK(contains(result.err, "no reply within 0.2 s"));
}

TEST_CASE("redis_client logs in") {
  const RedisServer server({"--requirepass", "secret"});
  const ProgramResult without = server.run({"PING"});
  CHECK(without.exit_code == 1);
  CHECK(without.err == "(error) NOAUTH Authentication required.\n");
  const ProgramResult wrong = server.run({"--password", "wrong", "PING"});
  CHECK(wrong.exit_code == 1);
  CHECK(wrong.err.starts_with("redis_client: AUTH: WRONGPASS"));
  CHECK(server.run({"--password", "secret", "PING"}).out == "PONG\n");
  Program::Options options;
  options.environment = {"REDISCLI_AUTH=secret"};
  CHECK(
      server
          .run({"ACL", "SETUSER", "me", "on", ">mine", "~*", "+@all"}, options)
          .out == "OK\n");
  CHECK(
      server.run({"--user", "me", "--password", "mine", "ACL", "WHOAMI"}).out ==
      "me\n");
  CHECK(
      server.run({"--user", "me", "--password", "secret", "PING"}).exit_code ==
      1);
}

TEST_CASE("redis_client talks over a Unix domain socket") {
  const RedisServer server;
  auto run = [](const Words& words) {
    return run_program(sample_command("redis_client", words));
  };
  CHECK(run({"--unix", server.unix_path(), "PING"}).out == "PONG\n");
  const ProgramResult missing =
      run({"--unix", server.unix_path() + "x", "PING"});
  CHECK(missing.exit_code == 1);
  CHECK(missing.err == "redis_client: connect: unix:" + server.unix_path() +
                           "x: No such file or directory\n");
}

TEST_CASE("redis_client reads commands from a file") {
  const RedisServer server;
  const ProgramResult result =
      run_with_input(server.client_command({}),
                     "SET a 'x y'\r\n\n  get \"\\x61\"\nQUIT\nGET a\n");
  CHECK(result.exit_code == 0);
  CHECK(result.out == "OK\nx y\n");
  CHECK(result.err.empty());

  const ProgramResult wrong =
      run_with_input(server.client_command({}), "GET \"\nNONSENSE\nGET a");
  CHECK(wrong.exit_code == 1);
  CHECK(wrong.out == "x y\n");
  CHECK(contains(wrong.err, "redis_client: line: a quote is not closed\n"));
  CHECK(contains(wrong.err, "(error) ERR unknown command"));

  CHECK(run_program(server.client_command({})).exit_code == 0);
}

TEST_CASE("redis_client pipelines the commands of a file") {
  const RedisServer server;
  std::string lines;
  std::string expected;
  for (int i = 1; i <= 30'000; i++) {
    lines += "INCR n\n";
    expected += std::to_string(i) + "\n";
  }
  const ProgramResult result = run_with_input(server.client_command({}), lines);
  CHECK(result.exit_code == 0);
  CHECK(result.out == expected);
}

TEST_CASE("redis_client answers a pipe line by line") {
  const RedisServer server;
  PipedProgram client(server.client_command({}));
  client.write("PING\n");
  client->wait_for_out("PONG\n");
  client.write("ECHO o");
  client.write("ne\nECHO two\n");
  client->wait_for_out("two\n");
  client.write("ECHO rest");
  client.end_input();
  const ProgramResult result = client->wait();
  CHECK(result.exit_code == 0);
  CHECK(result.out == "PONG\none\ntwo\nrest\n");
}

TEST_CASE("redis_client goes on when the server is there again") {
  RedisServer server;
  PipedProgram client(server.client_command({}));
  client.write("ECHO first\n");
  client->wait_for_out("first\n");
  server.stop();
  client.write("ECHO second\n");
  client->wait_for_err("\n");
  server.start();
  client.write("ECHO third\n");
  client->wait_for_out("third\n");
  client.end_input();
  const ProgramResult result = client->wait();
  CHECK(result.exit_code == 1);
  CHECK(result.out == "first\nthird\n");
}

TEST_CASE("redis_client shows what others publish") {
  const RedisServer server;
  Program listener(server.client_command({"SUBSCRIBE", "news", "more"}));
  Program matcher(server.client_command({"--no-raw", "PSUBSCRIBE", "n*"}));
  listener.wait_for_out("subscribe\nnews\n1\nsubscribe\nmore\n2\n");
  matcher.wait_for_out("3) (integer) 1\n");
  CHECK(server.run({"PUBLISH", "news", "hello"}).out == "2\n");
  CHECK(server.run({"PUBLISH", "more", "to you"}).out == "1\n");
  listener.wait_for_out("2\nmessage\nnews\nhello\nmessage\nmore\nto you\n");
  matcher.wait_for_out(
      "1) \"pmessage\"\n2) \"n*\"\n3) \"news\"\n4) \"hello\"\n");
}

TEST_CASE("redis_client listens on when the server was started again") {
  RedisServer server;
  Program listener(server.client_command({"SUBSCRIBE", "news"}));
  listener.wait_for_out("subscribe\nnews\n1\n");
  server.stop();
  listener.wait_for_err("connection lost, trying again: ");
  server.start();
  // It comes when it comes.
  const auto limit = std::chrono::steady_clock::now() + 15s;
  std::string receivers;
  while (receivers != "1\n" && std::chrono::steady_clock::now() < limit) {
    receivers = server.run({"PUBLISH", "news", "again"}).out;
  }
  listener.wait_for_out("message\nnews\nagain\n");
}

TEST_CASE("redis_client ends a subscription from its prompt") {
  const RedisServer server;
  PipedProgram client(server.client_command({}));
  client.write("SUBSCRIBE a\n");
  client->wait_for_out("subscribe\na\n1\n");
  client.write("GET x\n");
  client->wait_for_err("(error) ERR Can't execute 'get'");
  client.write("SUBSCRIBE a\n");
  client->wait_for_err("subscribe: a: there is a subscription already");
  CHECK(server.run({"PUBLISH", "a", "one"}).out == "1\n");
  client->wait_for_out("message\na\none\n");
  client.write("UNSUBSCRIBE a\nSET x 7\nGET x\n");
  client->wait_for_out("unsubscribe\na\n0\nOK\n7\n");
  client.end_input();
  CHECK(client->wait().exit_code == 1);
}

TEST_CASE("redis_client shows what the server is told to do") {
  const RedisServer server;
  Program monitor(server.client_command({"MONITOR"}));
  monitor.wait_for_out("OK\n");
  CHECK(server.run({"SET", "k", "v"}).out == "OK\n");
  monitor.wait_for_out("] \"SET\" \"k\" \"v\"\n");
}

TEST_CASE("redis_client gives every byte of a large value") {
  const RedisServer server;
  constexpr std::size_t kSize = std::size_t{64} << 20;
  const std::string value = make_pattern(kSize);
  LoopFixture loop;
  loop.bound_turns(1'000'000);
  RedisClient client(loop, {.server = {.port = server.port_number()}});
  std::string got;
  client.command({"SET", "large", value}, [&](const Reply& set) {
    CHECK(set.text == "OK");
    client.command({"GET", "large"}, [&](Reply reply) {
      got = std::move(reply.text);
      loop.stop();
    });
  });
  loop.run(30s);
  CHECK(got == value);

  const TempDir directory;
  Program::Options options;
  options.out_file = directory.path("value");
  CHECK(server.run({"GET", "large"}, options).exit_code == 0);
  CHECK(directory.read("value") == value + "\n");
}

TEST_SUITE_END();
