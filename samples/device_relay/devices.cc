#include "device_relay/devices.h"

#include "device_relay/source.h"

namespace device_relay {

bool Devices::add(const std::string& uuid,
                  const std::shared_ptr<Source>& source) {
  return sources_.emplace(uuid, source).second;
}

void Devices::remove(const std::string& uuid) { sources_.erase(uuid); }

std::shared_ptr<Source> Devices::find(const std::string& uuid) const {
  const auto found = sources_.find(uuid);
  if (found == sources_.end()) {
    return nullptr;
  }
  const std::shared_ptr<Source> source = found->second.lock();
  return source != nullptr && source->has_keys() ? source : nullptr;
}

}  // namespace device_relay
