#include <algorithm>
#include <string>
#include <utility>

#include "waterspout/error.h"

#include "stream/stream_core.h"

namespace waterspout::detail {
std::size_t StreamCore::write_room() const noexcept {
  const std::size_t most = max_write_buffer_size_;
  return most - std::min(most, write_.size());
}

void StreamCore::check_can_write(std::string_view data) const {
  if (closed() || write_.ended()) {
    throw StreamClosedError("write", "stream", error());
  }
  if (data.size() > write_room()) {
    throw StreamBufferFullError("write",
                                std::to_string(data.size()) + " bytes behind " +
                                    std::to_string(write_.size()) + " unsent");
  }
}

void StreamCore::write(std::string_view data,
                       BaseIOStream::WriteCallback&& callback) {
  if (!can_gather(data.size())) [[unlikely]] {
    write_otherwise(data, std::move(callback));
    return;
  }
  make_room_for(callback);
  write_.gather(data, loop_->pools());
  if (callback) {
    write_.add_completion(std::move(callback), loop_->pools());
  }
}

// What cannot be reported must not be written.
void StreamCore::make_room_for(const BaseIOStream::WriteCallback& callback) {
  if (callback && loop_ != nullptr) {
    loop_->pools().completions.make_room();
  }
}

void StreamCore::write(std::string_view data) {
  if (can_gather(data.size())) [[likely]] {
    write_.gather(data, loop_->pools());
  } else {
    write_otherwise(data, nullptr);
  }
}

void StreamCore::write_otherwise(std::string_view data,
                                 BaseIOStream::WriteCallback&& callback) {
  make_room_for(callback);
  send_or_queue(data);
  if (closed()) {
    return;  // the close callback tells
  }
  if (callback) {
    write_.add_completion(std::move(callback), loop_->pools());
  }
  settle_outside();
}

void StreamCore::send_or_queue(std::string_view data) {
  // What is merely gathered does not fill the buffer: it can leave now.
  if (data.size() > write_room() && open() && !write_.blocked()) {
    send_now({});
    if (closed()) {
      return;
    }
  }
  check_can_write(data);
  const bool small = data.size() < kLargeWrite &&
                     write_.size() + data.size() <= kGatheredAtMost;
  if (!open() || write_.blocked()) {
    write_.append(data, loop_->pools());
  } else if (small && loop_->in_turn()) {
    write_.append(data, loop_->pools());
    loop_->send_at_end(*this);
  } else {
    send_now(data);
  }
}

// What is queued and then `data`: sent as far as the kernel takes it, the rest
// queued until it is ready for more.
void StreamCore::send_now(std::string_view data) {
  has_sent(write_.send(*transport_, loop_->pools(), data));
}

void StreamCore::has_sent(Transfer sent) {
  if (sent.outcome == Transfer::Outcome::failed) {
    fail("write", sent.error());
    return;
  }
  if (write_.blocked()) {
    set_plain(false);
    listen_for_output();
    return;
  }
  stop_listening_for_output();
  if (write_.ended()) {
    finish_writing();
  }
}

}  // namespace waterspout::detail
