#include "device_relay/options.h"

#include <charconv>
#include <cstdint>
#include <iterator>
#include <string>
#include <string_view>
#include <system_error>

#include <getopt.h>

namespace device_relay {

using serve::UsageError;

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

constexpr option kLongOptions[] = {
    {"port", required_argument, nullptr, 'p'},
    {"address", required_argument, nullptr, 'a'},
    {"max-unsent", required_argument, nullptr, 'm'},
    {"help", no_argument, nullptr, 'h'},
    {nullptr, 0, nullptr, 0}};

template <class Number>
Number parse_number(const std::string& name, std::string_view text,
                    Number lowest, Number highest) {
  Number number = 0;
  const char* const end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, number);
  if (error != std::errc() || rest != end || number < lowest ||
      number > highest) {
    throw UsageError(name + ": '" + std::string(text) + "' is no number from " +
                     std::to_string(lowest) + " to " + std::to_string(highest));
  }
  return number;
}

}  // namespace

Options parse_options(int argc, char** argv) {
  Options options;
  bool has_port = false;
  optind = 0;  // begin anew, also in a second call
  // The ':' in front leaves the messages to us.
  int option = 0;
  while ((option = getopt_long(argc, argv, ":h", std::data(kLongOptions),
                               nullptr)) != -1) {
    switch (option) {
      case 'p':
        options.listen.port =
            parse_number<std::uint16_t>("--port", optarg, 0, 65535);
        has_port = true;
        break;
      case 'a':
        options.listen.address = optarg;
        break;
      case 'm':
        options.max_unsent = parse_number(
            "--max-unsent", optarg, Relay::kLeastMaxUnsent, kHighestMaxUnsent);
        break;
      case 'h':
        options.help = true;
        return options;
      default:
        throw UsageError(
            std::string(argv[optind - 1]) +
            (option == ':' ? ": its argument is missing" : ": no such option"));
    }
  }
  if (optind != argc) {
    throw UsageError(std::string(argv[optind]) + ": no such argument");
  }
  if (!has_port) {
    throw UsageError("--port is missing");
  }
  return options;
}

const char* usage() noexcept { return kUsage; }

}  // namespace device_relay
