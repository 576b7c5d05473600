#include "device_relay/options.h"

#include <cstdint>

namespace device_relay {

namespace {

constexpr const char* kUsage =
    R"(usage: device_relay --port N [OPTION]...
Passes on the frames of numbers that devices send to whoever asks for them. The
protocol is in device_relay/relay.h.

  --port N            listen on port N; 0 lets the system choose
  --address A         listen on A: an IP address or a host name (all interfaces)
  --max-unsent BYTES  drop a consumer for which more than that would wait
                      (1048576, and 131072 at least)
  -h, --help          this text

Exit status: 0 all is well, 1 it failed, 2 the command line is wrong.
)";

constexpr std::size_t kHighestMaxUnsent = std::size_t{1} << 30;

}  // namespace

Options parse_options(std::vector<std::string> arguments) {
  Options options;
  if (serve::take_flag(arguments, "--help") ||
      serve::take_flag(arguments, "-h")) {
    options.help = true;
    return options;
  }
  const auto port =
      serve::take_number<std::uint16_t>(arguments, "--port", 0, 65535);
  options.listen.address =
      serve::take_value(arguments, "--address").value_or("");
  options.max_unsent =
      serve::take_number(arguments, "--max-unsent", Relay::kLeastMaxUnsent,
                         kHighestMaxUnsent)
          .value_or(options.max_unsent);
  if (!arguments.empty()) {
    throw serve::UsageError("unknown argument: " + arguments.front());
  }
  if (!port) {
    throw serve::UsageError("--port is missing");
  }
  options.listen.port = *port;
  return options;
}

const char* usage() noexcept { return kUsage; }

}  // namespace device_relay
