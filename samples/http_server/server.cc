#include "http_server/server.h"

#include <utility>

namespace http_server {

HTTPServer::HTTPServer(waterspout::IOLoop& loop,
                       std::shared_ptr<const Directory> directory,
                       const Options& options,
                       TCPServer::Options server_options)
    : TCPServer(loop, std::move(server_options)),
      shared_(std::make_shared<Shared>(
          Shared{loop, std::move(directory), options, {}, {}})) {}

void HTTPServer::handle_stream(std::shared_ptr<waterspout::IOStream> stream,
                               const waterspout::Address& /*address*/) {
  std::make_shared<HTTPConnection>(shared_, std::move(stream))->start();
}

void HTTPServer::handle_drain(waterspout::IOStream& stream) {
  const auto found = shared_->connections.find(&stream);
  if (found != shared_->connections.end()) {
    // Finishing may be the end of it.
    const auto connection = found->second->shared_from_this();
    connection->finish();
  }
}

}  // namespace http_server
