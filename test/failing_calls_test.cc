// Every system call of a scenario fails, each in a run of its own and in each
// of the ways in which the kernel may refuse it. Then the caller is told by an
// exception, or the stream closes, or the loop hears of it; and what only has
// to be tried again is.

#include <cerrno>
#include <cstddef>
#include <exception>
#include <string>
#include <string_view>
#include <system_error>

#include <doctest/doctest.h>

#include "support/failing_call.h"
#include "support/fd_count.h"
#include "support/scenarios.h"

using waterspout::test::FailingCall;
using waterspout::test::fd_count;
using waterspout::test::fd_count_falls_to;
using waterspout::test::Scenario;
using waterspout::test::World;

namespace scenarios = waterspout::test;

namespace {

// What may become of a call; whether nobody has to know.
struct Fault {
  const char* call;
  int error;
  bool passes = false;
};

constexpr bool kPasses = true;

constexpr Fault kFaults[] = {
    {"recv", EINTR, kPasses},
    {"recv", EAGAIN, kPasses},
    {"recv", ECONNRESET},
    {"recv", ETIMEDOUT},
    {"recv", ENOMEM},
    {"send", EINTR, kPasses},
    {"send", EAGAIN, kPasses},
    {"send", ENOBUFS, kPasses},
    {"send", EPIPE},
    {"send", ENOMEM},
    {"sendmsg", EINTR, kPasses},
    {"sendmsg", EAGAIN, kPasses},
    {"sendmsg", ECONNRESET},
    {"read", EINTR, kPasses},
    {"read", EAGAIN, kPasses},
    {"read", EIO},
    {"write", EINTR, kPasses},
    {"write", EIO},
    {"writev", EAGAIN, kPasses},
    {"writev", EIO},
    {"epoll_wait", EINTR, kPasses},
    {"epoll_wait", ENOMEM},
    {"epoll_wait", EBADF},
    {"epoll_ctl", ENOMEM},
    {"epoll_ctl", ENOSPC},
    {"accept4", EINTR, kPasses},
    {"accept4", EAGAIN, kPasses},
    {"accept4", ECONNABORTED, kPasses},
    {"accept4", EMFILE, kPasses},
    {"accept4", ENFILE, kPasses},
    {"accept4", ENOBUFS, kPasses},
    {"accept4", ENOMEM, kPasses},
    {"connect", EINTR, kPasses},
    {"connect", ECONNREFUSED},
    {"connect", ENETUNREACH},
    {"connect", EADDRNOTAVAIL},
    {"socket", EMFILE},
    {"socket", ENOBUFS},
    {"socketpair", EMFILE},
    {"bind", EADDRINUSE},
    {"listen", EADDRINUSE},
    {"getsockname", ENOBUFS},
    {"getsockopt", ENOBUFS},
    {"setsockopt", ENOMEM},
    {"fcntl", ENOMEM},
    {"pipe2", EMFILE},
    {"eventfd", ENFILE},
    {"epoll_create1", EMFILE},
    {"poll", EINTR},
    {"poll", ENOMEM},
    {"close", EINTR, kPasses},
    {"close", EIO, kPasses},
};

// Runs the scenario once; false if it made no more than `before` such calls.
bool run_with(const Fault& fault, Scenario scenario, std::size_t before) {
  const FailingCall failing(fault.call, fault.error, before);
  try {
    World world;
    scenario(world);
    REQUIRE_FALSE(world.late);
    CHECK(world.ended != nullptr);
    CHECK((!fault.passes || world.ended == std::string_view("done")));
  } catch (const std::exception& error) {
    const std::string thrown = error.what();
    CAPTURE(thrown);
    CHECK_FALSE(fault.passes);
  }
  return failing.has_failed();
}

void run_with_each_failure(Scenario scenario, std::size_t orphans = 0) {
  {
    World world;
    scenario(world);  // what is made once for the process
    CHECK(world.ended == std::string_view("done"));
  }
  const std::size_t fds = fd_count();
  std::size_t failures = 0;
  for (const Fault& fault : kFaults) {
    const std::string what = std::string(fault.call) + ": " +
                             std::generic_category().message(fault.error);
    CAPTURE(what);
    std::size_t before = 0;
    bool failed = true;
    while (failed) {
      CAPTURE(before);
      failed = run_with(fault, scenario, before++);
      failures += failed ? 1 : 0;
      REQUIRE(fd_count_falls_to(fds + orphans));
    }
  }
  CHECK(failures >= 10);
}

}  // namespace

TEST_SUITE_BEGIN("failing_calls");

TEST_CASE("A line's way to a server and back survives failing system calls") {
  run_with_each_failure(scenarios::echo_line);
}

TEST_CASE("So does a message that the kernel has no room for") {
  run_with_each_failure(scenarios::echo_megabyte);
}

TEST_CASE("So do reads of every kind, in a chain") {
  run_with_each_failure(scenarios::read_in_every_way);
}

TEST_CASE("So do streams of half a megabyte each way through a pipe") {
  run_with_each_failure(scenarios::pipe_streams);
}

TEST_CASE("So do callbacks and timeouts, in contexts or in none") {
  run_with_each_failure(scenarios::run_callbacks_and_timeouts);
}

TEST_CASE("So do handlers, signals and periodic callbacks") {
  run_with_each_failure(scenarios::run_handlers);
}

TEST_CASE("So does a client that has to resolve a name") {
  run_with_each_failure(scenarios::resolve_and_connect);
}

TEST_CASE("So does another program, with what it is told and says") {
  run_with_each_failure(scenarios::run_program, scenarios::kOrphans);
}

TEST_SUITE_END();
