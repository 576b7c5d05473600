// Passes on what devices send to whoever asks for it.
//
//   $ device_relay --port 1234
//
// Shows: a binary protocol of two roles on one port, each a chain of callbacks;
// sessions that live as long as their connections, without an owner; one
// producer and many consumers, of which a slow one is dropped and slows down
// nobody. Read device_relay/relay.h first, which has the protocol, then
// source.cc and consumer.cc, its two sides.

#include <cstdio>
#include <exception>
#include <memory>

#include "device_relay/options.h"
#include "device_relay/relay.h"
#include "serve/serve.h"

int main(int argc, char** argv) try {
  const device_relay::Options options =
      device_relay::parse_options({argv + 1, argv + argc});
  if (options.help) {
    std::fputs(device_relay::usage(), stdout);
    return 0;
  }
  return serve::run(
      "device_relay", options.listen,
      [&](waterspout::IOLoop& loop, const auto& /*server_options*/) {
        return std::make_unique<device_relay::Relay>(loop, options.max_unsent);
      });
} catch (const serve::UsageError& error) {
  std::fprintf(stderr, "device_relay: %s (see device_relay --help)\n",
               error.what());
  return 2;
} catch (const std::exception& error) {
  std::fprintf(stderr, "device_relay: %s\n", error.what());
  return 1;
}
