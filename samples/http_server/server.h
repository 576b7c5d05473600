#pragma once

#include <memory>

#include "waterspout/tcpserver.h"

#include "http_server/connection.h"

namespace http_server {

/// Serves the files of a directory by HTTP/1.1 and HTTP/1.0.
class HTTPServer : public waterspout::TCPServer {
 public:
  using Options = Limits;

  HTTPServer(waterspout::IOLoop& loop,
             std::shared_ptr<const Directory> directory,
             const Options& options = {},
             TCPServer::Options server_options = {});

 protected:
  void handle_stream(std::shared_ptr<waterspout::IOStream> stream,
                     const waterspout::Address& address) override;

  /// Answers that are under way are completed.
  void handle_drain(waterspout::IOStream& stream) override;

 private:
  const std::shared_ptr<Shared> shared_;
};

}  // namespace http_server
