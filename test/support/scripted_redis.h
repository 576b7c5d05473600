// A Redis server on the test's own loop that says what a test tells it to say,
// right or wrong.

#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <netinet/in.h>
#include <sys/socket.h>

#include <doctest/doctest.h>

#include "waterspout/address.h"
#include "waterspout/ioloop.h"
#include "waterspout/iostream.h"

#include "redis_client/resp.h"
#include "support/sockets.h"

namespace waterspout::test {

/// Has a port of 127.0.0.1, which refuses connections until listen().
class ScriptedRedis {
 public:
  /// The bytes to send for a command, whose words have a blank in between; ""
  /// for nothing.
  using Answer = std::function<std::string(const std::string& command)>;

  static std::string ok(const std::string& /*command*/) { return "+OK\r\n"; }

  explicit ScriptedRedis(IOLoop& loop)
      : loop_(loop), socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    const Address address("127.0.0.1", 0);
    REQUIRE(::bind(socket_.get(), address.data(),
                   static_cast<socklen_t>(address.size())) == 0);
  }
  ~ScriptedRedis() {
    if (listening_) {
      loop_.remove_handler(socket_.get());
    }
    close_all();
  }

  ScriptedRedis(const ScriptedRedis&) = delete;
  ScriptedRedis& operator=(const ScriptedRedis&) = delete;

  void listen() {
    REQUIRE(::listen(socket_.get(), 16) == 0);
    listening_ = true;
    loop_.add_handler(socket_.get(), IOLoop::READ,
                      [this](int, IOLoop::Events) { accept(); });
  }

  [[nodiscard]] std::uint16_t port() const {
    return Address::local_of(socket_.get()).port();
  }

  /// Sends on the newest connection.
  void send(std::string_view bytes) { streams_.back()->write(bytes); }

  void close_all() {
    for (const std::shared_ptr<IOStream>& stream : streams_) {
      stream->close();
    }
  }

  [[nodiscard]] std::size_t connections() const { return streams_.size(); }
  [[nodiscard]] bool has_connection() const {
    return !streams_.empty() && !streams_.back()->closed();
  }

  Answer answer = ok;

  /// All that came, on all connections.
  std::vector<std::string> commands;

 private:
  void accept() {
    streams_.push_back(
        IOStream::create(loop_, accept_from(socket_.get()).release()));
    read(streams_.back(), std::make_shared<redis_client::Parser>());
  }

  void read(const std::shared_ptr<IOStream>& stream,
            const std::shared_ptr<redis_client::Parser>& parser) {
    stream->read_bytes(65536, {.partial = true},
                       [this, stream, parser](std::string_view bytes) {
                         while (auto command = parser->feed(bytes)) {
                           take(*command, *stream);
                         }
                         if (!stream->closed()) {
                           read(stream, parser);
                         }
                       });
  }

  void take(const redis_client::Reply& command, IOStream& stream) {
    std::string text;
    for (const redis_client::Reply& word : command.elements) {
      text += (text.empty() ? "" : " ") + word.text;
    }
    commands.push_back(text);
    const std::string bytes = answer(text);
    if (!stream.closed() && !bytes.empty()) {
      stream.write(bytes);
    }
  }

  IOLoop& loop_;
  const UniquePeerFd socket_;
  bool listening_ = false;
  std::vector<std::shared_ptr<IOStream>> streams_;
};

}  // namespace waterspout::test
