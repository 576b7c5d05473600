#include "redis_client/dialer.h"

#include <utility>

namespace redis_client {

using waterspout::Address;
using waterspout::ConnectError;
using waterspout::IOStream;

Dialer::Dialer(waterspout::IOLoop& loop, Server server)
    : loop_(loop),
      server_(std::move(server)),
      unix_address_(server_.unix_path.empty()
                        ? Address()
                        : Address::unix_path(server_.unix_path)),
      tcp_(loop) {}

void Dialer::dial(waterspout::Duration timeout, Callback callback) {
  if (!server_.unix_path.empty()) {
    callback_ = std::move(callback);
    dial_unix();
    return;
  }
  request_ = tcp_.connect(
      server_.host, server_.port, {.tls = server_.tls, .timeout = timeout},
      [this](const ConnectError& error, std::shared_ptr<IOStream> stream) {
        end(error.message, std::move(stream));
      });
  callback_ = std::move(callback);
}

// The kernel answers at once whether it connects to a path: no time to limit.
void Dialer::dial_unix() {
  unix_stream_ = IOStream::create(loop_);
  unix_stream_->set_close_callback(
      [this] { end(unix_stream_->error_message(), nullptr); });
  unix_stream_->connect(
      unix_address_, [this] { end("", std::exchange(unix_stream_, nullptr)); });
}

void Dialer::end(const std::string& error, std::shared_ptr<IOStream> stream) {
  unix_stream_.reset();
  const Callback callback = std::exchange(callback_, nullptr);
  callback(error, std::move(stream));  // Last: may destroy this.
}

void Dialer::cancel() {
  request_.cancel();
  callback_ = nullptr;
  if (unix_stream_) {
    unix_stream_->set_close_callback(nullptr);
    unix_stream_->close();
    unix_stream_.reset();
  }
}

}  // namespace redis_client
