// RedisClient of the sample redis_client: how connections begin and end, and
// the client itself at any of these moments.

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "redis_client/client.h"
#include "support/redis_world.h"
#include "support/stream_helpers.h"
#include "support/virtual_clock.h"

using redis_client::Message;
using redis_client::RedisClient;
using redis_client::Reply;
using waterspout::test::contains;
using waterspout::test::kLost;
using waterspout::test::nothing;
using waterspout::test::RedisWorld;
using waterspout::test::Token;
using waterspout::test::VirtualClock;

namespace {

using namespace std::chrono_literals;
using Texts = std::vector<std::string>;

const std::string kClosed = "the server closed the connection";

}  // namespace

TEST_SUITE_BEGIN("redis_client_reconnect");

TEST_CASE("RedisClient tries again until there is a server, less and less") {
  VirtualClock clock;
  RedisWorld world(clock.options());
  std::vector<waterspout::Duration> times;
  world.on_lost = [&] {
    times.push_back(clock.elapsed());
    if (times.size() == 6) {
      world.loop.stop();
    }
  };
  RedisClient& client =
      world.make_client({.first_delay = 1s, .longest_delay = 5s});
  client.command({"PING"}, world.note());
  world.loop.run();
  const std::vector<waterspout::Duration> longest = {1s, 2s, 4s, 5s, 5s};
  CHECK(times[0] == 0s);
  for (std::size_t i = 0; i < longest.size(); i++) {
    CHECK(times[i + 1] - times[i] >= longest[i] / 2);
    CHECK(times[i + 1] - times[i] <= longest[i] + 1ms);
  }
  CHECK(contains(world.lost.back(), ": Connection refused"));
  CHECK(world.replies.empty());
  world.server.listen();
  world.run_until_replies(1);
  CHECK(world.replies == Texts{"OK"});

  // A reply ends the series: the next delay is a short one.
  const auto before = clock.elapsed();
  world.server.answer = [&](const std::string&) {
    world.server.close_all();
    world.server.answer = world.server.ok;
    return "";
  };
  client.command({"GET"}, world.note());
  client.command({"NEXT"}, world.note());
  world.run_until_replies(3);
  client.command({"LAST"}, world.note());
  world.run_until_replies(4);
  CHECK(world.replies.back() == "OK");
  CHECK(clock.elapsed() - before <= 1s + 1ms);
}

TEST_CASE("RedisClient without retry fails commands with the first attempt") {
  RedisWorld world;
  RedisClient& client = world.make_client({.retry = false});
  client.command({"A"}, world.note());
  client.command({"B"}, world.note());
  world.run_until_replies(2);
  const std::string address =
      "127.0.0.1:" + std::to_string(world.server.port());
  CHECK(contains(world.replies[0], "failure: connect: " + address));
  CHECK(contains(world.replies[0], "Connection refused"));
  CHECK(world.replies[1] == world.replies[0]);
  CHECK(world.lost.size() == 1);
  // The next one is a new attempt.
  world.server.listen();
  client.command({"C"}, world.note());
  world.run_until_replies(3);
  CHECK(world.replies[2] == "OK");
}

TEST_CASE("a lost connection fails what was sent, also in a reply's middle") {
  RedisWorld world;
  world.server.listen();
  world.server.answer = nothing;
  RedisClient& client = world.make_client();
  for (const char* name : {"A", "B", "C"}) {
    client.command({name}, world.note());
  }
  world.loop.run_until([&] { return world.server.commands.size() == 3; });
  world.server.send("+OK\r\n$5\r\nhel");
  world.server.close_all();
  world.run_until_replies(3);
  CHECK(world.replies == Texts{"OK", kLost + kClosed, kLost + kClosed});
  CHECK(world.lost == Texts{kClosed});
  CHECK_FALSE(client.connected());
  CHECK(world.server.connections() == 1);
}

TEST_CASE("replies that came before the end of the connection count") {
  RedisWorld world;
  world.server.listen();
  world.server.answer = [&](const std::string& command) {
    if (command == "QUIT") {
      world.server.send("+OK\r\n");
      world.server.close_all();
    }
    return command == "QUIT" ? "" : "+" + command + "\r\n";
  };
  RedisClient& client = world.make_client();
  client.command({"A"}, world.note());
  client.command({"QUIT"}, world.note());
  world.run_until_replies(2);
  CHECK(world.replies == Texts{"A", "OK"});
}

TEST_CASE("what is no RESP2 closes the connection, and says why") {
  const std::vector<std::pair<std::string, std::string>> examples = {
      {"HTTP/1.1 400 Bad Request\r\n", "protocol error: a reply begins with"},
      {"%1\r\n", "protocol error: a reply begins with '%'"},
      {"$5\r\nhello!\r\n", "protocol error: a bulk string of 5 bytes is"},
      {"$99999999999\r\n", "protocol error: a reply of more than"},
      {"*-7\r\n", "protocol error: '-7' is no length"},
      {"+OK\r\n+OK\r\n", "a reply to nothing: OK"},
  };
  for (const auto& example : examples) {
    const std::string& bytes = example.first;
    CAPTURE(bytes);
    RedisWorld world;
    world.server.listen();
    world.server.answer = [&](const std::string&) { return bytes; };
    world.on_lost = [&] { world.loop.stop(); };
    RedisClient& client = world.make_client();
    client.command({"PING"}, [](const Reply&) {});
    world.loop.run();
    CHECK(contains(world.lost.front(), example.second));
    world.server.answer = world.server.ok;
    client.command({"PING"}, world.note());
    world.run_until_replies(1);
    CHECK(world.server.connections() == 2);
  }
}

TEST_CASE("a refusal that comes before any command is told") {
  RedisWorld world;
  world.server.listen();
  world.server.answer = nothing;
  world.on_lost = [&] { world.loop.stop(); };
  RedisClient& client = world.make_client();
  client.command({"PING"}, {.timeout = 0s}, world.note());
  world.loop.run_until([&] { return !world.server.commands.empty(); });
  world.server.send("+PONG\r\n-ERR you are no longer welcome\r\n");
  world.loop.run();
  CHECK(world.lost ==
        Texts{"a reply to nothing: ERR you are no longer welcome"});
}

TEST_CASE("every connection begins with AUTH and SELECT") {
  RedisWorld world;
  world.server.listen();
  RedisClient& client =
      world.make_client({.user = "me", .password = "pa ss", .database = 7});
  client.command({"GET"}, world.note());
  world.run_until_replies(1);
  const Texts first = {"AUTH me pa ss", "SELECT 7", "GET"};
  CHECK(world.server.commands == first);
  world.server.close_all();
  world.loop.run_until([&] { return !client.connected(); });
  client.command({"GET"}, world.note());
  world.run_until_replies(2);
  Texts twice = first;
  twice.insert(twice.end(), first.begin(), first.end());
  CHECK(world.server.commands == twice);
  CHECK(world.replies == Texts{"OK", "OK"});
}

TEST_CASE("AUTH without a user has a password alone") {
  RedisWorld world;
  world.server.listen();
  world.make_client({.password = "p"}).command({"GET"}, world.note());
  world.run_until_replies(1);
  CHECK(world.server.commands == Texts{"AUTH p", "GET"});
}

TEST_CASE("nothing is sent to a server that refuses AUTH or SELECT") {
  for (const bool retry : {false, true}) {
    CAPTURE(retry);
    RedisWorld world;
    world.server.listen();
    world.server.answer = [](const std::string& command) {
      return command == "SELECT 9" ? "-ERR DB index is out of range\r\n"
                                   : "+OK\r\n";
    };
    RedisClient& client =
        world.make_client({.password = "p", .database = 9, .retry = retry});
    client.command({"A"}, world.note());
    client.command({"B"}, world.note());
    world.run_until_replies(2);
    const std::string reason = "SELECT: ERR DB index is out of range";
    CHECK(world.replies == Texts{"failure: " + reason, "failure: " + reason});
    CHECK(world.lost == Texts{reason});
    CHECK(world.server.commands == Texts{"AUTH p", "SELECT 9"});
    // Somebody mends it.
    world.server.answer = world.server.ok;
    client.command({"C"}, world.note());
    world.run_until_replies(3);
    CHECK(world.replies.back() == "OK");
  }
}

TEST_CASE("a server that does not answer AUTH is given up") {
  VirtualClock clock;
  RedisWorld world(clock.options());
  world.server.listen();
  world.server.answer = nothing;
  RedisClient& client = world.make_client(
      {.password = "p", .connect_timeout = 3s, .retry = false});
  client.command({"A"}, world.note());
  world.run_until_replies(1);
  CHECK(world.replies == Texts{"failure: AUTH: no reply in time"});
  CHECK(clock.elapsed() >= 3s);
}

TEST_CASE("commands of the time between two connections are kept") {
  RedisWorld world;
  world.server.listen();
  RedisClient& client = world.make_client();
  client.command({"A"}, world.note());
  world.run_until_replies(1);
  bool asked = false;
  world.on_lost = [&] {
    client.command({"B"}, world.note());
    client.command({"C"}, world.note());
    asked = true;
  };
  world.server.close_all();
  world.loop.run_until([&] { return asked; });
  world.run_until_replies(3);
  CHECK(world.replies == Texts{"OK", "OK", "OK"});
  CHECK(world.server.commands == Texts{"A", "B", "C"});
}

TEST_CASE("a failed command may be repeated by its callback") {
  RedisWorld world;
  world.server.listen();
  world.server.answer = [&](const std::string&) {
    world.server.close_all();
    return "";
  };
  RedisClient& client = world.make_client({.first_delay = 1ms});
  int attempts = 0;
  std::function<void(const Reply&)> again = [&](const Reply& reply) {
    attempts++;
    if (attempts == 3) {
      world.server.answer = world.server.ok;
    }
    if (reply.ok()) {
      world.loop.stop();
    } else {
      client.command({"INCR"}, again);
    }
  };
  client.command({"INCR"}, again);
  world.loop.run();
  CHECK(attempts == 4);
}

// The client ends in every state, by close() and by its destructor, and what
// its callbacks hold is let go.
TEST_CASE("RedisClient may end at any moment") {
  struct Moment {
    std::string name;
    std::function<void(RedisWorld&)> reach;
  };
  const std::vector<Moment> moments = {
      {"idle", [](RedisWorld&) {}},
      {"connecting",
       [](RedisWorld& world) { world.client->command({"A"}, world.note()); }},
      {"a turn into connecting",
       [](RedisWorld& world) {
         world.client->command({"A"}, world.note());
         world.loop.run_turns(1);
       }},
      {"setting up",
       [](RedisWorld& world) {
         world.server.listen();
         world.server.answer = nothing;
         world.client->command({"A"}, world.note());
         world.loop.run_until([&] { return !world.server.commands.empty(); });
         CHECK(world.server.commands == Texts{"AUTH p"});
       }},
      {"waiting for a reply",
       [](RedisWorld& world) {
         world.server.listen();
         world.server.answer = [](const std::string& command) {
           return command == "A" ? "" : "+OK\r\n";
         };
         world.client->command({"A"}, world.note());
         world.loop.run_until([&] { return world.client->connected(); });
       }},
      {"backing off",
       [](RedisWorld& world) {
         world.client->command({"A"}, world.note());
         world.loop.run_until([&] { return !world.lost.empty(); });
       }},
      {"about to fail a command",
       [](RedisWorld& world) {
         world.client->command({"A", std::string(2000, 'x')}, world.note());
       }},
  };
  for (const Moment& moment : moments) {
    for (const bool destroy : {false, true}) {
      CAPTURE(moment.name);
      CAPTURE(destroy);
      const Token token;
      RedisWorld world;
      RedisClient& client = world.make_client({.password = "p",
                                               .first_delay = 1h,
                                               .longest_delay = 1h,
                                               .max_unsent_bytes = 1000});
      moment.reach(world);
      client.command({"LAST"}, {.timeout = 1h},
                     [held = token.copy()](const Reply&) { CHECK(false); });
      destroy ? world.client.reset() : client.close();
      CHECK(token.alive() == 0);
      world.loop.run_turns(3);
      CHECK(world.replies.empty());
    }
  }
}

TEST_CASE("RedisClient may end in each of its callbacks") {
  for (const bool destroy : {false, true}) {
    CAPTURE(destroy);
    const Token token;
    RedisWorld world;
    world.server.listen();
    RedisClient& client = world.make_client({.first_delay = 1ms});
    auto end = [&, held = token.copy()] {
      destroy ? world.client.reset() : client.close();
      world.loop.stop();
    };
    auto never = [held = token.copy()](const Reply&) { CHECK(false); };
    SUBCASE("a reply, with more behind it") {
      world.server.answer = [](const std::string& command) {
        return command == "A" ? "+1\r\n+2\r\n+3\r\n" : "";
      };
      client.command({"A"}, [end](const Reply&) { end(); });
      client.command({"B"}, never);
    }
    SUBCASE("a failure, with more behind it") {
      world.server.answer = [&](const std::string&) {
        world.server.close_all();
        return "";
      };
      client.command({"A"}, [end](const Reply&) { end(); });
      client.command({"B"}, never);
    }
    SUBCASE("a message, with more behind it") {
      world.server.answer = [](const std::string&) {
        return "*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n"
               "*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\n1\r\n"
               "*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\n2\r\n";
      };
      client.subscribe(
          "a", [end](const Message&) { end(); }, [](const Reply&) {});
    }
    SUBCASE("on_lost") {
      world.server.answer = [&](const std::string&) {
        world.server.close_all();
        return "";
      };
      world.on_lost = end;
      client.command({"A"}, never);
    }
    SUBCASE("a timeout") {
      world.server.answer = [](const std::string& command) {
        return command == "PING" ? "+PONG\r\n" : "";
      };
      world.on_lost = end;
      client.command({"PING"}, [&client, never](const Reply&) {
        client.command({"A"}, {.timeout = 1ms}, never);
      });
    }
    world.loop.run();
    CHECK(world.client.has_value() == !destroy);
    world.on_lost = nullptr;
    world.loop.run_turns(3);
  }
}

TEST_CASE("a callback may hold whoever owns the client") {
  RedisWorld world;
  world.server.listen();
  world.server.answer = nothing;
  auto owner = std::make_shared<std::optional<RedisClient>>();
  owner->emplace(world.loop,
                 RedisClient::Options{.server = {.port = world.server.port()}});
  (*owner)->command({"A"}, [owner](const Reply&) { CHECK(false); });
  world.loop.run_until([&] { return !world.server.commands.empty(); });
  const std::weak_ptr<std::optional<RedisClient>> watch = owner;
  RedisClient& client = **owner;
  owner.reset();
  CHECK_FALSE(watch.expired());
  client.close();
  CHECK(watch.expired());
}

TEST_SUITE_END();
