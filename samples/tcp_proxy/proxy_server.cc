#include "tcp_proxy/proxy_server.h"

#include <chrono>
#include <cstdio>
#include <utility>

#include "waterspout/address.h"

namespace tcp_proxy {
namespace {

using waterspout::IOStream;
using waterspout::PipeResult;

constexpr waterspout::Duration kTimeToConnect = std::chrono::seconds(10);

}  // namespace

ProxyServer::ProxyServer(waterspout::IOLoop& loop, Options options,
                         Upstream upstream)
    : TCPServer(loop, half_closing(std::move(options))),
      upstream_(std::move(upstream)),
      connector_(loop) {}

// A client that has said everything still waits for its answer.
ProxyServer::Options ProxyServer::half_closing(Options options) {
  options.stream.half_close = true;
  return options;
}

// The client is held, and not read, until there is somebody to pass its bytes
// to; meanwhile they wait in the kernel.
void ProxyServer::handle_stream(std::shared_ptr<IOStream> client,
                                const waterspout::Address& address) {
  waterspout::ConnectOptions options;
  options.stream.half_close = true;
  options.tls = upstream_.tls;
  options.timeout = kTimeToConnect;
  connector_.connect(
      upstream_.host, upstream_.port, std::move(options),
      [client = std::move(client), address](
          const waterspout::ConnectError& error,
          const std::shared_ptr<IOStream>& upstream) {
        if (error) {
          std::fprintf(stderr, "tcp_proxy: %s: %s\n",
                       address.to_string().c_str(), error.message.c_str());
          client->close();
          return;
        }
        pipe_both(client, upstream, [](PipeResult, PipeResult) {});
      });
}

}  // namespace tcp_proxy
