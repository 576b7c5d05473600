#include "device_relay/consumer.h"

#include <utility>

#include "waterspout/error.h"

#include "device_relay/source.h"

namespace device_relay {

namespace {

std::string length_of(std::string_view text) {
  std::string bytes;
  for (const int shift : {24, 16, 8, 0}) {
    bytes += static_cast<char>(text.size() >> shift & 0xff);
  }
  return bytes;
}

}  // namespace

Consumer::Consumer(std::shared_ptr<waterspout::IOStream> stream,
                   std::shared_ptr<Devices> devices)
    : Session(std::move(stream)), devices_(std::move(devices)) {}

void Consumer::begin() {
  accept();
  read_text("uuid", Source::kLongestUuid,
            [self = self<Consumer>()](std::string_view uuid) {
              self->on_uuid(uuid);
            });
}

void Consumer::on_uuid(std::string_view uuid) {
  uuid_ = uuid;
  const std::shared_ptr<Source> source = devices_->find(uuid_);
  if (source == nullptr) {
    refuse("uuid: " + waterspout::escape_bytes(uuid_) + ": no such device");
    return;
  }
  accept();
  offer(*source);
}

// From here on the source tells also if it goes.
void Consumer::offer(Source& source) {
  stream()->write(length_of(source.keys()) + source.keys());
  source.add(self<Consumer>());
  stream()->read_bytes(1, [self = self<Consumer>()](std::string_view answer) {
    self->on_answer(answer);
  });
}

void Consumer::on_answer(std::string_view answer) {
  if (state_ == State::over) {
    return;
  }
  if (answer != kAccepted) {
    drop("keys: not accepted");
    return;
  }
  state_ = State::receiving;
  end_handshake();
  expect_silence();
}

// Reading also tells when the consumer goes.
void Consumer::expect_silence() {
  stream()->read_bytes(1, [self = self<Consumer>()](std::string_view byte) {
    self->drop("frames: unexpected byte " + waterspout::escape_bytes(byte));
  });
}

bool Consumer::receiving() const noexcept {
  return state_ == State::receiving && !stream()->closed();
}

bool Consumer::send(std::string_view frame) {
  if (state_ == State::over || stream()->closed()) {
    return false;
  }
  if (state_ == State::handshake) {
    return true;
  }
  try {
    stream()->write(frame);
    return true;
  } catch (const waterspout::StreamBufferFullError&) {
    drop("frames of " + waterspout::escape_bytes(uuid_) +
         ": does not keep up, " + std::to_string(stream()->unsent_bytes()) +
         " bytes wait");
    return false;
  }
}

void Consumer::source_gone() {
  state_ = State::over;
  finish();
}

}  // namespace device_relay
