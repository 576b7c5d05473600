// A RedisClient of the sample and the server that it talks to, on one loop.

#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "redis_client/client.h"
#include "redis_client/format.h"
#include "support/loop_fixture.h"
#include "support/scripted_redis.h"
#include "support/text.h"

namespace waterspout::test {

/// A reply in one line: "OK", "(error) ERR no", "failure: why".
inline std::string text_of(const redis_client::Reply& reply) {
  if (reply.kind == redis_client::Reply::Kind::failure) {
    return "failure: " + reply.text;
  }
  std::string text = redis_client::format_typed(reply);
  text.pop_back();
  return text;
}

struct RedisWorld {
  using Client = redis_client::RedisClient;

  explicit RedisWorld(IOLoop::Options options = {})
      : loop(std::move(options)), server(loop) {
    loop.bound_turns(1'000'000);
  }

  /// Makes the client; the options say nothing of where the server is.
  Client& make_client(Client::Options options = {}) {
    options.server.port = server.port();
    options.on_lost = [this](const std::string& reason) {
      lost.push_back(reason);
      if (on_lost) {
        on_lost();
      }
    };
    return client.emplace(loop, std::move(options));
  }

  /// A callback that adds what came to `replies`.
  [[nodiscard]] auto note() {
    return [this](const redis_client::Reply& reply) {
      replies.push_back(text_of(reply));
      if (replies.size() == wanted_) {
        loop.stop();
      }
    };
  }

  /// The same for messages: "channel: payload", "pattern channel: payload".
  [[nodiscard]] auto note_message() {
    return [this](const redis_client::Message& message) {
      messages.push_back(message.pattern +
                         (message.pattern.empty() ? "" : " ") +
                         message.channel + ": " + message.payload);
    };
  }

  /// Runs the loop until there are `count` replies: in virtual time, not a turn
  /// longer.
  void run_until_replies(std::size_t count) {
    if (replies.size() < count) {
      wanted_ = count;
      loop.run();
    }
    CHECK(replies.size() >= count);
  }

  using Texts = std::vector<std::string>;

  Texts replies;
  Texts messages;
  Texts lost;  // what on_lost was told
  std::function<void()> on_lost;
  LoopFixture loop;
  ScriptedRedis server;
  std::optional<Client> client;  // first to go

 private:
  std::size_t wanted_ = 0;
};

/// For ScriptedRedis::answer: none.
inline std::string nothing(const std::string& /*command*/) { return ""; }

/// What a command gets whose connection went while it was unanswered.
inline const std::string kLost =
    "failure: connection lost, the command may have been executed: ";

}  // namespace waterspout::test
