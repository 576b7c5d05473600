// RedisClient: an asynchronous client for Redis, by callbacks.
//
//   redis_client::RedisClient client(loop, {.server = {.host = "db"}});
//   client.command({"INCR", "visits"}, [&](const Reply& visits) {
//     client.command({"SET", "last", std::to_string(visits.integer)},
//                    [](const Reply&) { ... });
//   });
//   client.subscribe("news", [](const Message& message) { ... },
//                    [](const Reply&) {});
//
// It speaks RESP2, over TCP, TLS or a Unix domain socket.

#pragma once

#include <chrono>
#include <cstddef>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "waterspout/ioloop.h"
#include "waterspout/iostream.h"

#include "redis_client/backoff.h"
#include "redis_client/command_queue.h"
#include "redis_client/connection.h"
#include "redis_client/dialer.h"
#include "redis_client/resp.h"
#include "redis_client/subscriptions.h"

namespace redis_client {

/// One connection to a server, made when it is needed and made again when it is
/// lost; commands on it, any number at once, whose replies come in order.
///
/// Life: constructed -> (idle -> connecting -> open) any number of times ->
/// closed, by close() or by the destructor; both may run at any moment, also
/// inside a callback of this client. Its loop outlives it.
///
/// When a connection is lost, the commands that were sent on it fail: they may
/// have been executed or not, which only their sender knows how to find out.
/// Those that were not sent wait for the next connection. What the server keeps
/// for a connection is lost with it, but for what the options name and for
/// subscriptions, which are made again: a SELECT, a MULTI, a CLIENT SETNAME.
/// Messages that were published meanwhile are gone.
///
/// No callback runs inside the call that registered it, nor after close(). An
/// exception that leaves one, and that no context handles, closes the
/// connection and goes to IOLoop::handle_callback_exception.
class RedisClient {
 public:
  using Duration = waterspout::Duration;

  struct Options {
    Server server = {};

    // What every connection begins with.
    std::string user = {};      ///< AUTH; of no use without a password
    std::string password = {};  ///< AUTH; empty: none
    int database = 0;           ///< SELECT

    /// For a connection, AUTH and SELECT included.
    Duration connect_timeout = std::chrono::seconds(10);
    /// For each command, unless it says something else. Zero: no limit.
    Duration command_timeout = Duration::zero();

    /// True: while the server cannot be reached, commands wait, and it is tried
    /// again and again. False: they fail with the first attempt; only
    /// subscriptions are worth more of them.
    bool retry = true;
    Duration first_delay = std::chrono::milliseconds(100);
    Duration longest_delay = std::chrono::seconds(10);

    /// How many commands may wait for a connection.
    std::size_t max_waiting = 10'000;
    /// How many bytes of commands may wait to be sent.
    std::size_t max_unsent_bytes = std::size_t{1} << 30;

    /// Told why, whenever a connection is lost or cannot be made.
    std::function<void(const std::string& reason)> on_lost = {};
  };

  struct CommandOptions {
    /// How long it may wait for its reply, once it is sent, and before that
    /// for a connection. (Without `retry` that has its own time.) Zero: no
    /// limit.
    Duration timeout;
  };

  /// Errors: throws std::invalid_argument for options that can mean nothing.
  RedisClient(waterspout::IOLoop& loop, Options options);
  ~RedisClient() { close(); }

  RedisClient(const RedisClient&) = delete;
  RedisClient& operator=(const RedisClient&) = delete;

  /// Sends a command, behind all that was sent before, without waiting for any
  /// reply.
  ///
  /// A command whose time is up fails. If it was sent, all fail that wait for
  /// a reply, and the connection is closed: the server answers in order, so
  /// whatever holds up one reply holds up those behind it.
  /// Errors of this and of the calls below: throws std::invalid_argument for no
  ///   command at all, for one that does not have one reply (SUBSCRIBE and its
  ///   like are calls of their own), for an empty callback and for a host that
  ///   TCPClient::connect refuses; std::logic_error once the client is closed,
  ///   or monitors.
  void command(const std::vector<std::string>& arguments,
               ReplyCallback callback);
  void command(const std::vector<std::string>& arguments,
               CommandOptions options, ReplyCallback callback);

  // Subscriptions: `callback` is that of the command. If it fails there is no
  // subscription; otherwise `on_message` is called until there is none any
  // more. While there are some, the server takes no other commands.
  // Errors: also std::logic_error if there is that subscription already.
  void subscribe(const std::string& channel, MessageCallback on_message,
                 ReplyCallback callback);
  void psubscribe(const std::string& pattern, MessageCallback on_message,
                  ReplyCallback callback);

  /// From now on there are no more messages.
  void unsubscribe(const std::string& channel, ReplyCallback callback);
  void punsubscribe(const std::string& pattern, ReplyCallback callback);

  /// `on_line` is told every command that the server executes. This client then
  /// does nothing else any more.
  void monitor(MessageCallback on_line, ReplyCallback callback);

  /// Ends everything; drops all callbacks.
  void close();

  /// True while there is a connection that commands are sent on.
  [[nodiscard]] bool connected() const noexcept;

  /// How many commands' callbacks are still to come, and the bytes of commands
  /// that were not sent yet: for back-pressure.
  [[nodiscard]] std::size_t unanswered() const noexcept;
  [[nodiscard]] std::size_t unsent_bytes() const noexcept;

 private:
  enum class Phase { idle, connecting, setting_up, open, backing_off, closed };

  using Topic = Subscriptions::Topic;
  using Observer = std::function<void(const Reply& reply)>;

  // A command of the set-up, whose reply is still to come.
  struct SetUpStep {
    std::string name;            // for messages
    std::optional<Topic> topic;  // if it subscribes
  };

  void require_usable(const ReplyCallback& callback) const;
  void begin_subscription(const Topic& topic, MessageCallback on_message,
                          ReplyCallback callback);
  void end_subscription(const Topic& topic, ReplyCallback callback);
  void enqueue(const std::vector<std::string>& arguments, Duration timeout,
               ReplyCallback callback, Observer observer = {});
  [[nodiscard]] std::string reason_to_refuse(std::size_t bytes) const;

  void dial();
  void on_dialed(const std::string& error,
                 std::shared_ptr<waterspout::IOStream> stream);
  void set_up();
  void ask(const std::vector<std::string>& arguments, SetUpStep step);
  void on_set_up_reply(const Reply& reply);
  void open();

  void on_reply(Reply reply);
  void drop_connection(const std::string& reason);
  void on_lost(const std::string& reason);
  void on_retry();
  [[nodiscard]] bool wants_connection() const;

  waterspout::IOLoop& loop_;
  const Options options_;
  Phase phase_ = Phase::idle;
  // Ends the time of the set-up, or the delay before the next attempt.
  waterspout::TimeoutHandle timer_;
  Backoff backoff_;
  Dialer dialer_;
  std::shared_ptr<Connection> connection_;  // while setting up or open
  std::deque<SetUpStep> set_up_;
  Subscriptions subscriptions_;
  CommandQueue commands_;
};

}  // namespace redis_client
