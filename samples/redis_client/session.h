// What the program does: commands from somewhere, replies to standard output.

#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "waterspout/ioloop.h"

#include "redis_client/client.h"
#include "redis_client/input.h"
#include "redis_client/options.h"
#include "redis_client/output.h"
#include "redis_client/resp.h"

namespace redis_client {

/// Lifetime: the callbacks that it gives to its own members capture `this`;
/// they run inside run().
class Session {
 public:
  /// `options` outlive it.
  /// Errors: throws what a RedisClient and an SSLContext throw for options that
  ///   they cannot use.
  explicit Session(const Options& options);

  /// Gives the program's exit status.
  [[nodiscard]] int run();

 private:
  using Words = std::vector<std::string>;

  enum class State {
    running,
    ending,  // no more commands; replies are still to come
    over,
  };

  void begin();
  void send_repeats();
  void on_line(std::string_view line);
  void execute(const Words& words);
  void subscribe(const Words& words);
  void unsubscribe(const Words& words);
  void monitor();

  void on_reply(const Reply& reply);
  void on_subscription(const Reply& reply);
  void on_message(const Message& message);
  void on_lost(const std::string& reason) const;
  void go_on();
  void show(const Reply& reply);
  void fail(std::string_view reason);
  void prompt();
  void end();
  void stop();

  [[nodiscard]] bool interactive() const { return options_.command.empty(); }
  [[nodiscard]] bool keeps_up() const;

  const Options& options_;
  std::string (&format_)(const Reply& reply);
  const std::string prompt_;  // empty: none
  waterspout::IOLoop loop_;
  Output output_;
  Input input_;
  RedisClient client_;
  std::uint64_t repeats_;  // still to be sent
  State state_ = State::running;
  bool listening_ = false;  // to what others publish, or do
  bool failed_ = false;
};

}  // namespace redis_client
