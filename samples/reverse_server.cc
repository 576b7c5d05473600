// Sends back what it is sent in reverse, in the foreground or the background.
//
//   $ reverse_server start --pidfile /tmp/reverse.pid
//   $ printf 00005abcde | nc -q1 127.0.0.1 9090
//   00005edcba
//   $ reverse_server stop --pidfile /tmp/reverse.pid
//
// Shows: Daemon, and a protocol of lengths and bytes on a TCPServer. Read
// reverse_server/framed_server.cc first; it knows nothing of what the bytes
// mean.

#include <cstdio>
#include <exception>
#include <memory>
#include <string>
#include <string_view>

#include "waterspout/daemon.h"
#include "waterspout/ioloop.h"

#include "reverse_server/framed_server.h"
#include "reverse_server/options.h"
#include "serve/serve.h"

namespace {

using reverse_server::FramedServer;

std::string reverse(std::string_view request) {
  return {request.rbegin(), request.rend()};
}

class ReverseServer final : public waterspout::Daemon {
 public:
  explicit ReverseServer(const reverse_server::Options& options)
      : Daemon({.pid_file = options.pid_file,
                .stdout_file = options.log_file,
                .stderr_file = options.log_file}),
        options_(options) {}

 protected:
  void run() override {
    (void)serve::run(
        "reverse_server", options_.listen,
        [this](waterspout::IOLoop& loop, const auto& /*server_options*/) {
          ready();  // the sockets listen by now
          return std::make_unique<FramedServer>(loop, options_.digits, reverse);
        });
  }

 private:
  const reverse_server::Options options_;
};

}  // namespace

int main(int argc, char** argv) try {
  const reverse_server::Options options =
      reverse_server::parse_options({argv + 1, argv + argc});
  if (options.help) {
    std::fputs(reverse_server::usage(), stdout);
    return 0;
  }
  return ReverseServer(options).command(options.command);
} catch (const serve::UsageError& error) {
  std::fprintf(stderr, "reverse_server: %s (see reverse_server --help)\n",
               error.what());
  return 2;
} catch (const std::exception& error) {
  std::fprintf(stderr, "reverse_server: %s\n", error.what());
  return 1;
}
