#include <stdexcept>
#include <utility>

#include "waterspout/error.h"
#include "waterspout/ssl.h"

#include "loop/time_math.h"
#include "stream/stream_core.h"

namespace waterspout::detail {

void StreamCore::connect(const Address& address,
                         IOStream::ConnectCallback callback) {
  if (!callback) {
    throw std::invalid_argument("connect: callback: is empty");
  }
  if (address.size() == 0) {
    throw std::invalid_argument("connect: address: has no family");
  }
  if (closed()) {
    throw StreamClosedError("connect", address.to_string(), error());
  }
  if (phase_ != Phase::unconnected) {
    throw std::logic_error("connect: " + address.to_string() +
                           ": the stream is connecting or was connected");
  }
  callback.set_operation("connect");
  extra().connecting =
      std::make_unique<Connecting>(Connecting{address, std::move(callback)});
  phase_ = Phase::connecting;
  const Transfer begun = transport_->connect(address);
  if (begun.outcome == Transfer::Outcome::failed) {
    fail("connect", begun.error());
  } else {
    // Also where it is connected already: the callback comes from the loop.
    listen_for_output();
  }
  settle_outside();
}

void StreamCore::finish_connecting() {
  if (const std::error_code error = transport_->connect_result()) {
    fail("connect", error);
    return;
  }
  stop_listening_for_output();
  if (handshake() != nullptr) {
    phase_ = Phase::shaking_hands;
    shake_hands();
  } else {
    opened();
  }
}

void StreamCore::opened() {
  phase_ = Phase::open;
  loop_->send_at_end(*this);
}

bool StreamCore::deliver_connected() {
  if (connecting() == nullptr || !open()) {
    return false;
  }
  const std::unique_ptr<Connecting> done = std::move(extra_->connecting);
  call(done->callback, "connect");
  return true;
}

void StreamCore::expect_handshake(Duration limit, bool as_client) {
  extra().handshake = std::make_unique<Handshake>();
  handshake()->limit = limit;
  handshake()->as_client = as_client;
  if (phase_ == Phase::shaking_hands) {
    post_task();
  }
}

// The timeout goes with the handshake, and that with *this.
void StreamCore::begin_handshake() {
  handshake()->begun = true;
  if (handshake()->limit > Duration::zero()) {
    const NullContext outside;
    handshake()->timeout = loop_->call_at(
        later(loop_->time(), handshake()->limit),
        Callback<void()>([this] { handshake_is_late(); }, Origin()));
  }
}

void StreamCore::shake_hands() {
  if (!handshake()->begun) {
    begin_handshake();
  }
  const Transfer shaken = transport_->handshake();
  if (shaken.outcome == Transfer::Outcome::failed) {
    fail("handshake", shaken.error());
    return;
  }
  if (shaken.outcome == Transfer::Outcome::would_block) {
    const bool writes = transport_->holds_output();
    if (writes) {
      readable_.remove();
      listen_for_output();
    } else {
      stop_listening_for_output();
      listen_for_input();
    }
    return;
  }
  stop_listening_for_output();
  loop_->remove_timeout(handshake()->timeout);
  if (!handshake()->callback) {
    extra_->handshake.reset();
  }
  opened();
}

void StreamCore::wait_for_handshake(Callback<void()> callback) {
  if (!callback) {
    throw std::invalid_argument("wait_for_handshake: callback: is empty");
  }
  if (closed()) {
    throw StreamClosedError("wait_for_handshake", "stream", error());
  }
  if (handshake() != nullptr && handshake()->callback) {
    throw std::logic_error("wait_for_handshake: another callback waits");
  }
  if (handshake() == nullptr) {
    extra().handshake = std::make_unique<Handshake>();
  }
  set_plain(false);
  callback.set_operation("wait_for_handshake");
  handshake()->callback = std::move(callback);
  settle_outside();
}

bool StreamCore::deliver_handshake() {
  if (!has_handshake_due()) {
    return false;
  }
  const std::unique_ptr<Handshake> done = std::move(extra_->handshake);
  call(done->callback, "wait_for_handshake");
  return true;
}

void StreamCore::check_can_let_go(const char* operation) {
  check_nothing_pending(operation);
  if (unread_bytes() != 0) {
    throw std::logic_error(std::string(operation) + ": " +
                           std::to_string(unread_bytes()) +
                           " bytes are unread");
  }
}

void StreamCore::check_nothing_pending(const char* operation) {
  if (closed()) {
    throw StreamClosedError(operation, "stream", error());
  }
  const std::string prefix(operation);
  if (!open()) {
    throw std::logic_error(prefix + ": the stream is not connected");
  }
  if (write_.size() != 0 && !write_.blocked()) {
    send_now({});
    if (closed()) {
      throw StreamClosedError(operation, "stream", error());
    }
  }
  if (connecting() != nullptr || read_.pending() || write_.has_completions()) {
    throw std::logic_error(prefix + ": a callback of the stream is pending");
  }
  if (write_.size() != 0 || write_.ended()) {
    throw std::logic_error(prefix + ": " + std::to_string(write_.size()) +
                           " bytes are unsent");
  }
}

void StreamCore::take_in(std::string_view received) {
  unread_.receive(received);
  store_incoming();
}

std::unique_ptr<Transport> StreamCore::let_go() noexcept {
  phase_ = Phase::closed;
  set_plain(false);
  stop_listening();
  loop_->count_stream(false);
  std::unique_ptr<Transport> transport = std::move(transport_);
  settle_outside();
  return transport;
}

}  // namespace waterspout::detail
