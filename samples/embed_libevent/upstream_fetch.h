// One GET from the upstream server: the part of the application that is written
// with waterspout. Nothing here knows of libevent; that the loop stands on
// somebody else's event_base shows nowhere.
//
//   start -> send_request -> read_head -> on_head -> on_body or on_end -> done

#pragma once

#include <cstddef>
#include <exception>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "waterspout/address.h"
#include "waterspout/ioloop.h"
#include "waterspout/iostream.h"

namespace embed_libevent {

struct Upstream {
  waterspout::Address address;
  std::string host;  ///< as a Host header has it: "example.org:8000"
};

/// What a fetch came to: the upstream's response or, with status 502 or 504
/// and the reason as its body, why there is none.
struct Response {
  int status = 0;
  std::string content_type;
  std::string body;
  bool failed = false;  ///< there is none
};

/// Life: constructed -> start() -> done, or cancel() at any time.
///
/// Lifetime: the callbacks of the stream and of the timeout hold the fetch, and
/// the fetch holds the stream. Both ways to the end close the stream, which
/// drops its callbacks, so nothing is left over.
class UpstreamFetch : public std::enable_shared_from_this<UpstreamFetch> {
 public:
  using DoneCallback = std::function<void(const Response& response)>;

  /// A response that is larger becomes a 502.
  static constexpr std::size_t kLargestHead = 16384;    // bytes
  static constexpr std::size_t kLargestBody = 1048576;  // bytes

  /// `loop` outlives the fetch.
  UpstreamFetch(waterspout::IOLoop& loop, Upstream upstream,
                waterspout::Duration time_limit);

  /// Fetches `path`, which must be fit for a request line. `done` is called
  /// once, on the loop and never inside start(), unless cancel() comes first.
  void start(std::string_view path, DoneCallback done);

  /// Ends the connection; `done` is not called any more.
  void cancel();

 private:
  void send_request();
  void read_head();
  void on_head(std::string_view head);
  void on_body(std::string_view body);
  void on_end(std::string_view body);
  void on_close();
  void on_timeout();
  bool on_exception(const std::exception_ptr& exception);
  void fail(int status, const std::string& reason);
  void finish();

  waterspout::IOLoop& loop_;
  const Upstream upstream_;
  const waterspout::Duration time_limit_;
  std::string request_;
  DoneCallback done_;
  waterspout::TimeoutHandle timeout_;
  std::shared_ptr<waterspout::IOStream> stream_;
  const char* step_ = "connecting";
  Response response_;
};

}  // namespace embed_libevent
