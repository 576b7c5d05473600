// One run of http_fetch: all its URLs on one loop.

#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "waterspout/ioloop.h"
#include "waterspout/tcpclient.h"

#include "http_fetch/console.h"
#include "http_fetch/fetch.h"
#include "http_fetch/options.h"
#include "http_fetch/output.h"
#include "http_fetch/progress.h"
#include "http_fetch/trust.h"

namespace http_fetch {

class Session {
 public:
  /// Lifetime: `options` outlives it.
  explicit Session(const Options& options);

  /// Fetches everything. Returns the exit status; ends the process by the
  /// signal that interrupted it, if one did.
  [[nodiscard]] int run();

 private:
  void watch_signals();
  void add_fetch(const std::string& url);
  void on_fetch_end(Outcome outcome);
  void on_output_broken(std::string_view reason);
  void die_by_signal();

  const Options& options_;
  Console console_;
  waterspout::IOLoop loop_;
  waterspout::TCPClient client_;
  Trust trust_;
  Progress progress_;
  StandardOutput standard_output_;
  Outcome worst_ = Outcome::ok;
  int signal_ = 0;       // that interrupted us
  std::size_t running_;  // fetches
  // Last: a fetch uses everything above until it is destroyed.
  std::vector<std::unique_ptr<Fetch>> fetches_;
};

}  // namespace http_fetch
