#include "device_relay/source.h"

#include <algorithm>
#include <utility>

#include "waterspout/error.h"

#include "device_relay/consumer.h"

namespace device_relay {

namespace {

constexpr std::size_t kNumberBytes = 4;

}  // namespace

Source::Source(std::shared_ptr<waterspout::IOStream> stream,
               std::shared_ptr<Devices> devices)
    : Session(std::move(stream)), devices_(std::move(devices)) {}

void Source::begin() {
  accept();
  read_text(
      "uuid", kLongestUuid,
      [self = self<Source>()](std::string_view uuid) { self->on_uuid(uuid); });
}

void Source::on_uuid(std::string_view uuid) {
  const std::string name(uuid);
  if (!devices_->add(name, self<Source>())) {
    refuse("uuid: " + waterspout::escape_bytes(name) +
           ": another source has it");
    return;
  }
  uuid_ = name;
  accept();
  read_text(
      "keys", kLongestKeys,
      [self = self<Source>()](std::string_view keys) { self->on_keys(keys); });
}

void Source::on_keys(std::string_view keys) {
  keys_ = keys;
  const auto commas = std::count(keys.begin(), keys.end(), ',');
  frame_size_ = kNumberBytes * (static_cast<std::size_t>(commas) + 1);
  accept();
  end_handshake();
  read_frame();
}

void Source::read_frame() {
  stream()->read_bytes(frame_size_,
                       [self = self<Source>()](std::string_view frame) {
                         self->relay(frame);
                         self->read_frame();
                       });
}

// Nothing here waits for a consumer, and none of their callbacks runs in here.
void Source::relay(std::string_view frame) {
  std::erase_if(consumers_, [frame](const std::weak_ptr<Consumer>& weak) {
    const std::shared_ptr<Consumer> consumer = weak.lock();
    return consumer == nullptr || !consumer->send(frame);
  });
}

std::size_t Source::receivers() const {
  const auto count =
      std::count_if(consumers_.begin(), consumers_.end(),
                    [](const std::weak_ptr<Consumer>& weak) {
                      const std::shared_ptr<Consumer> consumer = weak.lock();
                      return consumer != nullptr && consumer->receiving();
                    });
  return static_cast<std::size_t>(count);
}

void Source::add(const std::shared_ptr<Consumer>& consumer) {
  consumers_.push_back(consumer);
}

void Source::on_close() {
  if (!uuid_.empty()) {
    devices_->remove(uuid_);
  }
  for (const std::weak_ptr<Consumer>& weak : consumers_) {
    if (const std::shared_ptr<Consumer> consumer = weak.lock()) {
      consumer->source_gone();
    }
  }
}

}  // namespace device_relay
