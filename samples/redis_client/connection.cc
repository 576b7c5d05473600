#include "redis_client/connection.h"

#include <cstddef>
#include <optional>
#include <utility>

namespace redis_client {

namespace {

constexpr std::size_t kPieceSize = 65536;  // bytes

}  // namespace

void Connection::start() {
  stream_->set_close_callback(
      [self = shared_from_this()] { self->on_close(); });
  read();
}

void Connection::write(std::string_view bytes) {
  if (open()) {
    stream_->write(bytes);
  }
}

void Connection::close() {
  ended_ = true;
  stream_->set_close_callback(nullptr);
  stream_->close();
}

// Pieces as they come, for the parser to cut: one callback for all the replies
// that have arrived together. read_until for every header and read_bytes for
// every bulk string would be two for each.
void Connection::read() {
  stream_->read_bytes(kPieceSize, {.partial = true},
                      [self = shared_from_this()](std::string_view bytes) {
                        self->on_bytes(bytes);
                      });
}

void Connection::on_bytes(std::string_view bytes) {
  while (!ended_) {
    std::optional<Reply> reply;
    try {
      reply = parser_.feed(bytes);
    } catch (const ProtocolError& error) {
      lose(std::string("protocol error: ") + error.what());
      return;
    }
    if (!reply) {
      break;
    }
    handlers_.on_reply(std::move(*reply));
  }
  // What arrived before the end is still to be read, and then on_close() comes.
  if (!ended_ && (open() || stream_->unread_bytes() > 0)) {
    read();
  }
}

void Connection::on_close() {
  const std::string reason = stream_->error_message();
  lose(reason.empty() ? "the server closed the connection" : reason);
}

void Connection::lose(const std::string& reason) {
  close();
  handlers_.on_lost(reason);  // Last: may drop its reference to this object.
}

}  // namespace redis_client
