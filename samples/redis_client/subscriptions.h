// What a client has subscribed to, and who hears of it.

#pragma once

#include <compare>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "waterspout/callback.h"

#include "redis_client/resp.h"

namespace redis_client {

/// What a subscriber is told.
struct Message {
  std::string pattern;  ///< that the channel matched; empty without one
  std::string channel;  ///< empty for what MONITOR shows
  std::string payload;
};

/// Called once for every message.
using MessageCallback = waterspout::Callback<void(const Message& message)>;

class Subscriptions {
 public:
  enum class Kind { channel, pattern, monitor };

  /// A monitor has no name.
  struct Topic {
    Kind kind = Kind::channel;
    std::string name = {};
    friend auto operator<=>(const Topic&, const Topic&) = default;
  };

  /// The command that subscribes, and the one that ends it. (Nothing but the
  /// end of the connection ends a MONITOR.)
  [[nodiscard]] static std::vector<std::string> begin_command(
      const Topic& topic);
  [[nodiscard]] static std::vector<std::string> end_command(const Topic& topic);

  /// Names one subscription to a topic, of which there may be others later.
  using Number = std::uint64_t;

  /// Errors: throws std::logic_error if there is one already, or, since nothing
  ///   goes with it, a monitor.
  Number add(const Topic& topic, MessageCallback on_message);
  void remove(const Topic& topic);

  [[nodiscard]] bool empty() const noexcept { return subscribers_.empty(); }
  [[nodiscard]] bool monitoring() const;

  /// What came of a command of begin_command(). A subscription that the server
  /// did not accept is removed.
  void on_begin_reply(const Topic& topic, Number number, const Reply& reply);

  /// What came of such a command of a later connection, or of end_command().
  void on_other_reply(const Topic& topic, const Reply& reply);

  /// Those that the server had accepted: what to ask a new connection for.
  [[nodiscard]] std::vector<Topic> accepted() const;

  /// The connection has gone.
  void disconnect() noexcept { live_ = Live::none; }

  /// True for what no command has asked for.
  [[nodiscard]] bool is_message(const Reply& reply) const;

  /// Calls whom it is for, if there is one. That may destroy this object.
  void deliver(Reply message);

 private:
  struct Subscriber {
    // Shared with a call that may remove it.
    std::shared_ptr<MessageCallback> on_message;
    Number number = 0;
    bool accepted = false;
  };

  // What the connection is for, as the server sees it: only while it is for
  // subscriptions do messages come, and what looks like one is one.
  enum class Live { none, subscribed, monitoring };

  std::map<Topic, Subscriber> subscribers_;
  Number last_number_ = 0;
  Live live_ = Live::none;
};

}  // namespace redis_client
