// Standard output and standard error.

#pragma once

#include <string>
#include <string_view>

#include "waterspout/ioloop.h"

namespace redis_client {

/// Standard output. What is written in one turn of the loop goes out at the end
/// of it, together; and where nobody takes it, everything waits: no more is
/// read from the server then, which in the end stops it.
///
/// Lifetime: its callbacks capture `this`; it lives as long as the loop runs.
class Output {
 public:
  explicit Output(waterspout::IOLoop& loop) : loop_(loop) {}

  Output(const Output&) = delete;
  Output& operator=(const Output&) = delete;

  /// Errors of both: throw std::system_error; so does the callback that writes
  ///   at the end of a turn.
  void write(std::string_view text);
  void flush();

 private:
  waterspout::IOLoop& loop_;
  std::string gathered_;
  bool flush_is_due_ = false;
};

/// Writes a line to standard error, if anybody listens there.
void complain(std::string_view text);

/// Makes sure that no socket that is opened later gets the number of a standard
/// stream that we were started without. Using that stream goes on to fail.
void reserve_standard_streams();

}  // namespace redis_client
