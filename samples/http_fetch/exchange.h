// One request and its response on a connection of their own. This is the file
// to read for how callbacks are chained: each step asks the stream for one
// thing and names the step that comes when it is done.
//
//   start -> on_connection -> send_request -> read_head_line ... -> on_head
//   read_body ... -> on_end

#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "waterspout/iostream.h"
#include "waterspout/resolver.h"
#include "waterspout/tcpclient.h"

#include "http_fetch/body_reader.h"
#include "http_fetch/http_head.h"
#include "http_fetch/trust.h"

namespace http_fetch {

/// Life: constructed -> start -> on_head -> read_body -> on_end -> close(),
/// which may come at any time.
///
/// Every failure is an exception, from start() itself or in a callback; from
/// there it goes to the ExceptionStackContext in which start() was called. A
/// StreamClosedError is none: it comes where the chain asks a closed stream for
/// more, and the close callback, which follows, knows what that means.
///
/// Lifetime: the client's callback holds the exchange, then the stream's
/// callbacks do, and the exchange holds the stream; close(), which ends every
/// exchange, drops them all.
class Exchange : public std::enable_shared_from_this<Exchange> {
 public:
  using HeadCallback = std::function<void(const ResponseHead& head)>;

  struct Request {
    Method method = Method::get;
    Url url;
    std::string text;  ///< the head as it is sent
  };

  /// `trust` is asked for https URLs. Lifetime: both outlive it.
  Exchange(waterspout::TCPClient& client, Trust& trust, Request request);

  /// Finds the server, sends the request, reads the response's head.
  void start(HeadCallback on_head);

  /// Reads the body; to be called in `on_head`, or never.
  void read_body(PieceCallback on_piece, EndCallback on_end);

  /// Ends the connection; nothing is called any more.
  void close();

  [[nodiscard]] const Url& url() const { return request_.url; }
  [[nodiscard]] const Framing& framing() const { return framing_; }

  /// What it is doing: "connecting to 127.0.0.1:8000".
  [[nodiscard]] std::string describe_step() const;

 private:
  enum class Step { connecting, sending, reading_head, reading_body, closed };

  void on_connection(const waterspout::ConnectError& error,
                     std::shared_ptr<waterspout::IOStream> stream);
  void send_request();
  void read_head_line();
  void on_head_line(std::string_view line);
  void on_close();
  [[nodiscard]] std::string describe_end() const;
  [[nodiscard]] std::string describe_head_end(std::string_view rest) const;
  [[nodiscard]] std::string describe_body() const;

  waterspout::TCPClient& client_;
  Trust& trust_;
  const Request request_;
  HeadCallback on_head_;
  Step step_ = Step::connecting;
  waterspout::RequestHandle connecting_;
  std::shared_ptr<waterspout::IOStream> stream_;
  ResponseHead head_;
  std::size_t head_bytes_ = 0;  // of interim heads too
  Framing framing_;             // from on_head_ on
  std::uint64_t received_ = 0;  // bytes of the body
};

}  // namespace http_fetch
