// What a daemon tells the process that starts it: that it is ready, or why not.

#pragma once

#include <string>
#include <string_view>

#include "waterspout/ioloop.h"

#include "base/unique_fd.h"

namespace waterspout::detail {

/// Made before the fork; then each side keeps its own end.
class ReadyPipe {
 public:
  enum class News {
    ready,
    failed,  ///< and said why
    ended,   ///< without a word
    none,    ///< in time
  };

  struct Answer {
    News news = News::none;
    std::string reason = {};  ///< of a failure
  };

  /// Errors: throws std::system_error.
  ReadyPipe();

  // The starter's side.
  void keep_starter_end() noexcept { daemon_end_.reset(); }
  [[nodiscard]] Answer wait(Duration timeout);

  // The daemon's side. If nobody listens any more, nothing happens.
  void keep_daemon_end() noexcept { starter_end_.reset(); }
  void tell_ready() noexcept;
  void tell_failure(std::string_view reason) noexcept;

 private:
  UniqueFd starter_end_;
  UniqueFd daemon_end_;
};

}  // namespace waterspout::detail
