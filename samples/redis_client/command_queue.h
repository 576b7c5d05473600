// The commands of a client, from the call to the reply.

#pragma once

#include <cstddef>
#include <functional>
#include <list>
#include <string>
#include <utility>

#include "waterspout/callback.h"
#include "waterspout/ioloop.h"

#include "redis_client/resp.h"

namespace redis_client {

/// Gets what came of a command: see Reply::Kind.
using ReplyCallback = waterspout::Callback<void(Reply reply)>;

/// Commands that wait to be sent, commands that wait for their replies, and
/// commands that are about to hear that they have failed.
///
/// Every command is called back once, unless clear() drops it. Where a function
/// calls a command back, it does that last: it may destroy this object.
class CommandQueue {
 public:
  struct Command {
    std::string bytes;  ///< until it is sent
    ReplyCallback callback;
    /// Is told the reply before the callback is; may be empty.
    std::function<void(const Reply& reply)> observer = {};
    waterspout::Duration timeout = {};  ///< for the reply; zero: no limit
    waterspout::TimeoutHandle timer = {};
    bool sent = false;
  };

  /// `on_stuck` is called when the time of a command is up that was sent.
  CommandQueue(waterspout::IOLoop& loop,
               std::function<void(const std::string& reason)> on_stuck)
      : loop_(loop), on_stuck_(std::move(on_stuck)) {}
  ~CommandQueue() { clear(); }

  CommandQueue(const CommandQueue&) = delete;
  CommandQueue& operator=(const CommandQueue&) = delete;

  /// The command waits to be sent; no longer than `limit`, unless that is zero.
  void add(Command command, waterspout::Duration limit);

  /// The command fails, in a later turn of the loop.
  void refuse(Command command, const std::string& reason);

  /// What waits is to be sent now: gives its bytes. The time of the replies
  /// begins.
  [[nodiscard]] std::string take_waiting();

  [[nodiscard]] std::size_t waiting() const noexcept { return waiting_.size(); }
  [[nodiscard]] std::size_t waiting_bytes() const noexcept {
    return waiting_bytes_;
  }
  [[nodiscard]] bool expects_reply() const noexcept { return !sent_.empty(); }
  [[nodiscard]] std::size_t size() const noexcept {
    return waiting_.size() + sent_.size() + failed_.size();
  }

  /// The reply to the oldest command that was sent. Requires: there is one.
  void answer(Reply reply);

  /// All that were sent, or all that wait, fail in a later turn of the loop.
  void fail_sent(const std::string& reason);
  void fail_waiting(const std::string& reason);

  /// Drops all commands; none is called back.
  void clear();

 private:
  // A list, whose iterators stay valid while commands move to another one.
  using Commands = std::list<Command>;

  void start_timer(Commands::iterator command, waterspout::Duration limit);
  void on_timeout(Commands::iterator command, waterspout::Duration limit);
  void fail(Commands& commands, const std::string& reason);
  void call_back(Commands& from, Commands::iterator command, Reply reply);

  waterspout::IOLoop& loop_;
  const std::function<void(const std::string& reason)> on_stuck_;
  Commands waiting_;
  std::size_t waiting_bytes_ = 0;
  Commands sent_;
  Commands failed_;
};

}  // namespace redis_client
