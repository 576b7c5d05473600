// Which devices are there.

#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <string>

namespace device_relay {

class Source;

/// The sources by their uuids. It does not keep them alive: their streams do.
class Devices {
 public:
  /// False if another source has the uuid. Once true, remove() is due.
  [[nodiscard]] bool add(const std::string& uuid,
                         const std::shared_ptr<Source>& source);
  void remove(const std::string& uuid);

  /// The source of a device that has told its keys; null if there is none.
  [[nodiscard]] std::shared_ptr<Source> find(const std::string& uuid) const;

  [[nodiscard]] std::size_t size() const noexcept { return sources_.size(); }

 private:
  std::map<std::string, std::weak_ptr<Source>> sources_;
};

}  // namespace device_relay
