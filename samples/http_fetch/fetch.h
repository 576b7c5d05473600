// One URL's fetch: exchange after exchange while there are redirects, and
// what ends it.

#pragma once

#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "waterspout/ioloop.h"
#include "waterspout/tcpclient.h"

#include "http_fetch/console.h"
#include "http_fetch/exchange.h"
#include "http_fetch/options.h"
#include "http_fetch/output.h"
#include "http_fetch/progress.h"
#include "http_fetch/trust.h"

namespace http_fetch {

/// From good to bad.
enum class Outcome { ok, bad_status, failed };

/// Fetches what one URL names into one output.
///
/// Life: constructed -> started -> ended, once, with an outcome. A failure is
/// told in one line on the console before that.
///
/// Lifetime: its callbacks capture `this`. They are the loop's timeout, which
/// the end of the fetch removes, and those that it gives to its exchange, which
/// the end closes; the destructor ends the fetch.
class Fetch {
 public:
  using EndCallback = std::function<void(Outcome outcome)>;

  /// What all fetches share. All of it outlives them.
  struct Shared {
    waterspout::IOLoop& loop;
    waterspout::TCPClient& client;
    Trust& trust;
    const Options& options;
    Console& console;
    Progress& progress;
  };

  using MakeOutput = std::function<std::unique_ptr<Output>()>;

  /// `url` is as the user gave it, right or wrong. `make_output` is called by
  /// start(), and may fail as everything else may.
  Fetch(Shared shared, std::string url, MakeOutput make_output,
        EndCallback on_end);
  ~Fetch();

  Fetch(const Fetch&) = delete;
  Fetch& operator=(const Fetch&) = delete;

  /// Begins. `on_end` may be called from inside this call, where the fetch
  /// fails at once.
  void start();

  /// Ends the fetch with this reason; does nothing if it has ended.
  void fail(std::string_view reason);

 private:
  void start_exchange(const Url& url);
  void on_head(const ResponseHead& head);
  void follow(const std::string& location);
  void read_body();
  void on_piece(std::string_view piece);
  void on_body_end();
  void on_timeout();
  void on_exception(const std::exception_ptr& exception);
  void end(Outcome outcome);
  void release();

  void check_size(std::uint64_t bytes) const;
  [[nodiscard]] std::vector<HeaderField> headers_for(const Url& url) const;
  void show_head(char mark, std::string_view head) const;
  void tell(std::string_view reason) const;

  const Shared shared_;
  const std::string given_url_;
  const MakeOutput make_output_;
  std::unique_ptr<Output> output_;
  EndCallback on_end_;  // empty once it has ended
  waterspout::TimeoutHandle timeout_;
  int redirects_ = 0;
  std::uint64_t body_bytes_ = 0;  // received
  std::shared_ptr<Exchange> exchange_;
};

}  // namespace http_fetch
