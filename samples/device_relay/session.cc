#include "device_relay/session.h"

#include <exception>
#include <utility>

#include "waterspout/address.h"
#include "waterspout/error.h"
#include "waterspout/stack_context.h"

namespace device_relay {

namespace {

constexpr waterspout::Duration kTimeToFinish = std::chrono::seconds(5);

constexpr std::size_t kLengthBytes = 4;

std::size_t parse_length(std::string_view bytes) {
  std::size_t length = 0;
  for (const char byte : bytes) {
    length = length << 8 | static_cast<unsigned char>(byte);
  }
  return length;
}

// What has arrived is read also when the connection has broken since, and then
// nobody can be answered. The close callback does the rest.
bool is_about_closed_stream(const std::exception_ptr& exception) {
  try {
    std::rethrow_exception(exception);
  } catch (const waterspout::StreamClosedError&) {
    return true;
  } catch (...) {
    return false;
  }
}

}  // namespace

Session::Session(std::shared_ptr<waterspout::IOStream> stream)
    : stream_(std::move(stream)), peer_(stream_->peer_address().to_string()) {}

void Session::start() {
  stream_->set_close_callback([self = shared_from_this()] {
    self->end_handshake();
    self->on_close();
  });
  set_deadline(kTimeForHandshake, "handshake: takes too long");
  waterspout::run_with_stack_context<waterspout::ExceptionStackContext>(
      is_about_closed_stream, [this] { begin(); });
}

void Session::read_text(const std::string& name, std::size_t longest,
                        std::function<void(std::string_view text)> on_text) {
  stream_->read_bytes(
      kLengthBytes, [this, self = shared_from_this(), name, longest,
                     on_text = std::move(on_text)](std::string_view bytes) {
        const std::size_t length = parse_length(bytes);
        if (length == 0 || length > longest) {
          refuse(name + ": its length " + std::to_string(length) +
                 " is not from 1 to " + std::to_string(longest));
          return;
        }
        stream_->read_bytes(length, on_text);
      });
}

void Session::accept() { stream_->write(kAccepted); }

void Session::refuse(std::string_view reason) {
  log(reason);
  stream_->write(kRefused);
  finish();
}

void Session::drop(std::string_view reason) {
  log(reason);
  stream_->close();
}

void Session::finish() {
  if (stream_->closed()) {
    return;
  }
  set_deadline(kTimeToFinish, "end: takes too long");
  stream_->close_after_writing();
}

void Session::end_handshake() { stream_->loop().remove_timeout(deadline_); }

// The timeout does not hold the session: the stream's close removes it.
void Session::set_deadline(waterspout::Duration delay,
                           const std::string& reason) {
  end_handshake();
  deadline_ =
      stream_->loop().call_later(delay, [weak = weak_from_this(), reason] {
        if (const std::shared_ptr<Session> session = weak.lock()) {
          session->drop(reason);
        }
      });
}

void Session::log(std::string_view reason) {
  stream_->loop().logger().warning(peer_ + ": " + std::string(reason));
}

}  // namespace device_relay
