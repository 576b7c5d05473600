// A source: a device that sends frames.

#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "device_relay/devices.h"
#include "device_relay/session.h"

namespace device_relay {

class Consumer;

class Source final : public Session {
 public:
  static constexpr std::size_t kLongestUuid = 256;
  static constexpr std::size_t kLongestKeys = 16'384;

  Source(std::shared_ptr<waterspout::IOStream> stream,
         std::shared_ptr<Devices> devices);

  [[nodiscard]] bool has_keys() const noexcept { return !keys_.empty(); }
  [[nodiscard]] const std::string& keys() const noexcept { return keys_; }

  /// How many consumers get its frames.
  [[nodiscard]] std::size_t receivers() const;

  /// The consumer gets every frame from the next on, until it is gone.
  void add(const std::shared_ptr<Consumer>& consumer);

 private:
  void begin() override;
  void on_uuid(std::string_view uuid);
  void on_keys(std::string_view keys);
  void read_frame();
  void relay(std::string_view frame);
  void on_close() override;

  const std::shared_ptr<Devices> devices_;
  std::string uuid_;  // empty unless it is ours in devices_
  std::string keys_;
  std::size_t frame_size_ = 0;  // bytes
  std::vector<std::weak_ptr<Consumer>> consumers_;
};

}  // namespace device_relay
