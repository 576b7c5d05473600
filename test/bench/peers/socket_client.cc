#include "peers/socket_client.h"

namespace peers {
namespace {

// How much one client may get done before the others have their turn.
constexpr int kReadsATurn = 4;
constexpr int kPiecesATurn = 64;

// As many responses as that, one after the other.
std::string_view responses(std::size_t count) {
  static std::string text;
  while (text.size() < count * kResponse.size()) {
    text += kResponse;
  }
  return {text.data(), count * kResponse.size()};
}

}  // namespace

SocketClient::Wants SocketClient::on_readable(std::span<char> scratch) {
  for (int i = 0; i < kReadsATurn; ++i) {
    const auto [size, next] = socket_.receive(scratch);
    if (size != 0) {
      take({scratch.data(), size});
    }
    if (wants() != Wants::input) {
      return wants();
    }
    if (next == Socket::Next::end) {
      return Wants::nothing;
    }
    if (next == Socket::Next::wait_for_output) {
      return Wants::output;
    }
    if (next == Socket::Next::wait) {
      return Wants::input;
    }
  }
  return Wants::input;
}

// Then reads at once: that TLS could not write may be why it could not read.
SocketClient::Wants SocketClient::on_writable(std::span<char> scratch) {
  send_rest();
  send_pieces();
  return wants() == Wants::input ? on_readable(scratch) : wants();
}

void SocketClient::join(std::string_view chunk) {
  const std::size_t searched = input_.size();
  input_ += chunk;
  input_.erase(0, answer(input_, searched));
  if (input_.empty()) {
    input_.shrink_to_fit();
  }
  closing_ = closing_ || input_.size() > kMaxLine;
}

void SocketClient::fail() {
  output_.clear();
  to_send_ = 0;
  closing_ = true;
}

std::size_t SocketClient::echo_one_line(std::string_view input,
                                        std::size_t searched) {
  const std::size_t size = line_size(input, searched);
  closing_ = size != 0;
  return echo(input.substr(0, size));
}

std::size_t SocketClient::begin_source(std::string_view input,
                                       std::size_t searched) {
  const std::size_t size = line_size(input, searched);
  if (size != 0) {
    to_send_ = parse_count(input);
    mode_ = Mode::sink;
  }
  return size;
}

std::size_t SocketClient::answer_heads(std::string_view input,
                                       std::size_t searched) {
  std::size_t answered = 0;
  std::size_t count = 0;
  while (const std::size_t size =
             head_size(input.substr(answered), count == 0 ? searched : 0)) {
    answered += size;
    ++count;
  }
  if (count != 0) {
    send(responses(count));
  }
  return answered;
}

void SocketClient::send_rest() {
  if (output_.empty()) {
    return;
  }
  const std::optional<std::size_t> sent = socket_.send(output_);
  if (!sent) {
    fail();
    return;
  }
  output_.erase(0, *sent);
  if (output_.empty()) {
    output_.shrink_to_fit();
  }
}

// What was not taken of a piece is the start of the next, without being kept.
void SocketClient::send_pieces() {
  for (int i = 0; i < kPiecesATurn && to_send_ != 0; ++i) {
    const std::string_view piece = source_piece(to_send_);
    const std::optional<std::size_t> sent = socket_.send(piece);
    if (!sent) {
      fail();
      return;
    }
    to_send_ -= *sent;
    if (*sent != piece.size()) {
      return;
    }
  }
}

}  // namespace peers
