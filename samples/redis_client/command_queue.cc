#include "redis_client/command_queue.h"

#include <chrono>
#include <cstdio>
#include <iterator>
#include <utility>

#include "waterspout/stack_context.h"

namespace redis_client {

namespace {

Reply failure(std::string reason) {
  return {.kind = Reply::Kind::failure, .text = std::move(reason)};
}

std::string to_string(waterspout::Duration time) {
  char text[32];
  std::snprintf(text, sizeof text, "%g s",
                std::chrono::duration<double>(time).count());
  return text;
}

}  // namespace

void CommandQueue::add(Command command, waterspout::Duration limit) {
  waiting_bytes_ += command.bytes.size();
  start_timer(waiting_.insert(waiting_.end(), std::move(command)), limit);
}

// The timers capture `this`, and go with their commands: clear() removes those
// that are left.
void CommandQueue::start_timer(Commands::iterator command,
                               waterspout::Duration limit) {
  const waterspout::NullContext outside;  // a callback brings its own
  loop_.remove_timeout(command->timer);
  if (limit > waterspout::Duration::zero()) {
    command->timer = loop_.call_later(
        limit, [this, command, limit] { on_timeout(command, limit); });
  }
}

void CommandQueue::refuse(Command command, const std::string& reason) {
  Commands one;
  one.push_back(std::move(command));
  fail(one, reason);
}

std::string CommandQueue::take_waiting() {
  std::string bytes;
  for (auto at = waiting_.begin(); at != waiting_.end(); ++at) {
    if (bytes.empty()) {
      bytes = std::move(at->bytes);  // a large one, mostly alone: no copy
    } else {
      bytes.append(at->bytes);
    }
    at->bytes = std::string();
    at->sent = true;
    start_timer(at, at->timeout);
  }
  sent_.splice(sent_.end(), waiting_);
  waiting_bytes_ = 0;
  return bytes;
}

void CommandQueue::answer(Reply reply) {
  call_back(sent_, sent_.begin(), std::move(reply));
}

void CommandQueue::on_timeout(Commands::iterator command,
                              waterspout::Duration limit) {
  if (command->sent) {
    on_stuck_("no reply within " + to_string(limit));
    return;
  }
  waiting_bytes_ -= command->bytes.size();
  call_back(waiting_, command,
            failure("no connection within " + to_string(limit)));
}

void CommandQueue::fail_sent(const std::string& reason) { fail(sent_, reason); }

void CommandQueue::fail_waiting(const std::string& reason) {
  waiting_bytes_ = 0;
  fail(waiting_, reason);
}

// Each in a callback of its own: so none runs inside another, nor inside the
// call that gave up, and what one throws is no matter of the next.
void CommandQueue::fail(Commands& commands, const std::string& reason) {
  const waterspout::NullContext outside;
  for (auto at = commands.begin(); at != commands.end(); ++at) {
    loop_.remove_timeout(at->timer);
    at->timer = loop_.call_later(
        waterspout::Duration::zero(),
        [this, at, reason] { call_back(failed_, at, failure(reason)); });
  }
  failed_.splice(failed_.end(), commands);
}

void CommandQueue::call_back(Commands& from, Commands::iterator command,
                             Reply reply) {
  Commands one;
  one.splice(one.end(), from, command);
  loop_.remove_timeout(one.front().timer);
  if (one.front().observer) {
    one.front().observer(reply);
  }
  one.front().callback(std::move(reply));  // Last: may destroy this.
}

// The commands go at the very end, with what they have captured: that may be
// whoever owns this.
void CommandQueue::clear() {
  Commands all;
  for (Commands* commands : {&waiting_, &sent_, &failed_}) {
    all.splice(all.end(), *commands);
  }
  waiting_bytes_ = 0;
  for (const Command& command : all) {
    loop_.remove_timeout(command.timer);
  }
}

}  // namespace redis_client
