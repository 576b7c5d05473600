// One connection to a server: commands go out, replies come in.

#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "waterspout/iostream.h"

#include "redis_client/resp.h"

namespace redis_client {

/// Life: constructed -> started -> ended, by close() or with on_lost.
///
/// Lifetime: the stream's callbacks hold the connection, and the connection
/// holds the stream; the end of either lets go of both. Whoever owns the
/// handlers closes it before they go.
class Connection : public std::enable_shared_from_this<Connection> {
 public:
  struct Handlers {
    /// Every reply, in order. May close the connection; what it throws closes
    /// it too.
    std::function<void(Reply reply)> on_reply;
    /// The connection has ended, and not by close(). The last call.
    std::function<void(const std::string& reason)> on_lost;
  };

  Connection(std::shared_ptr<waterspout::IOStream> stream, Handlers handlers)
      : stream_(std::move(stream)), handlers_(std::move(handlers)) {}

  void start();

  /// True as long as write() is of use. on_lost may still be to come.
  [[nodiscard]] bool open() const noexcept { return !stream_->closed(); }

  /// Sends, if it is open.
  void write(std::string_view bytes);

  [[nodiscard]] std::size_t unsent_bytes() const noexcept {
    return stream_->unsent_bytes();
  }

  /// Ends it; nothing is called any more.
  void close();

 private:
  void read();
  void on_bytes(std::string_view bytes);
  void on_close();
  void lose(const std::string& reason);

  const std::shared_ptr<waterspout::IOStream> stream_;
  const Handlers handlers_;
  Parser parser_;
  bool ended_ = false;
};

}  // namespace redis_client
