// A client of the servers that read and write its socket by themselves: what
// epoll_server and libevent_server have in common. They differ in how they
// wait.

#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "peers/common.h"
#include "peers/messages.h"
#include "peers/socket.h"

namespace peers {

/// Answers in one send whatever one recv has brought, straight from the receive
/// buffer. Reads nothing while the kernel does not take the answers.
class SocketClient {
 public:
  /// What to wait for next; after `nothing` the client is to be destroyed.
  enum class Wants : std::uint8_t { input, output, nothing };

  SocketClient(Socket socket, Mode mode)
      : socket_(std::move(socket)), mode_(mode) {}

  /// Each is to be called when what was waited for is there. `scratch` may be
  /// the same for all clients.
  Wants on_readable(std::span<char> scratch);
  Wants on_writable(std::span<char> scratch);

 private:
  [[nodiscard]] Wants wants() const noexcept {
    if (!output_.empty() || to_send_ != 0) {
      return Wants::output;
    }
    return closing_ ? Wants::nothing : Wants::input;
  }

  // Most chunks end where a message does, so nothing is copied.
  void take(std::string_view chunk) {
    if (!input_.empty()) {
      join(chunk);
      return;
    }
    const std::size_t answered = answer(chunk, 0);
    if (answered != chunk.size()) {
      input_ = chunk.substr(answered);
    }
  }

  // Takes what comes after the start of a message.
  void join(std::string_view chunk);

  void fail();

  // Each answers what is whole in `input` and returns how much that was. The
  // first `searched` bytes hold no end of a message.
  std::size_t answer(std::string_view input, std::size_t searched) {
    switch (mode_) {
      case Mode::line:
        return echo(input.substr(0, lines_size(input, searched)));
      case Mode::bytes64k:
        return echo(
            input.substr(0, input.size() / kMessageSize * kMessageSize));
      case Mode::http:
        return answer_heads(input, searched);
      case Mode::churn:
        return echo_one_line(input, searched);
      case Mode::source:
        return begin_source(input, searched);
      case Mode::sink:
        break;
    }
    return input.size();
  }

  std::size_t echo(std::string_view messages) {
    if (!messages.empty()) {
      send(messages);
    }
    return messages.size();
  }

  std::size_t echo_one_line(std::string_view input, std::size_t searched);
  std::size_t begin_source(std::string_view input, std::size_t searched);
  std::size_t answer_heads(std::string_view input, std::size_t searched);

  void send(std::string_view data) {
    const std::optional<std::size_t> sent = socket_.send(data);
    if (!sent) {
      fail();
    } else if (*sent != data.size()) {
      output_ = data.substr(*sent);
    }
  }

  void send_rest();
  void send_pieces();

  Socket socket_;
  std::string input_;        // the start of a message
  std::string output_;       // what the kernel has not taken yet
  std::size_t to_send_ = 0;  // by the mode source
  Mode mode_;                // source becomes sink once it knows how much
  bool closing_ = false;     // once the output is gone
};

}  // namespace peers
