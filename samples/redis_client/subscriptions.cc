#include "redis_client/subscriptions.h"

#include <cstddef>
#include <stdexcept>
#include <string_view>

namespace redis_client {

namespace {

// ["message", channel, payload] or ["pmessage", pattern, channel, payload].
bool is_push(const Reply& reply, std::string_view kind, std::size_t size) {
  return reply.elements.size() == size && reply.elements.front().text == kind;
}

}  // namespace

std::vector<std::string> Subscriptions::begin_command(const Topic& topic) {
  if (topic.kind == Kind::monitor) {
    return {"MONITOR"};
  }
  return {topic.kind == Kind::channel ? "SUBSCRIBE" : "PSUBSCRIBE", topic.name};
}

std::vector<std::string> Subscriptions::end_command(const Topic& topic) {
  return {topic.kind == Kind::channel ? "UNSUBSCRIBE" : "PUNSUBSCRIBE",
          topic.name};
}

Subscriptions::Number Subscriptions::add(const Topic& topic,
                                         MessageCallback on_message) {
  if (subscribers_.contains(topic)) {
    throw std::logic_error("subscribe: " + topic.name +
                           ": there is a subscription already");
  }
  if (topic.kind == Kind::monitor && !empty()) {
    throw std::logic_error("monitor: there are subscriptions");
  }
  last_number_++;
  subscribers_[topic] = {
      .on_message = std::make_shared<MessageCallback>(std::move(on_message)),
      .number = last_number_};
  return last_number_;
}

void Subscriptions::remove(const Topic& topic) { subscribers_.erase(topic); }

bool Subscriptions::monitoring() const {
  return subscribers_.contains({.kind = Kind::monitor});
}

void Subscriptions::on_begin_reply(const Topic& topic, Number number,
                                   const Reply& reply) {
  const auto found = subscribers_.find(topic);
  if (found != subscribers_.end() && found->second.number == number) {
    found->second.accepted = reply.ok();
    if (!reply.ok()) {
      subscribers_.erase(found);
    }
  }
  on_other_reply(topic, reply);
}

// The third element is how many subscriptions the connection has.
void Subscriptions::on_other_reply(const Topic& topic, const Reply& reply) {
  if (topic.kind == Kind::monitor && reply.ok()) {
    live_ = Live::monitoring;
  } else if (reply.elements.size() == 3) {
    live_ = reply.elements[2].integer > 0 ? Live::subscribed : Live::none;
  }
}

std::vector<Subscriptions::Topic> Subscriptions::accepted() const {
  std::vector<Topic> topics;
  for (const auto& [topic, subscriber] : subscribers_) {
    if (subscriber.accepted) {
      topics.push_back(topic);
    }
  }
  return topics;
}

bool Subscriptions::is_message(const Reply& reply) const {
  switch (live_) {
    case Live::none:
      return false;
    case Live::monitoring:
      return reply.kind == Reply::Kind::status;
    case Live::subscribed:
      break;
  }
  return is_push(reply, "message", 3) || is_push(reply, "pmessage", 4);
}

void Subscriptions::deliver(Reply message) {
  Topic topic{.kind = Kind::monitor};
  Message content;
  if (message.kind == Reply::Kind::status) {
    content.payload = std::move(message.text);
  } else {
    std::vector<Reply>& elements = message.elements;
    const bool by_pattern = elements.size() == 4;
    topic = {.kind = by_pattern ? Kind::pattern : Kind::channel,
             .name = elements[1].text};
    content.pattern = by_pattern ? topic.name : "";
    content.channel = std::move(elements[elements.size() - 2].text);
    content.payload = std::move(elements.back().text);
  }
  const auto found = subscribers_.find(topic);
  if (found != subscribers_.end()) {
    const std::shared_ptr<MessageCallback> on_message =
        found->second.on_message;
    (*on_message)(content);
  }
}

}  // namespace redis_client
