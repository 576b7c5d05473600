// What the callback of a TCPClient was told.

#pragma once

#include <memory>
#include <ostream>  // CHECK prints error codes with it

#include "waterspout/iostream.h"
#include "waterspout/tcpclient.h"

namespace waterspout::test {

struct ConnectAnswer {
  int calls = 0;
  ConnectError error = {};
  std::shared_ptr<IOStream> stream = {};

  /// A callback that keeps what it is told here.
  [[nodiscard]] auto callback() {
    return [this](const ConnectError& its_error,
                  std::shared_ptr<IOStream> its_stream) {
      ++calls;
      error = its_error;
      stream = std::move(its_stream);
    };
  }
};

}  // namespace waterspout::test
