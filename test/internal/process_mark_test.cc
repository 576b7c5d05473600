#include "loop/process_mark.h"

#include <doctest/doctest.h>

#include "support/child_process.h"

using waterspout::ProcessMark;
using waterspout::test::exited_with;
using waterspout::test::run_in_child;

TEST_SUITE_BEGIN("process_mark");

TEST_CASE("ProcessMark holds in the process that made it") {
  const ProcessMark mark;
  CHECK(mark.holds());
}

TEST_CASE("ProcessMark does not hold in a forked child, until it is set") {
  ProcessMark mark;
  const int status = run_in_child([&] {
    const bool held = mark.holds();
    mark.set();
    return held || !mark.holds() ? 1 : 0;
  });
  CHECK(exited_with(status, 0));
  CHECK(mark.holds());
}

TEST_CASE("ProcessMark that a child has set does not hold in its own child") {
  ProcessMark mark;
  const int status = run_in_child([&] {
    mark.set();
    return exited_with(run_in_child([&] { return mark.holds() ? 1 : 0; }), 0)
               ? 0
               : 1;
  });
  CHECK(exited_with(status, 0));
}

TEST_SUITE_END();
