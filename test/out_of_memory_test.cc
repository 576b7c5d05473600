// Every allocation of a scenario fails, each in a run of its own. Then the
// caller is told by an exception, or the stream closes, or the loop hears of
// it: nothing crashes, nobody waits for ever, nothing is left over.

#include <cstddef>
#include <exception>
#include <string_view>

#include <doctest/doctest.h>

#include "support/failing_memory.h"
#include "support/fd_count.h"
#include "support/scenarios.h"

using waterspout::test::FailingMemory;
using waterspout::test::fd_count;
using waterspout::test::fd_count_falls_to;
using waterspout::test::kReplacesNew;
using waterspout::test::Scenario;
using waterspout::test::World;

namespace scenarios = waterspout::test;

namespace {

// Runs the scenario once; false if it had no more than `before` allocations.
bool run_short_of_memory(Scenario scenario, std::size_t before,
                         std::size_t count) {
  World world;
  bool failed = true;
  bool thrown = false;
  {
    const FailingMemory failing(before, count);
    try {
      scenario(world);
    } catch (const std::exception&) {
      thrown = true;  // also what a library, or a closed stream, says of it
    }
    failed = failing.has_failed();
  }
  CHECK_FALSE(world.late);
  CHECK((thrown || world.ended != nullptr));
  return failed;
}

constexpr std::size_t kEachOf = 400;
constexpr std::size_t kOneOf = 37;

// `orphans`: descriptors of children that may outlive their loop, until the
// next child finds that they have ended.
void run_short_of_each_allocation(Scenario scenario, std::size_t orphans = 0) {
  {
    World world;
    scenario(world);  // what is made once for the process
    CHECK(world.ended == std::string_view("done"));
  }
  const std::size_t fds = fd_count();
  // By itself, and with those that telling of it would take.
  for (const std::size_t count : {1U, 2U, 8U}) {
    CAPTURE(count);
    std::size_t before = 0;
    bool failed = true;
    while (failed) {
      CAPTURE(before);
      failed = run_short_of_memory(scenario, before, count);
      // OpenSSL's own are thousands, of a few kinds.
      before += before < kEachOf ? 1 : kOneOf;
      CHECK(fd_count_falls_to(fds + orphans));
    }
    CHECK(before > 5);
  }
}

}  // namespace

TEST_SUITE_BEGIN("out_of_memory" * doctest::skip(!kReplacesNew));

TEST_CASE("A line's way to a server and back survives want of memory") {
  run_short_of_each_allocation(scenarios::echo_line);
}

TEST_CASE("So does a message that the kernel has no room for") {
  run_short_of_each_allocation(scenarios::echo_megabyte);
}

TEST_CASE("So do reads of every kind, in a chain") {
  run_short_of_each_allocation(scenarios::read_in_every_way);
}

TEST_CASE("So do streams of half a megabyte each way through a pipe") {
  run_short_of_each_allocation(scenarios::pipe_streams);
}

TEST_CASE("What a writer was refused, and wrote again, arrives once") {
  run_short_of_each_allocation(scenarios::write_and_try_again);
}

TEST_CASE("So do callbacks and timeouts, in contexts or in none") {
  run_short_of_each_allocation(scenarios::run_callbacks_and_timeouts);
}

TEST_CASE("So do handlers, signals and periodic callbacks") {
  run_short_of_each_allocation(scenarios::run_handlers);
}

TEST_CASE("So does a client that has to resolve a name") {
  run_short_of_each_allocation(scenarios::resolve_and_connect);
}

TEST_CASE("So does another program, with what it is told and says") {
  run_short_of_each_allocation(scenarios::run_program, scenarios::kOrphans);
}

TEST_SUITE_END();
