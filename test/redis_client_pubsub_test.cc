// RedisClient of the sample redis_client: subscriptions and MONITOR.

#include <chrono>
#include <cstddef>
#include <stdexcept>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "redis_client/client.h"
#include "support/redis_replies.h"
#include "support/redis_world.h"
#include "support/stream_helpers.h"

using redis_client::Message;
using redis_client::RedisClient;
using redis_client::Reply;
using waterspout::test::bulk_bytes;
using waterspout::test::contains;
using waterspout::test::RedisWorld;
using waterspout::test::Token;

namespace {

using namespace std::chrono_literals;
using Texts = std::vector<std::string>;

std::string message(const std::string& channel, const std::string& payload) {
  return "*3\r\n" + bulk_bytes("message") + bulk_bytes(channel) +
         bulk_bytes(payload);
}

std::string pmessage(const std::string& pattern, const std::string& channel,
                     const std::string& payload) {
  return "*4\r\n" + bulk_bytes("pmessage") + bulk_bytes(pattern) +
         bulk_bytes(channel) + bulk_bytes(payload);
}

// A server that counts subscriptions as Redis does.
struct PubSubWorld : RedisWorld {
  PubSubWorld() {
    server.listen();
    server.answer = [this](const std::string& command) {
      const std::size_t blank = command.find(' ');
      std::string name = command.substr(0, blank);
      if (!contains(name, "SUBSCRIBE")) {
        return std::string("+OK\r\n");
      }
      count += !contains(name, "UNSUBSCRIBE") ? 1 : count > 0 ? -1 : 0;
      for (char& c : name) {
        c = static_cast<char>(c | ' ');
      }
      return "*3\r\n" + bulk_bytes(name) +
             bulk_bytes(command.substr(blank + 1)) + ":" +
             std::to_string(count) + "\r\n";
    };
  }

  void run_until_messages(std::size_t wanted) {
    loop.run_until([&] { return messages.size() >= wanted; });
  }

  int count = 0;
};

}  // namespace

TEST_SUITE_BEGIN("redis_client_pubsub");

TEST_CASE("RedisClient tells messages to those who have subscribed") {
  PubSubWorld world;
  RedisClient& client = world.make_client();
  Texts others;
  client.subscribe("news", world.note_message(), world.note());
  client.psubscribe("n*", world.note_message(), world.note());
  client.subscribe(
      "other", [&](const Message& got) { others.push_back(got.payload); },
      world.note());
  world.run_until_replies(3);
  CHECK(world.replies.front() ==
        "1) \"subscribe\"\n2) \"news\"\n3) (integer) 1");
  world.server.send(message("news", "1") + pmessage("n*", "news", "1") +
                    message("other", "2") + message("nobody's", "3") +
                    pmessage("n*", "nine", "4"));
  world.run_until_messages(3);
  CHECK(world.messages == Texts{"news: 1", "n* news: 1", "n* nine: 4"});
  CHECK(others == Texts{"2"});
  CHECK(world.server.commands ==
        Texts{"SUBSCRIBE news", "PSUBSCRIBE n*", "SUBSCRIBE other"});
}

TEST_CASE("RedisClient tells no message after unsubscribe") {
  PubSubWorld world;
  RedisClient& client = world.make_client();
  const Token token;
  client.subscribe(
      "a",
      [&, held = token.copy()](const Message&) {
        client.unsubscribe("a", world.note());
        world.messages.push_back("a");
      },
      world.note());
  world.run_until_replies(1);
  world.server.send(message("a", "1") + message("a", "2"));
  world.run_until_replies(2);
  CHECK(world.messages == Texts{"a"});
  CHECK(token.alive() == 0);
  CHECK(contains(world.replies.back(), "3) (integer) 0"));
  // Commands are possible again, and so is the subscription.
  client.command({"GET"}, world.note());
  client.subscribe("a", world.note_message(), world.note());
  world.run_until_replies(4);
  CHECK(world.replies[2] == "OK");
  world.server.send(message("a", "3"));
  world.run_until_messages(2);
  CHECK(world.messages.back() == "a: 3");
}

TEST_CASE("a reply that looks like a message is a reply") {
  PubSubWorld world;
  RedisClient& client = world.make_client();
  const std::string looks = message("a", "b");
  auto answer = world.server.answer;
  world.server.answer = [&](const std::string& command) {
    return command == "LRANGE" ? looks : answer(command);
  };
  // Before a subscription is in force, and after it.
  client.command({"LRANGE"}, world.note());
  client.subscribe("a", world.note_message(), world.note());
  client.unsubscribe("a", world.note());
  client.command({"LRANGE"}, world.note());
  world.run_until_replies(4);
  CHECK(world.messages.empty());
  CHECK(world.replies.front() == "1) \"message\"\n2) \"a\"\n3) \"b\"");
  CHECK(world.replies.back() == world.replies.front());
}

TEST_CASE("there is one subscription to a channel") {
  PubSubWorld world;
  RedisClient& client = world.make_client();
  client.subscribe("a", world.note_message(), world.note());
  CHECK_THROWS_AS(client.subscribe("a", world.note_message(), world.note()),
                  std::logic_error);
  // A pattern of the same name is something else.
  client.psubscribe("a", world.note_message(), world.note());
  world.run_until_replies(2);
  CHECK(world.server.commands == Texts{"SUBSCRIBE a", "PSUBSCRIBE a"});
}

TEST_CASE("a subscription that was refused is none") {
  PubSubWorld world;
  auto answer = world.server.answer;
  world.server.answer = [](const std::string&) {
    return "-NOPERM this user has no permissions\r\n";
  };
  const Token token;
  RedisClient& client = world.make_client();
  client.subscribe(
      "a", [held = token.copy()](const Message&) {}, world.note());
  world.run_until_replies(1);
  CHECK(world.replies == Texts{"(error) NOPERM this user has no permissions"});
  CHECK(token.alive() == 0);
  world.server.answer = answer;
  client.subscribe("a", world.note_message(), world.note());
  world.run_until_replies(2);
  CHECK(contains(world.replies.back(), "(integer) 1"));
}

TEST_CASE("a subscription that could not be asked for is none") {
  RedisWorld world;
  const Token token;
  RedisClient& client = world.make_client({.retry = false});
  client.subscribe(
      "a", [held = token.copy()](const Message&) {}, world.note());
  world.run_until_replies(1);
  CHECK(contains(world.replies.front(), "failure: connect: "));
  CHECK(token.alive() == 0);
  CHECK(world.lost.size() == 1);
  world.loop.run_turns(3);  // nothing tries again
  CHECK(world.lost.size() == 1);
}

TEST_CASE("a subscription does not end with an earlier one that failed") {
  PubSubWorld world;
  RedisClient& client = world.make_client({.first_delay = 1ms});
  auto answer = world.server.answer;
  world.server.answer = [&](const std::string&) {
    world.server.close_all();
    return "";
  };
  world.on_lost = [&] {  // before the first one hears of it
    world.server.answer = answer;
    client.unsubscribe("a", world.note());
    client.subscribe("a", world.note_message(), world.note());
  };
  client.subscribe(
      "a", [](const Message&) { CHECK(false); }, world.note());
  world.run_until_replies(3);
  CHECK(contains(world.replies.front(), "failure: connection lost"));
  world.server.send(message("a", "1"));
  world.run_until_messages(1);
  CHECK(world.messages == Texts{"a: 1"});
}

TEST_CASE("subscriptions are made again with the connection") {
  for (const bool retry : {false, true}) {
    CAPTURE(retry);
    PubSubWorld world;
    RedisClient& client = world.make_client(
        {.password = "p", .retry = retry, .first_delay = 1ms});
    client.subscribe("a", world.note_message(), world.note());
    client.psubscribe("b*", world.note_message(), world.note());
    client.subscribe("gone", world.note_message(), world.note());
    client.unsubscribe("gone", world.note());
    world.run_until_replies(4);
    world.server.commands.clear();
    world.server.close_all();
    world.count = 0;
    world.loop.run_until([&] { return world.server.commands.size() == 3; });
    CHECK(world.server.commands ==
          Texts{"AUTH p", "SUBSCRIBE a", "PSUBSCRIBE b*"});
    world.server.send(message("a", "1") + pmessage("b*", "bc", "2"));
    world.run_until_messages(2);
    CHECK(world.messages == Texts{"a: 1", "b* bc: 2"});
    CHECK(world.replies.size() == 4);
    CHECK(client.connected());
  }
}

TEST_CASE("messages may come before all subscriptions are made again") {
  PubSubWorld world;
  RedisClient& client = world.make_client({.first_delay = 1ms});
  client.subscribe("a", world.note_message(), world.note());
  client.subscribe("b", world.note_message(), world.note());
  world.run_until_replies(2);
  world.server.close_all();
  world.count = 0;
  auto answer = world.server.answer;
  world.server.answer = [&](const std::string& command) {
    return answer(command) + message("a", command);
  };
  world.run_until_messages(2);
  CHECK(world.messages == Texts{"a: SUBSCRIBE a", "a: SUBSCRIBE b"});
  CHECK(client.connected());
}

TEST_CASE("RedisClient::monitor tells every line, and nothing else goes") {
  PubSubWorld world;
  RedisClient& client = world.make_client({.first_delay = 1ms});
  client.command({"GET"}, world.note());
  client.monitor(world.note_message(), world.note());
  CHECK_THROWS_AS(client.command({"GET"}, world.note()), std::logic_error);
  CHECK_THROWS_AS(client.subscribe("a", world.note_message(), world.note()),
                  std::logic_error);
  world.run_until_replies(2);
  CHECK(world.replies == Texts{"OK", "OK"});
  world.server.send("+1.5 \"PING\"\r\n+OK\r\n");
  world.run_until_messages(2);
  CHECK(world.messages == Texts{": 1.5 \"PING\"", ": OK"});

  // Also on the next connection.
  world.server.commands.clear();
  world.server.close_all();
  world.loop.run_until([&] { return !world.server.commands.empty(); });
  CHECK(world.server.commands == Texts{"MONITOR"});
  world.server.send("+2.5 \"PING\"\r\n");
  world.run_until_messages(3);
  CHECK(world.messages.back() == ": 2.5 \"PING\"");
}

TEST_CASE("RedisClient::monitor goes with no subscription") {
  PubSubWorld world;
  RedisClient& client = world.make_client();
  client.subscribe("a", world.note_message(), world.note());
  CHECK_THROWS_AS(client.monitor(world.note_message(), world.note()),
                  std::logic_error);
  world.run_until_replies(1);
}

TEST_SUITE_END();
