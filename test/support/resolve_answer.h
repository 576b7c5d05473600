// What a resolver's callback was told.

#pragma once

#include <ostream>  // CHECK prints error codes with it
#include <string>
#include <system_error>
#include <vector>

#include "waterspout/address.h"

namespace waterspout::test {

struct ResolveAnswer {
  int calls = 0;
  std::error_code error = {};
  std::vector<std::string> addresses = {};

  /// A callback that keeps what it is told here.
  [[nodiscard]] auto callback() {
    return [this](std::error_code its_error,
                  const std::vector<Address>& its_addresses) {
      ++calls;
      error = its_error;
      for (const Address& address : its_addresses) {
        addresses.push_back(address.to_string());
      }
    };
  }
};

}  // namespace waterspout::test
