// One connection: its requests, one after another, as a chain of callbacks.
//
//   read -> on_input -> respond -> on_written -> (send_piece -> on_written) ...
//     ^                                 |
//     +---------------------------------+
//
// A request that arrives in one piece costs one read and one write, its head
// and a small file included. A large file goes out in pieces, each after the
// one before has been taken, so that a client which does not read cannot make
// the server store.

#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>

#include "waterspout/ioloop.h"
#include "waterspout/iostream.h"

#include "http_server/files.h"
#include "http_server/request.h"
#include "http_server/response.h"

namespace http_server {

struct Limits {
  HeadLimits head = {};
  /// Until the first byte of the first request, and from the first byte of each
  /// request until its head is there: 408, or nothing where nothing came.
  waterspout::Duration head_timeout = std::chrono::seconds(15);
  /// From an answer to the first byte of the next request.
  waterspout::Duration idle_timeout = std::chrono::seconds(60);
  /// A client that takes nothing of its answer for so long, or at most twice as
  /// long, is given up.
  waterspout::Duration stall_timeout = std::chrono::seconds(30);
  /// For a client that was refused to close its end.
  waterspout::Duration linger_timeout = std::chrono::seconds(2);
};

class HTTPConnection;

/// What the connections of one server have in common. The last one frees it.
struct Shared {
  waterspout::IOLoop& loop;
  const std::shared_ptr<const Directory> directory;
  const Limits limits;
  std::unordered_map<const waterspout::BaseIOStream*, HTTPConnection*>
      connections;
  std::string output;  // where answers are put together, one at a time
};

/// Life: start() -> requests -> gone when its stream has closed, for whatever
/// reason: the stream's pending callback is what holds it.
class HTTPConnection : public std::enable_shared_from_this<HTTPConnection> {
 public:
  HTTPConnection(std::shared_ptr<Shared> shared,
                 std::shared_ptr<waterspout::IOStream> stream);
  ~HTTPConnection();

  HTTPConnection(const HTTPConnection&) = delete;
  HTTPConnection& operator=(const HTTPConnection&) = delete;

  void start();

  /// Closes at once if no request is under way, else after its answer.
  void finish();

 private:
  enum class Phase {
    idle,        // waits for the first byte of a request
    reading,     // waits for the rest of a head
    responding,  // waits until the client has taken the answer
    lingering,   // waits until the client has seen that it was refused
  };

  void read();
  void on_input(std::string_view input);
  void take_stored_request();
  std::size_t take_request(std::string_view input);
  void wait_for_more(std::string_view input);
  void respond(std::string_view head);
  void refuse(const BadRequest& error, std::string_view input);
  void send_piece();
  void on_written();
  void on_deadline();
  void set_deadline(waterspout::Duration delay);
  [[nodiscard]] std::uint64_t untaken_bytes() const;

  const std::shared_ptr<Shared> shared_;
  const std::shared_ptr<waterspout::IOStream> stream_;
  waterspout::TimeoutHandle deadline_;
  Phase phase_ = Phase::idle;
  bool last_ = false;     // no request follows on the one under way
  std::string input_;     // received ahead, or half a head: mostly empty
  std::size_t used_ = 0;  // bytes at its beginning that have been dealt with
  HeadFinder finder_;
  Response response_;          // what of it is still to be sent
  std::uint64_t untaken_ = 0;  // untaken_bytes() when it was last looked at
};

}  // namespace http_server
