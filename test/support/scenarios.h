// Scenarios in which something is to fail: what users do with the library, each
// told as one function. The tests of want of memory and of failing system calls
// run them again and again, with another failure each time.

#pragma once

#include <cstddef>

#include "waterspout/ioloop.h"

namespace waterspout::test {

/// A loop that ends once somebody has told how the scenario ended; an exception
/// that only the loop hears of is an end as well.
class World final : public IOLoop {
 public:
  World();

  /// An operation's end, for its callback. The first one counts.
  void end(const char* how);

  const char* ended = nullptr;
  bool late = false;  ///< nobody told of an end for 20 seconds

 protected:
  void handle_callback_exception(const CallbackFailure& failure) override;
};

/// Runs to its end: world.ended is "done" if nothing fails. What fails is told
/// by world.ended, or thrown. Checks that no data is lost or comes twice.
using Scenario = void (*)(World& world);

/// To a TCPServer and back.
void echo_line(World& world);
/// The same with a message that the kernel has no room for.
void echo_megabyte(World& world);
/// One after the other.
void read_in_every_way(World& world);
/// Half a megabyte each way.
void pipe_streams(World& world);
/// What was refused for want of memory is written once more.
void write_and_try_again(World& world);
/// In contexts, and in none.
void run_callbacks_and_timeouts(World& world);
/// With signals and periodic callbacks.
void run_handlers(World& world);
/// By name, with TCPClient.
void resolve_and_connect(World& world);
/// A Subprocess, with what it is told and says. Its pidfd may outlive the loop,
/// until the next child finds that it has ended: kOrphans at most.
void run_program(World& world);
inline constexpr std::size_t kOrphans = 10;

}  // namespace waterspout::test
