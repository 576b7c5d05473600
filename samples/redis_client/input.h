// Standard input, a line at a time, without holding up the loop.

#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>
#include <utility>

#include "waterspout/ioloop.h"

namespace redis_client {

/// The lines of a terminal, a pipe or a file.
///
/// It waits until there is something to read, and then reads once, which waits
/// no more: so the descriptor may stay as it is. (Whether reading blocks is a
/// property that all processes on a terminal share; no need to change it.) A
/// file is always ready, and the kernel does not say so: it is read turn by
/// turn of the loop.
///
/// Life: constructed, paused -> resume, pause, any number of times -> on_end,
/// or destroyed. Lifetime: its callbacks capture `this`; it lives as long as
/// the loop runs.
class Input {
 public:
  struct Handlers {
    /// Without its line's end. May pause.
    std::function<void(std::string_view line)> on_line;
    /// There are no more lines.
    std::function<void()> on_end;
  };

  static constexpr std::size_t kLongestLine = std::size_t{16} << 20;  // bytes

  Input(waterspout::IOLoop& loop, int fd, Handlers handlers)
      : loop_(loop), fd_(fd), handlers_(std::move(handlers)) {}
  ~Input() { stop_waiting(); }

  Input(const Input&) = delete;
  Input& operator=(const Input&) = delete;

  /// Begins, or goes on, in a later turn of the loop.
  ///
  /// Errors: a failure to read, and a line that is too long, are exceptions in
  ///   callbacks that this call makes.
  void resume();
  void pause() noexcept { flowing_ = false; }

 private:
  enum class Source { unknown, pollable, always_ready, ended };

  void schedule();
  void go_on();
  void wait();
  void stop_waiting();
  void read();
  bool give_line();
  void give_end();

  waterspout::IOLoop& loop_;
  const int fd_;
  const Handlers handlers_;
  Source source_ = Source::unknown;
  bool flowing_ = false;
  bool scheduled_ = false;
  std::string bytes_;         // read and not given yet
  std::size_t searched_ = 0;  // of them: where no line ends
};

}  // namespace redis_client
