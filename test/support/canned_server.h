// A server on the test's own loop that gives every request the same answer.

#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "waterspout/address.h"
#include "waterspout/ioloop.h"
#include "waterspout/iostream.h"

#include "support/sockets.h"

namespace waterspout::test {

/// Listens on a free port of 127.0.0.1. Reads each request's head, sends the
/// response and closes.
class CannedServer {
 public:
  static constexpr std::string_view kResponse =
      "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nHello";

  explicit CannedServer(IOLoop& loop, std::string_view response = kResponse)
      : loop_(loop), response_(response), listener_(listen_on_loopback(port_)) {
    loop_.add_handler(listener_.get(), IOLoop::READ,
                      [this](int, IOLoop::Events) { serve(); });
  }
  ~CannedServer() { loop_.remove_handler(listener_.get()); }

  CannedServer(const CannedServer&) = delete;
  CannedServer& operator=(const CannedServer&) = delete;

  [[nodiscard]] Address address() const { return {"127.0.0.1", port_}; }

 private:
  void serve() {
    const auto stream =
        IOStream::create(loop_, accept_from(listener_.get()).release());
    stream->read_until("\r\n\r\n",
                       [stream, response = response_](std::string_view) {
                         stream->write(response);
                         stream->close_after_writing();
                       });
  }

  IOLoop& loop_;
  std::string response_;
  std::uint16_t port_ = 0;
  UniquePeerFd listener_;
};

}  // namespace waterspout::test
