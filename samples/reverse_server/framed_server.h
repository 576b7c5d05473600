// A server of requests and replies that are framed by their length: what they
// mean is a function.
//
// The protocol: a header of a fixed number of decimal digits, then as many
// bytes as it says; the reply is framed likewise. With five digits,
//
//   00005abcde
//
// is a request of five bytes. A connection carries any number of requests, one
// behind the other, and the client need not wait for a reply before it sends
// the next; replies come in the order of the requests. A header that is no
// positive number, or has anything in it but digits, ends the connection.

#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "waterspout/ioloop.h"
#include "waterspout/iostream.h"
#include "waterspout/tcpserver.h"

namespace reverse_server {

class FramedServer : public waterspout::TCPServer {
 public:
  static constexpr int kMaxDigits = 10;

  /// A longer request ends its connection, whatever the header has room for.
  static constexpr std::size_t kLongestRequest = std::size_t{64} << 20;

  /// The reply to a request. What it throws is logged by the loop and ends the
  /// connection; so does a reply that is longer than the header can say.
  using Logic = std::function<std::string(std::string_view request)>;

  /// `digits` is from 1 to kMaxDigits (std::invalid_argument). Connections may
  /// outlive the server; they share the logic.
  FramedServer(waterspout::IOLoop& loop, int digits, Logic logic);

 protected:
  void handle_stream(std::shared_ptr<waterspout::IOStream> stream,
                     const waterspout::Address& address) override;
  void handle_drain(waterspout::IOStream& stream) override;

 private:
  class Protocol;

  const std::shared_ptr<const Protocol> protocol_;
};

}  // namespace reverse_server
