// A consumer: whoever wants the frames of a device.

#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "device_relay/devices.h"
#include "device_relay/session.h"

namespace device_relay {

class Source;

class Consumer final : public Session {
 public:
  Consumer(std::shared_ptr<waterspout::IOStream> stream,
           std::shared_ptr<Devices> devices);

  /// True once it has accepted the keys, until it has closed.
  [[nodiscard]] bool receiving() const noexcept;

  /// Passes on a frame, once the consumer has accepted the keys. Returns false
  /// if it gets no more: it has closed, or is closed now, for it does not keep
  /// up.
  [[nodiscard]] bool send(std::string_view frame);

  /// There will be no more frames.
  void source_gone();

 private:
  enum class State { handshake, receiving, over };

  void begin() override;
  void on_uuid(std::string_view uuid);
  void offer(Source& source);
  void on_answer(std::string_view answer);
  void expect_silence();

  const std::shared_ptr<Devices> devices_;
  std::string uuid_;
  State state_ = State::handshake;
};

}  // namespace device_relay
