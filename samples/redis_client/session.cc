#include "redis_client/session.h"

#include <algorithm>
#include <cstddef>
#include <exception>
#include <functional>
#include <stdexcept>
#include <utility>

#include <unistd.h>

#include "waterspout/log.h"
#include "waterspout/ssl.h"
#include "waterspout/stack_context.h"

#include "redis_client/format.h"
#include "redis_client/words.h"

namespace redis_client {

namespace {

using waterspout::SSLContext;

// No more is sent while this much is under way: commands without replies, and
// bytes that the server has not taken.
constexpr std::size_t kMaxUnanswered = 10'000;
constexpr std::size_t kMaxUnsent = std::size_t{1} << 20;

Server server_of(const Options& options) {
  Server server{.host = options.host,
                .port = options.port,
                .unix_path = options.unix_path};
  if (options.tls) {
    server.tls = SSLContext::client(
        {.ca_file = options.ca_file,
         .verify = options.insecure ? waterspout::SSLVerify::none
                                    : waterspout::SSLVerify::required});
  }
  return server;
}

RedisClient::Options client_options(
    const Options& options, std::function<void(const std::string&)> on_lost) {
  RedisClient::Options result{.server = server_of(options),
                              .user = options.user,
                              .password = options.password,
                              .database = options.database,
                              .retry = false,
                              .max_waiting = kMaxUnanswered,
                              .on_lost = std::move(on_lost)};
  if (options.timeout) {
    result.connect_timeout = *options.timeout;
    result.command_timeout = *options.timeout;
  }
  return result;
}

bool wants_types(const Options& options) {
  return options.format == Options::Format::automatic
             ? ::isatty(STDOUT_FILENO) == 1
             : options.format == Options::Format::typed;
}

// For somebody at a terminal.
std::string prompt_for(const Options& options) {
  if (!options.command.empty() || ::isatty(STDIN_FILENO) != 1) {
    return "";
  }
  return (options.unix_path.empty()
              ? options.host + ":" + std::to_string(options.port)
              : options.unix_path) +
         "> ";
}

Reply failure(std::string text) {
  return {.kind = Reply::Kind::failure, .text = std::move(text)};
}

Reply bulk(std::string text) {
  return {.kind = Reply::Kind::bulk, .text = std::move(text)};
}

std::string text_of(const std::exception_ptr& exception) {
  try {
    std::rethrow_exception(exception);
  } catch (const std::exception& error) {
    return error.what();
  }
}

// The words of commands are the same in either case.
bool is_word(std::string_view word, std::string_view name) {
  auto same = [](char a, char b) { return (a | ' ') == b; };
  return word.size() == name.size() &&
         std::equal(word.begin(), word.end(), name.begin(), same);
}

}  // namespace

Session::Session(const Options& options)
    : options_(options),
      format_(wants_types(options) ? format_typed : format_raw),
      prompt_(prompt_for(options)),
      output_(loop_),
      input_(loop_, STDIN_FILENO,
             {.on_line = [this](std::string_view line) { on_line(line); },
              .on_end =
                  [this] {
                    output_.write(prompt_.empty() ? "" : "\n");
                    end();
                  }}),
      client_(loop_, client_options(options,
                                    [this](const std::string& reason) {
                                      on_lost(reason);
                                    })),
      repeats_(options.repeat) {
  // The library warns of connections that fail; so do we.
  loop_.logger().set_level(waterspout::LogLevel::error);
}

// Whatever is thrown from here on, in however many callbacks, ends the program.
int Session::run() {
  waterspout::run_with_stack_context<waterspout::ExceptionStackContext>(
      [this](const std::exception_ptr& exception) {
        fail(text_of(exception));
        return true;
      },
      [this] { begin(); });
  loop_.start();
  output_.flush();
  return failed_ ? 1 : 0;
}

void Session::begin() {
  if (interactive()) {
    prompt();
    input_.resume();
  } else {
    send_repeats();
  }
}

void Session::send_repeats() {
  while (state_ == State::running && repeats_ > 0 && keeps_up()) {
    repeats_--;
    execute(options_.command);
  }
}

void Session::on_line(std::string_view line) {
  if (state_ != State::running) {
    return;
  }
  Words words;
  try {
    words = split_words(line);
  } catch (const std::invalid_argument& error) {
    on_reply(failure(std::string("line: ") + error.what()));
    return;
  }
  if (words.empty()) {
    prompt();
  } else if (words.size() == 1 && (is_word(words.front(), "quit") ||
                                   is_word(words.front(), "exit"))) {
    end();
  } else {
    execute(words);
  }
  if (!keeps_up()) {
    input_.pause();
  }
}

void Session::execute(const Words& words) try {
  const std::string& name = words.front();
  if (is_word(name, "subscribe") || is_word(name, "psubscribe")) {
    subscribe(words);
  } else if (is_word(name, "unsubscribe") || is_word(name, "punsubscribe")) {
    unsubscribe(words);
  } else if (is_word(name, "monitor") && words.size() == 1) {
    monitor();
  } else {
    client_.command(words, [this](const Reply& reply) { on_reply(reply); });
  }
} catch (const std::logic_error& error) {
  // What the client does not do, an invalid_argument included.
  on_reply(failure(error.what()));
}

void Session::subscribe(const Words& words) {
  if (words.size() == 1) {
    throw std::invalid_argument(words.front() + ": needs a name");
  }
  const auto call = is_word(words.front(), "subscribe")
                        ? &RedisClient::subscribe
                        : &RedisClient::psubscribe;
  for (auto word = words.begin() + 1; word != words.end(); ++word) {
    (client_.*call)(
        *word, [this](const Message& message) { on_message(message); },
        [this](const Reply& reply) { on_subscription(reply); });
  }
}

void Session::unsubscribe(const Words& words) {
  if (words.size() == 1) {
    throw std::invalid_argument(words.front() + ": needs a name");
  }
  const auto call = is_word(words.front(), "unsubscribe")
                        ? &RedisClient::unsubscribe
                        : &RedisClient::punsubscribe;
  for (auto word = words.begin() + 1; word != words.end(); ++word) {
    (client_.*call)(*word,
                    [this](const Reply& reply) { on_subscription(reply); });
  }
}

void Session::monitor() {
  client_.monitor(
      [this](const Message& line) {
        show({.kind = Reply::Kind::status, .text = line.payload});
      },
      [this](const Reply& reply) {
        listening_ = reply.ok();
        on_reply(reply);
      });
}

// Its third element is how many there are now.
void Session::on_subscription(const Reply& reply) {
  if (reply.elements.size() == 3) {
    listening_ = reply.elements[2].integer > 0;
  }
  on_reply(reply);
}

// As it came.
void Session::on_message(const Message& message) {
  Reply reply{.kind = Reply::Kind::array};
  if (message.pattern.empty()) {
    reply.elements = {bulk("message")};
  } else {
    reply.elements = {bulk("pmessage"), bulk(message.pattern)};
  }
  reply.elements.push_back(bulk(message.channel));
  reply.elements.push_back(bulk(message.payload));
  show(reply);
}

// Otherwise there are commands that fail, and say so.
void Session::on_lost(const std::string& reason) const {
  if (listening_) {
    complain("redis_client: connection lost, trying again: " + reason);
  }
}

void Session::on_reply(const Reply& reply) {
  show(reply);
  // Where there was no reply, there will be none to another try.
  if (reply.kind == Reply::Kind::failure && !interactive()) {
    stop();
    return;
  }
  go_on();
}

void Session::go_on() {
  const bool idle = client_.unanswered() == 0;
  if (state_ == State::ending) {
    if (idle) {
      stop();
    }
    return;
  }
  if (!interactive()) {
    send_repeats();
    if (client_.unanswered() == 0 && repeats_ == 0 && !listening_) {
      stop();
    }
    return;
  }
  if (client_.unanswered() < kMaxUnanswered / 2 && keeps_up()) {
    input_.resume();
  }
  if (idle) {
    prompt();
  }
}

void Session::show(const Reply& reply) {
  if (state_ == State::over) {
    return;
  }
  if (reply.ok()) {
    output_.write(format_(reply));
    return;
  }
  failed_ = true;
  output_.flush();
  complain(reply.kind == Reply::Kind::error ? "(error) " + reply.text
                                            : "redis_client: " + reply.text);
}

void Session::fail(std::string_view reason) {
  failed_ = true;
  complain(std::string("redis_client: ").append(reason));
  stop();
}

void Session::prompt() {
  if (state_ == State::running && !listening_) {
    output_.write(prompt_);
  }
}

// The replies that are still to come are waited for, but no messages.
void Session::end() {
  if (state_ == State::running) {
    state_ = State::ending;
    input_.pause();
    go_on();
  }
}

void Session::stop() {
  state_ = State::over;
  client_.close();
  loop_.stop();
}

bool Session::keeps_up() const {
  const std::size_t unanswered = client_.unanswered();
  return unanswered == 0 ||
         (unanswered < kMaxUnanswered && client_.unsent_bytes() < kMaxUnsent);
}

}  // namespace redis_client
