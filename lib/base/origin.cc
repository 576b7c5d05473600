#include "waterspout/origin.h"

namespace waterspout {

std::string_view Origin::file() const noexcept {
  const auto address = packed_ & ((std::uint64_t{1} << kFileBits) - 1);
  // NOLINTNEXTLINE(performance-no-int-to-ptr): unpacking is what it is for
  const auto* name = reinterpret_cast<const char*>(address);
  return name != nullptr ? std::string_view(name) : std::string_view();
}

std::string Origin::to_string() const {
  if (packed_ == 0) {
    return "unknown";
  }
  std::string_view name = file();
  name.remove_prefix(name.rfind('/') + 1);  // npos + 1 is 0
  return std::string(name) + ":" + std::to_string(line());
}

}  // namespace waterspout
