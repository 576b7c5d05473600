// The command line of device_relay.

#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "device_relay/relay.h"
#include "serve/serve.h"

namespace device_relay {

/// What the user asked for.
struct Options {
  bool help = false;
  serve::Options listen;                       ///< --address, --port
  std::size_t max_unsent = Relay::kMaxUnsent;  ///< --max-unsent, bytes
};

/// `arguments` are main's, without the program's name.
/// Errors: throws serve::UsageError, which says what is wrong.
[[nodiscard]] Options parse_options(std::vector<std::string> arguments);

/// The text of --help.
[[nodiscard]] const char* usage() noexcept;

}  // namespace device_relay
