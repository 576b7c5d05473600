// Runs the sample embed_libevent as a user would, with plain sockets at its
// three sides: the client, the admin and the upstream server.

#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "waterspout/address.h"

#include "support/program.h"
#include "support/sample_program.h"
#include "support/sockets.h"
#include "support/text.h"

namespace waterspout::test {

/// Up to and including `end`; less where the peer closes first.
inline std::string recv_until(const UniquePeerFd& socket,
                              std::string_view end) {
  std::string all;
  while (all.size() < end.size() ||
         all.compare(all.size() - end.size(), end.size(), end) != 0) {
    const std::string next = socket.recv(1);
    if (next.empty()) {
      break;
    }
    all += next;
  }
  return all;
}

inline std::string body_of(const std::string& response) {
  const auto end = response.find("\r\n\r\n");
  return end == std::string::npos ? "no head" : response.substr(end + 4);
}

/// The number between `begin` and the next line end.
inline std::uint16_t port_behind(std::string_view begin,
                                 const std::string& text) {
  return static_cast<std::uint16_t>(
      std::stoi(text.substr(text.find(begin) + begin.size())));
}

/// The sample, running, with an admin connection.
class Sample {
 public:
  explicit Sample(const std::string& upstream,
                  std::vector<std::string> more = {})
      : program_(sample_command("embed_libevent",
                                with_upstream(upstream, std::move(more)))) {
    // Its two lines come in one write.
    const std::string& said = program_.wait_for_out("admin on ");
    address_ = Address("127.0.0.1", port_behind("http on 127.0.0.1:", said));
    admin_ = connect_to(
        Address("127.0.0.1", port_behind("admin on 127.0.0.1:", said)));
  }

  [[nodiscard]] UniquePeerFd connect() const { return connect_to(address_); }

  /// Sends a request that ends with its response.
  [[nodiscard]] UniquePeerFd request(const std::string& target) const {
    UniquePeerFd client = connect();
    client.send("GET " + target + " HTTP/1.0\r\n\r\n");
    return client;
  }

  [[nodiscard]] std::string get(const std::string& target) const {
    return request(target).recv_all();
  }

  [[nodiscard]] std::string admin(const std::string& command) const {
    admin_.send(command + "\n");
    return recv_until(admin_, "\n");
  }

  /// True once its status holds `part`, false if `turns` turns of its base do
  /// not bring it about.
  [[nodiscard]] bool await_status(std::string_view part,
                                  int turns = 10000) const {
    for (; turns > 0; --turns) {
      if (contains(admin("status"), part)) {
        return true;
      }
    }
    return false;
  }

  /// Stops it, and checks that it ends well: under ASan, that nothing leaked.
  void quit(std::string_view logged = {}) {
    admin_.send("quit\n");
    check_end(logged);
  }

  void check_end(std::string_view logged = {}) {
    const ProgramResult result = program_.wait();
    CHECK(result.exit_code == 0);
    CHECK(result.err.empty() == logged.empty());
    CHECK(contains(result.err, logged));
  }

  [[nodiscard]] const UniquePeerFd& admin_connection() const { return admin_; }
  Program& program() { return program_; }

 private:
  static std::vector<std::string> with_upstream(const std::string& upstream,
                                                std::vector<std::string> more) {
    more.insert(more.begin(), {"--port", "0", "--upstream", upstream});
    return more;
  }

  Program program_;
  Address address_;
  UniquePeerFd admin_;
};

/// The upstream server, whose answers the test gives by hand.
class Upstream {
 public:
  Upstream() : listener_(listen_on_loopback(port_)) {}

  [[nodiscard]] std::string host() const {
    return "127.0.0.1:" + std::to_string(port_);
  }

  /// The next connection, with its request's head read into `head`.
  [[nodiscard]] UniquePeerFd accept() {
    UniquePeerFd connection = accept_from(listener_.get());
    head = recv_until(connection, "\r\n\r\n");
    return connection;
  }

  /// Answers the next request with `response` and closes.
  void answer(std::string_view response) {
    const UniquePeerFd connection = accept();
    connection.send(response);
  }

  std::string head;

 private:
  std::uint16_t port_ = 0;
  UniquePeerFd listener_;
};

}  // namespace waterspout::test
