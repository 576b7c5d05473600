// Debian's redis-server, started for one test, and the sample redis_client as a
// user runs it against that.

#pragma once

#include <cstdint>
#include <exception>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <netinet/in.h>
#include <sys/socket.h>

#include <doctest/doctest.h>

#include "waterspout/address.h"

#include "support/program.h"
#include "support/sample_program.h"
#include "support/sockets.h"
#include "support/temp_dir.h"

namespace waterspout::test {

/// A port of 127.0.0.1 for a server that sets SO_REUSEADDR, as most do. Nobody
/// else gets it as long as this lives, whether or not the server runs.
class ReservedPort {
 public:
  ReservedPort() : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    const int on = 1;
    const Address address("127.0.0.1", 0);
    REQUIRE(::setsockopt(socket_.get(), SOL_SOCKET, SO_REUSEADDR, &on,
                         sizeof on) == 0);
    REQUIRE(::bind(socket_.get(), address.data(),
                   static_cast<socklen_t>(address.size())) == 0);
  }

  [[nodiscard]] std::uint16_t number() const {
    return Address::local_of(socket_.get()).port();
  }

 private:
  const UniquePeerFd socket_;
};

/// A redis-server that keeps nothing.
class RedisServer {
 public:
  using Words = std::vector<std::string>;

  /// `more` are options of redis-server; where `port_option` is another one,
  /// that gets the port.
  explicit RedisServer(Words more = {}, std::string port_option = "--port")
      : more_(std::move(more)), port_option_(std::move(port_option)) {
    start();
  }
  ~RedisServer() { stop(); }

  RedisServer(const RedisServer&) = delete;
  RedisServer& operator=(const RedisServer&) = delete;

  void start() {
    // timeout(1) ends the server also where nobody is left to do it.
    Words command = {"/usr/bin/timeout",
                     "100",
                     "/usr/bin/redis-server",
                     "--port",
                     "0",
                     port_option_,
                     port(),
                     "--bind",
                     "127.0.0.1",
                     "--save",
                     "",
                     "--appendonly",
                     "no",
                     "--dir",
                     directory_.path(),
                     "--unixsocket",
                     unix_path(),
                     "--daemonize",
                     "no"};
    command.insert(command.end(), more_.begin(), more_.end());
    Program::Options options;
    options.time_limit = std::chrono::seconds(90);
    program_.emplace(command, options);
    program_->wait_for_out("Ready to accept connections");
  }

  void stop() noexcept {
    try {
      if (program_) {
        program_->terminate();
      }
    } catch (const std::exception&) {
      // ~Program kills it.
    }
    program_.reset();
  }

  [[nodiscard]] std::string port() const {
    return std::to_string(port_.number());
  }
  [[nodiscard]] std::uint16_t port_number() const { return port_.number(); }
  [[nodiscard]] std::string unix_path() const {
    return directory_.path("socket");
  }

  /// The command line of redis_client for this server.
  [[nodiscard]] Words client_command(const Words& words) const {
    Words arguments = {"--port", port()};
    arguments.insert(arguments.end(), words.begin(), words.end());
    return sample_command("redis_client", arguments);
  }

  /// Runs redis_client to its end.
  [[nodiscard]] ProgramResult run(const Words& words,
                                  const Program::Options& options = {}) const {
    return run_program(client_command(words), options);
  }

 private:
  const Words more_;
  const std::string port_option_;
  const ReservedPort port_;
  const TempDir directory_;
  std::optional<Program> program_;
};

}  // namespace waterspout::test
