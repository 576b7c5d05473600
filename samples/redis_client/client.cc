#include "redis_client/client.h"

#include <algorithm>
#include <array>
#include <stdexcept>
#include <string_view>
#include <utility>

#include "waterspout/stack_context.h"

namespace redis_client {

namespace {

using waterspout::NullContext;

RedisClient::Options checked(RedisClient::Options options) {
  const waterspout::Duration zero{};
  if (options.database < 0) {
    throw std::invalid_argument("RedisClient: database: is negative");
  }
  if (!options.user.empty() && options.password.empty()) {
    throw std::invalid_argument("RedisClient: user: has no password");
  }
  if (options.first_delay <= zero || options.longest_delay <= zero ||
      options.connect_timeout < zero || options.command_timeout < zero) {
    throw std::invalid_argument("RedisClient: a time: is out of range");
  }
  return options;
}

std::string upper_case(std::string text) {
  for (char& c : text) {
    c = c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
  }
  return text;
}

// After these the replies no longer match the commands one by one.
bool breaks_order(const std::vector<std::string>& arguments) {
  constexpr std::array<std::string_view, 11> kCommands = {
      "SUBSCRIBE",    "PSUBSCRIBE",   "SSUBSCRIBE", "UNSUBSCRIBE",
      "PUNSUBSCRIBE", "SUNSUBSCRIBE", "MONITOR",    "SYNC",
      "PSYNC",        "HELLO",        "RESET"};
  const std::string name = upper_case(arguments.front());
  return std::find(kCommands.begin(), kCommands.end(), name) !=
             kCommands.end() ||
         (name == "CLIENT" && arguments.size() > 1 &&
          upper_case(arguments[1]) == "REPLY");
}

}  // namespace

// The handlers of all members capture `this`: they are silent once it is
// closed, and the destructor closes it.
RedisClient::RedisClient(waterspout::IOLoop& loop, Options options)
    : loop_(loop),
      options_(checked(std::move(options))),
      backoff_(options_.first_delay, options_.longest_delay),
      dialer_(loop, options_.server),
      commands_(loop, [this](const std::string& reason) {
        drop_connection(reason);
      }) {}

void RedisClient::command(const std::vector<std::string>& arguments,
                          ReplyCallback callback) {
  command(arguments, {.timeout = options_.command_timeout},
          std::move(callback));
}

void RedisClient::command(const std::vector<std::string>& arguments,
                          CommandOptions options, ReplyCallback callback) {
  require_usable(callback);
  if (arguments.empty()) {
    throw std::invalid_argument("command: has no words");
  }
  if (breaks_order(arguments)) {
    throw std::invalid_argument("command: " + arguments.front() +
                                ": changes what the connection is for");
  }
  enqueue(arguments, options.timeout, std::move(callback));
}

void RedisClient::subscribe(const std::string& channel,
                            MessageCallback on_message,
                            ReplyCallback callback) {
  begin_subscription({.kind = Subscriptions::Kind::channel, .name = channel},
                     std::move(on_message), std::move(callback));
}

void RedisClient::psubscribe(const std::string& pattern,
                             MessageCallback on_message,
                             ReplyCallback callback) {
  begin_subscription({.kind = Subscriptions::Kind::pattern, .name = pattern},
                     std::move(on_message), std::move(callback));
}

void RedisClient::unsubscribe(const std::string& channel,
                              ReplyCallback callback) {
  end_subscription({.kind = Subscriptions::Kind::channel, .name = channel},
                   std::move(callback));
}

void RedisClient::punsubscribe(const std::string& pattern,
                               ReplyCallback callback) {
  end_subscription({.kind = Subscriptions::Kind::pattern, .name = pattern},
                   std::move(callback));
}

void RedisClient::monitor(MessageCallback on_line, ReplyCallback callback) {
  begin_subscription({.kind = Subscriptions::Kind::monitor}, std::move(on_line),
                     std::move(callback));
}

void RedisClient::close() {
  phase_ = Phase::closed;
  dialer_.cancel();
  loop_.remove_timeout(timer_);
  if (connection_) {
    connection_->close();
  }
  // What callbacks have captured may be whoever owns this: those that are left
  // go last, when nothing here is used any more.
  const Subscriptions dropped = std::exchange(subscriptions_, {});
  commands_.clear();
}

bool RedisClient::connected() const noexcept {
  return phase_ == Phase::open && connection_->open();
}

std::size_t RedisClient::unanswered() const noexcept {
  return commands_.size();
}

std::size_t RedisClient::unsent_bytes() const noexcept {
  return commands_.waiting_bytes() +
         (connection_ ? connection_->unsent_bytes() : 0);
}

void RedisClient::require_usable(const ReplyCallback& callback) const {
  if (phase_ == Phase::closed) {
    throw std::logic_error("RedisClient: is closed");
  }
  if (subscriptions_.monitoring()) {
    throw std::logic_error("RedisClient: does nothing but monitor");
  }
  if (!callback) {
    throw std::invalid_argument("RedisClient: callback: is empty");
  }
}

void RedisClient::begin_subscription(const Topic& topic,
                                     MessageCallback on_message,
                                     ReplyCallback callback) {
  require_usable(callback);
  const Subscriptions::Number number =
      subscriptions_.add(topic, std::move(on_message));
  try {
    enqueue(Subscriptions::begin_command(topic), options_.command_timeout,
            std::move(callback), [this, topic, number](const Reply& reply) {
              subscriptions_.on_begin_reply(topic, number, reply);
            });
  } catch (...) {
    subscriptions_.remove(topic);
    throw;
  }
}

void RedisClient::end_subscription(const Topic& topic, ReplyCallback callback) {
  require_usable(callback);
  enqueue(Subscriptions::end_command(topic), options_.command_timeout,
          std::move(callback), [this, topic](const Reply& reply) {
            subscriptions_.on_other_reply(topic, reply);
          });
  subscriptions_.remove(topic);
}

void RedisClient::enqueue(const std::vector<std::string>& arguments,
                          Duration timeout, ReplyCallback callback,
                          Observer observer) {
  CommandQueue::Command command{.bytes = {},
                                .callback = std::move(callback),
                                .observer = std::move(observer),
                                .timeout = timeout};
  append_command(command.bytes, arguments);
  const std::string reason = reason_to_refuse(command.bytes.size());
  if (!reason.empty()) {
    commands_.refuse(std::move(command), reason);
    return;
  }
  if (phase_ == Phase::idle) {
    dial();  // First: may throw.
  }
  commands_.add(std::move(command),
                options_.retry ? timeout : Duration::zero());
  if (connected()) {
    connection_->write(commands_.take_waiting());
  }
}

std::string RedisClient::reason_to_refuse(std::size_t bytes) const {
  const std::size_t unsent = unsent_bytes();
  if (unsent > options_.max_unsent_bytes ||
      bytes > options_.max_unsent_bytes - unsent) {
    return "not sent: more than " + std::to_string(options_.max_unsent_bytes) +
           " bytes would wait to be sent";
  }
  if (!connected() && commands_.waiting() >= options_.max_waiting) {
    return "not sent: " + std::to_string(options_.max_waiting) +
           " commands wait for a connection";
  }
  return "";
}

// The connection is for all commands, and belongs to the contexts of none.
void RedisClient::dial() {
  const NullContext outside;
  dialer_.dial(options_.connect_timeout,
               [this](const std::string& error,
                      std::shared_ptr<waterspout::IOStream> stream) {
                 on_dialed(error, std::move(stream));
               });
  phase_ = Phase::connecting;
}

void RedisClient::on_dialed(const std::string& error,
                            std::shared_ptr<waterspout::IOStream> stream) {
  if (!stream) {
    on_lost(error);
    return;
  }
  connection_ = std::make_shared<Connection>(
      std::move(stream),
      Connection::Handlers{
          .on_reply = [this](Reply reply) { on_reply(std::move(reply)); },
          .on_lost = [this](const std::string& reason) { on_lost(reason); }});
  connection_->start();
  set_up();
}

// All at once, as everything else; but what waits is sent only when a server
// that wants a password has accepted ours.
void RedisClient::set_up() {
  phase_ = Phase::setting_up;
  if (!options_.password.empty()) {
    std::vector<std::string> arguments = {"AUTH", options_.password};
    if (!options_.user.empty()) {
      arguments.insert(arguments.begin() + 1, options_.user);
    }
    ask(arguments, {.name = "AUTH", .topic = {}});
  }
  if (options_.database != 0) {
    ask({"SELECT", std::to_string(options_.database)},
        {.name = "SELECT", .topic = {}});
  }
  for (const Topic& topic : subscriptions_.accepted()) {
    const std::vector<std::string> arguments =
        Subscriptions::begin_command(topic);
    ask(arguments, {.name = arguments.front(), .topic = topic});
  }
  if (set_up_.empty()) {
    open();
  } else if (options_.connect_timeout > Duration::zero()) {
    timer_ = loop_.call_later(options_.connect_timeout, [this] {
      drop_connection(set_up_.front().name + ": no reply in time");
    });
  }
}

void RedisClient::ask(const std::vector<std::string>& arguments,
                      SetUpStep step) {
  std::string bytes;
  append_command(bytes, arguments);
  connection_->write(bytes);
  set_up_.push_back(std::move(step));
}

void RedisClient::on_set_up_reply(const Reply& reply) {
  const SetUpStep step = std::move(set_up_.front());
  set_up_.pop_front();
  if (!reply.ok()) {
    // It would refuse the next attempt too, so nothing is to wait for that.
    const std::string reason = step.name + ": " + reply.text;
    commands_.fail_waiting(reason);
    drop_connection(reason);
    return;
  }
  if (step.topic) {
    subscriptions_.on_other_reply(*step.topic, reply);
  }
  if (set_up_.empty()) {
    loop_.remove_timeout(timer_);
    backoff_.reset();
    open();
  }
}

void RedisClient::open() {
  phase_ = Phase::open;
  connection_->write(commands_.take_waiting());
}

void RedisClient::on_reply(Reply reply) {
  if (subscriptions_.is_message(reply)) {
    subscriptions_.deliver(std::move(reply));
  } else if (phase_ == Phase::setting_up) {
    on_set_up_reply(reply);
  } else if (!commands_.expects_reply()) {
    drop_connection("a reply to nothing: " + reply.text);
  } else {
    backoff_.reset();
    commands_.answer(std::move(reply));
  }
}

void RedisClient::drop_connection(const std::string& reason) {
  connection_->close();
  on_lost(reason);
}

// A connection has ended, or was not made.
void RedisClient::on_lost(const std::string& reason) {
  const NullContext outside;
  loop_.remove_timeout(timer_);
  connection_.reset();
  set_up_.clear();
  subscriptions_.disconnect();
  commands_.fail_sent("connection lost, the command may have been executed: " +
                      reason);
  if (!options_.retry) {
    commands_.fail_waiting(reason);
  }
  if (options_.retry || wants_connection()) {
    phase_ = Phase::backing_off;
    timer_ = loop_.call_later(backoff_.next(), [this] { on_retry(); });
  } else {
    phase_ = Phase::idle;
  }
  if (options_.on_lost) {
    options_.on_lost(reason);  // Last: may destroy this.
  }
}

void RedisClient::on_retry() {
  if (wants_connection()) {
    dial();
  } else {
    phase_ = Phase::idle;
  }
}

bool RedisClient::wants_connection() const {
  return commands_.waiting() > 0 || !subscriptions_.accepted().empty();
}

}  // namespace redis_client
