// Passes connections on, byte for byte.

#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "waterspout/ioloop.h"
#include "waterspout/pipe.h"
#include "waterspout/ssl.h"
#include "waterspout/tcpclient.h"
#include "waterspout/tcpserver.h"

namespace tcp_proxy {

/// Where connections are passed on to.
struct Upstream {
  std::string host;
  std::uint16_t port = 0;
  std::optional<waterspout::SSLContext> tls = {};  ///< a client's
};

/// Connects to the upstream server for every client, and pipes both ways until
/// both sides have ended. Memory is bounded: what one side does not read, the
/// other cannot send. A line on standard error tells of a client that could not
/// be served.
class ProxyServer : public waterspout::TCPServer {
 public:
  /// `loop` outlives the server.
  ProxyServer(waterspout::IOLoop& loop, Options options, Upstream upstream);

 protected:
  void handle_stream(std::shared_ptr<waterspout::IOStream> client,
                     const waterspout::Address& address) override;

 private:
  [[nodiscard]] static Options half_closing(Options options);

  const Upstream upstream_;
  waterspout::TCPClient connector_;
};

}  // namespace tcp_proxy
