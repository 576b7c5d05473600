// RedisClient of the sample redis_client, against a server that says what each
// test needs: commands and their replies.

#include <chrono>
#include <cstddef>
#include <exception>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include <doctest/doctest.h>

#include "waterspout/log.h"
#include "waterspout/stack_context.h"

#include "redis_client/client.h"
#include "support/redis_replies.h"
#include "support/redis_world.h"
#include "support/stream_helpers.h"
#include "support/temp_dir.h"
#include "support/virtual_clock.h"

using redis_client::RedisClient;
using redis_client::Reply;
using waterspout::ExceptionStackContext;
using waterspout::LogLevel;
using waterspout::StackContext;
using waterspout::test::bulk_bytes;
using waterspout::test::contains;
using waterspout::test::failure_of;
using waterspout::test::kLost;
using waterspout::test::make_pattern;
using waterspout::test::nothing;
using waterspout::test::RedisWorld;
using waterspout::test::TempDir;
using waterspout::test::Token;
using waterspout::test::VirtualClock;

namespace {

using namespace std::chrono_literals;
using Texts = std::vector<std::string>;

// The command itself, as a bulk string.
std::string echo(const std::string& command) { return bulk_bytes(command); }

}  // namespace

TEST_SUITE_BEGIN("redis_client");

TEST_CASE("RedisClient sends commands without waiting for replies") {
  RedisWorld world;
  world.server.listen();
  world.server.answer = nothing;
  RedisClient& client = world.make_client();
  for (const char* key : {"a", "b", "c"}) {
    client.command({"GET", key}, world.note());
  }
  CHECK(client.unanswered() == 3);
  CHECK(client.unsent_bytes() > 0);
  world.loop.run_until([&] { return world.server.commands.size() == 3; });
  CHECK(world.server.commands == Texts{"GET a", "GET b", "GET c"});
  CHECK(world.replies.empty());
  CHECK(client.unanswered() == 3);
  CHECK(client.unsent_bytes() == 0);
  CHECK(client.connected());

  world.server.send("$1\r\n1\r\n:2\r\n$-1\r\n");
  world.run_until_replies(3);
  CHECK(world.replies == Texts{"\"1\"", "(integer) 2", "(nil)"});
  CHECK(client.unanswered() == 0);
  CHECK(world.server.connections() == 1);
}

TEST_CASE("RedisClient sends a command that was given in a callback") {
  RedisWorld world;
  world.server.listen();
  world.server.answer = echo;
  RedisClient& client = world.make_client();
  client.command({"GET", "1"}, [&](const Reply& first) {
    client.command({"GET", first.text}, world.note());
    CHECK(world.replies.empty());  // never inside the call
  });
  world.run_until_replies(1);
  CHECK(world.replies == Texts{"\"GET GET 1\""});
}

TEST_CASE("RedisClient gives an error as a reply, and goes on") {
  RedisWorld world;
  world.server.listen();
  RedisClient& client = world.make_client();
  world.server.answer = [](const std::string& command) {
    return command == "BAD" ? "-ERR no\r\n" : "+OK\r\n";
  };
  client.command({"BAD"}, world.note());
  client.command({"GOOD"}, world.note());
  world.run_until_replies(2);
  CHECK(world.replies == Texts{"(error) ERR no", "OK"});
  CHECK(world.lost.empty());
}

TEST_CASE("RedisClient reads a reply that comes byte by byte") {
  RedisWorld world;
  world.server.listen();
  world.server.answer = nothing;
  RedisClient& client = world.make_client();
  client.command({"EVAL"}, world.note());
  world.loop.run_until([&] { return !world.server.commands.empty(); });
  for (const char byte : std::string("*3\r\n:1\r\n*-1\r\n$2\r\n\r\n\r\n")) {
    CHECK(world.replies.empty());
    world.server.send({&byte, 1});
    world.loop.run_turns(3);
  }
  world.run_until_replies(1);
  CHECK(world.replies == Texts{"1) (integer) 1\n2) (nil)\n3) \"\\r\\n\""});
}

TEST_CASE("RedisClient reads a bulk string that comes in many pieces") {
  RedisWorld world;
  world.server.listen();
  const std::string value = make_pattern(8 << 20);
  world.server.answer = [&](const std::string&) { return bulk_bytes(value); };
  bool same = false;
  RedisClient& client = world.make_client();
  client.command({"GET", value}, [&](const Reply& reply) {
    same = reply.text == value;
    world.loop.stop();
  });
  world.loop.run();
  CHECK(same);
  CHECK(world.server.commands.front().size() == value.size() + 4);
}

TEST_CASE("RedisClient pipelines any number of commands") {
  constexpr int kCount = 20'000;
  RedisWorld world;
  world.server.listen();
  world.server.answer = echo;
  RedisClient& client = world.make_client({.max_waiting = kCount});
  int next = 0;
  for (int i = 0; i < kCount; i++) {
    client.command({std::to_string(i)}, [&next, i](const Reply& reply) {
      CHECK(reply.text == std::to_string(i));
      CHECK(next == i);
      next++;
    });
  }
  world.loop.run_until([&] { return next == kCount; }, 20s);
}

TEST_CASE("RedisClient connects when there is something to send") {
  RedisWorld world;
  world.server.listen();
  RedisClient& client = world.make_client();
  world.loop.run_turns(3);
  CHECK(world.server.connections() == 0);
  client.command({"PING"}, world.note());
  CHECK_FALSE(client.connected());
  world.run_until_replies(1);
  CHECK(client.connected());
}

TEST_CASE("RedisClient talks over a Unix domain socket") {
  const TempDir directory;
  RedisWorld world;
  RedisClient client(
      world.loop,
      {.server = {.unix_path = directory.path("socket")}, .retry = false});
  SUBCASE("that is not there") {
    world.loop.expect_log(LogLevel::warning, "No such file or directory");
    client.command({"PING"}, world.note());
    world.run_until_replies(1);
    CHECK(world.replies ==
          Texts{"failure: connect: unix:" + directory.path("socket") +
                ": No such file or directory"});
  }
  SUBCASE("whose path is too long") {
    CHECK_THROWS_AS(
        RedisClient(world.loop,
                    {.server = {.unix_path = std::string(200, 'x')}}),
        std::invalid_argument);
  }
}

TEST_CASE("RedisClient refuses what it cannot do, and changes nothing") {
  RedisWorld world;
  RedisClient& client = world.make_client();
  auto refusal = [&](const Texts& words) {
    return failure_of<std::invalid_argument>([&] {
      client.command(words, world.note());
      return 0;
    });
  };
  CHECK(refusal({}) == "command: has no words");
  for (const char* name :
       {"SUBSCRIBE", "psubscribe", "SSubscribe", "UNSUBSCRIBE", "PUNSUBSCRIBE",
        "SUNSUBSCRIBE", "monitor", "SYNC", "PSYNC", "HELLO", "reset"}) {
    CHECK(refusal({name, "3"}) == std::string("command: ") + name +
                                      ": changes what the connection is for");
  }
  CHECK(contains(refusal({"client", "reply", "off"}), "changes what"));
  CHECK_THROWS_AS(client.command({"PING"}, nullptr), std::invalid_argument);
  CHECK_THROWS_AS(client.subscribe("a", world.note_message(), nullptr),
                  std::invalid_argument);
  CHECK(client.unanswered() == 0);
  CHECK_FALSE(client.connected());
  client.close();
  CHECK_THROWS_AS(client.command({"PING"}, world.note()), std::logic_error);
  CHECK_THROWS_AS(client.unsubscribe("a", world.note()), std::logic_error);
}

TEST_CASE("RedisClient refuses a host that can be none with the first call") {
  RedisWorld world;
  RedisClient client(world.loop, {.server = {.host = "a:b"}});
  for (int i = 0; i < 2; i++) {
    CHECK_THROWS_AS(client.command({"PING"}, world.note()),
                    std::invalid_argument);
    CHECK_THROWS_AS(client.subscribe("a", world.note_message(), world.note()),
                    std::invalid_argument);
  }
  CHECK(client.unanswered() == 0);
}

TEST_CASE("RedisClient refuses options that mean nothing") {
  RedisWorld world;
  const std::vector<RedisClient::Options> refused = {
      {.user = "u"},
      {.database = -1},
      {.connect_timeout = -1s},
      {.command_timeout = -1s},
      {.first_delay = 0s},
      {.longest_delay = 0s},
  };
  for (const RedisClient::Options& options : refused) {
    CHECK_THROWS_AS(RedisClient(world.loop, options), std::invalid_argument);
  }
}

TEST_CASE("RedisClient bounds the commands that wait for a connection") {
  RedisWorld world;
  RedisClient& client = world.make_client({.max_waiting = 2});
  for (int i = 0; i < 4; i++) {
    client.command({"GET"}, world.note());
  }
  CHECK(world.replies.empty());  // never inside the call
  world.run_until_replies(2);
  const std::string reason =
      "failure: not sent: 2 commands wait for a connection";
  CHECK(world.replies == Texts{reason, reason});
  world.server.listen();
  world.run_until_replies(4);
  CHECK(world.replies == Texts{reason, reason, "OK", "OK"});
}

TEST_CASE("RedisClient bounds the bytes that wait to be sent") {
  RedisWorld world;
  RedisClient& client = world.make_client({.max_unsent_bytes = 1000});
  const std::string large(600, 'x');
  client.command({"SET", large}, world.note());
  client.command({"SET", large}, world.note());
  client.command({"SET", std::string(2000, 'x')}, world.note());
  client.command({"PING"}, world.note());
  world.run_until_replies(2);
  CHECK(world.replies[0] ==
        "failure: not sent: more than 1000 bytes would wait to be sent");
  CHECK(world.replies[1] == world.replies[0]);
  world.server.listen();
  world.run_until_replies(4);
  CHECK(world.server.commands == Texts{"SET " + large, "PING"});
  // There is room again.
  client.command({"SET", large}, world.note());
  world.run_until_replies(5);
  CHECK(world.replies.back() == "OK");
}

TEST_CASE("RedisClient fails a command that waits too long to be sent") {
  VirtualClock clock;
  RedisWorld world(clock.options());
  RedisClient& client = world.make_client();
  client.command({"A"}, {.timeout = 2s}, world.note());
  client.command({"B"}, {.timeout = 1s}, world.note());
  client.command({"C"}, world.note());
  world.run_until_replies(2);
  CHECK(clock.elapsed() >= 2s);
  CHECK(clock.elapsed() < 3s);
  CHECK(world.replies == Texts{"failure: no connection within 1 s",
                               "failure: no connection within 2 s"});
  world.server.listen();
  world.run_until_replies(3);
  CHECK(world.server.commands == Texts{"C"});
}

TEST_CASE("RedisClient takes a reply that is overdue for a lost connection") {
  VirtualClock clock;
  RedisWorld world(clock.options());
  world.server.listen();
  RedisClient& client = world.make_client({.command_timeout = 5s});
  world.server.answer = [](const std::string& command) {
    return command == "FAST" || command == "AGAIN" ? "+OK\r\n" : "";
  };
  client.command({"FAST"}, world.note());
  client.command({"SLOW"}, world.note());
  client.command({"NEXT"}, {.timeout = 0s}, world.note());
  world.run_until_replies(3);
  const std::string reason = kLost + "no reply within 5 s";
  CHECK(world.replies == Texts{"OK", reason, reason});
  CHECK(world.lost == Texts{"no reply within 5 s"});
  CHECK(clock.elapsed() >= 5s);
  client.command({"AGAIN"}, world.note());
  world.run_until_replies(4);
  CHECK(world.replies.back() == "OK");
  CHECK(world.server.connections() == 2);
}

TEST_CASE("the time of a reply begins when the command is sent") {
  VirtualClock clock;
  RedisWorld world(clock.options());
  world.server.answer = nothing;
  RedisClient& client =
      world.make_client({.first_delay = 1h, .longest_delay = 1h});
  client.command({"SLOW"}, {.timeout = 2h}, world.note());
  world.on_lost = [&] { world.loop.stop(); };
  world.loop.run();
  world.on_lost = nullptr;
  world.server.listen();
  world.run_until_replies(1);
  CHECK(world.replies == Texts{kLost + "no reply within 7200 s"});
  CHECK(clock.elapsed() >= 2h + 30min);
}

TEST_CASE("without retry a connection has its own time, not a command's") {
  VirtualClock clock;
  RedisWorld world(clock.options());
  world.server.listen();
  world.server.answer = nothing;
  RedisClient& client = world.make_client({.password = "p",
                                           .connect_timeout = 1min,
                                           .command_timeout = 1s,
                                           .retry = false});
  client.command({"PING"}, world.note());
  world.run_until_replies(1);
  CHECK(world.replies == Texts{"failure: AUTH: no reply in time"});
  CHECK(clock.elapsed() >= 1min);
}

TEST_CASE("RedisClient keeps a connection whose replies come in time") {
  VirtualClock clock;
  RedisWorld world(clock.options());
  world.server.listen();
  RedisClient& client = world.make_client({.command_timeout = 5s});
  client.command({"PING"}, world.note());
  world.run_until_replies(1);
  world.loop->call_later(1h, [&] { world.loop.stop(); });
  world.loop.run();
  CHECK(client.connected());
  CHECK(world.lost.empty());
}

TEST_CASE("RedisClient runs a callback in the context it was made in") {
  RedisWorld world;
  world.server.listen();
  RedisClient& client = world.make_client();
  Texts inside;
  const std::string* current = nullptr;
  auto ask = [&](const std::string& name) {
    const StackContext context([&current, name] {
      struct Name {
        Name(const std::string*& slot, std::string text)
            : slot_(slot), text_(std::move(text)) {
          slot_ = &text_;
        }
        ~Name() { slot_ = nullptr; }
        const std::string*& slot_;
        const std::string text_;
      };
      return std::make_unique<Name>(current, name);
    });
    client.command({"PING"}, [&](const Reply&) {
      inside.push_back(current == nullptr ? "none" : *current);
    });
  };
  ask("first");  // makes the connection
  ask("second");
  client.command({"PING"}, [&](const Reply&) {
    inside.push_back(current == nullptr ? "none" : *current);
  });
  world.loop.run_until([&] { return inside.size() == 3; });
  CHECK(inside == Texts{"first", "second", "none"});
}

TEST_CASE("an exception of a reply's callback goes to its context") {
  RedisWorld world;
  world.server.listen();
  RedisClient& client = world.make_client();
  std::string caught;
  {
    const ExceptionStackContext context([&](const std::exception_ptr& error) {
      caught = waterspout::describe_exception(error);
      return true;
    });
    client.command({"PING"},
                   [](const Reply&) { throw std::runtime_error("mine"); });
  }
  client.command({"PING"}, world.note());
  world.run_until_replies(1);
  CHECK(contains(caught, "mine"));
  CHECK(world.replies == Texts{"OK"});
  CHECK(client.connected());
}

TEST_CASE("an exception that nobody handles closes the connection") {
  RedisWorld world;
  world.server.listen();
  RedisClient& client = world.make_client();
  world.loop.expect_log(LogLevel::error, "mine");
  client.command({"A"}, [](const Reply&) { throw std::runtime_error("mine"); });
  client.command({"B"}, world.note());
  world.run_until_replies(1);
  CHECK(contains(world.replies.front(), kLost));
  CHECK(world.loop.failures.size() == 1);
  client.command({"C"}, world.note());
  world.run_until_replies(2);
  CHECK(world.replies.back() == "OK");
}

TEST_CASE("RedisClient::close drops all callbacks and what they hold") {
  const Token token;
  RedisWorld world;
  world.server.answer = nothing;
  RedisClient& client = world.make_client({.max_waiting = 3});
  auto hold = [&](std::size_t count) {
    for (std::size_t i = 0; i < count; i++) {
      client.command({"GET"},
                     [held = token.copy()](const Reply&) { CHECK(false); });
    }
  };
  SUBCASE("while commands wait, or are about to fail") { hold(5); }
  SUBCASE("while replies are to come") {
    world.server.listen();
    hold(3);
    world.loop.run_until([&] { return world.server.commands.size() == 3; });
    hold(1);
  }
  SUBCASE("of subscriptions") {
    world.server.listen();
    client.subscribe(
        "a", [held = token.copy()](const redis_client::Message&) {},
        [held = token.copy()](const Reply&) {});
    world.loop.run_until([&] { return !world.server.commands.empty(); });
  }
  CHECK(token.alive() > 0);
  client.close();
  CHECK(token.alive() == 0);
  CHECK(client.unanswered() == 0);
  client.close();
  world.loop.run_turns(3);
}

TEST_SUITE_END();
