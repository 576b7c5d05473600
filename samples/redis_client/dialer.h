// From an address to a stream that is connected to it.

#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "waterspout/address.h"
#include "waterspout/ioloop.h"
#include "waterspout/iostream.h"
#include "waterspout/resolver.h"
#include "waterspout/ssl.h"
#include "waterspout/tcpclient.h"

namespace redis_client {

/// Where a server is.
struct Server {
  std::string host = "127.0.0.1";
  std::uint16_t port = 6379;
  /// With a client's context, the connection is protected by TLS.
  std::optional<waterspout::SSLContext> tls = {};
  /// Instead of a host and a port.
  std::string unix_path = {};
};

/// Makes connections to one server, one at a time.
///
/// Lifetime: its callbacks capture `this`; cancel() drops them, and the
/// destructor calls it.
class Dialer {
 public:
  /// Without a stream, `error` says why.
  using Callback = std::function<void(
      const std::string& error, std::shared_ptr<waterspout::IOStream> stream)>;

  /// Errors: throws std::invalid_argument for a path that can be none.
  Dialer(waterspout::IOLoop& loop, Server server);
  ~Dialer() { cancel(); }

  Dialer(const Dialer&) = delete;
  Dialer& operator=(const Dialer&) = delete;

  /// Calls `callback` once, never inside this call.
  /// Errors: throws as TCPClient::connect.
  void dial(waterspout::Duration timeout, Callback callback);

  /// Gives up what is under way: its callback is not called.
  void cancel();

 private:
  void dial_unix();
  void end(const std::string& error,
           std::shared_ptr<waterspout::IOStream> stream);

  waterspout::IOLoop& loop_;
  const Server server_;
  const waterspout::Address unix_address_;  // if there is a path
  waterspout::TCPClient tcp_;
  waterspout::RequestHandle request_;
  std::shared_ptr<waterspout::IOStream> unix_stream_;  // while it connects
  Callback callback_;
};

}  // namespace redis_client
