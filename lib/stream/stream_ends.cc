#include <stdexcept>
#include <string>
#include <utility>

#include "stream/stream_core.h"

namespace waterspout::detail {
namespace {

void check_half_close(bool half_close, const char* operation) {
  if (!half_close) {
    throw std::logic_error(std::string(operation) +
                           ": the stream was made without half_close");
  }
}

}  // namespace

void StreamCore::set_read_end_callback(Callback<void()> callback) {
  check_half_close(half_close_, "set_read_end_callback");
  if (loop_ == nullptr) {
    return;  // nobody is left to call it
  }
  callback.set_operation("set_read_end_callback");
  // The old one is destroyed last: that may run user code.
  const Callback<void()> old =
      std::exchange(extra().read_end_callback, std::move(callback));
  settle_outside();
}

// The peer has ended its side. That is reported once more, to receive_input(),
// which then wants nothing and removes the event.
void StreamCore::end_reading() {
  if (!half_close_ || write_ended_) {
    read_ended_ = half_close_;
    close({});
    return;
  }
  read_ended_ = true;
  set_plain(false);
  drop_unsatisfied_read();
}

void StreamCore::close_after_writing() {
  shutting_down_ = false;
  set_plain(false);
  write_.end();
  if (write_.size() == 0) {
    close({});
  }
}

void StreamCore::shutdown_write() {
  check_half_close(half_close_, "shutdown_write");
  if (closed() || write_.ended()) {
    return;
  }
  shutting_down_ = true;
  set_plain(false);
  write_.end();
  if (open() && write_.size() == 0) {
    finish_writing();
  }
  settle_outside();
}

// All that was written before our end has been taken.
void StreamCore::finish_writing() {
  if (!shutting_down_ || read_ended_) {
    close({});
    return;
  }
  if (std::exchange(write_ended_, true)) {
    return;
  }
  const Transfer ended = transport_->end_output();
  if (ended.outcome == Transfer::Outcome::failed) {
    fail("shutdown_write", ended.error());
  }
}

bool StreamCore::deliver_read_ended() {
  if (!read_ended_ || !watched_for_read_end()) {
    return false;
  }
  call_once(extra_->read_end_callback, "set_read_end_callback");
  return true;
}

}  // namespace waterspout::detail
