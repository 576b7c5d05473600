// The programs that tests start: they leave nothing behind either.

#include "support/program.h"

#include <array>
#include <memory>
#include <string>
#include <vector>

#include <fcntl.h>
#include <unistd.h>

#include <doctest/doctest.h>

#include "support/pipes.h"
#include "support/stream_helpers.h"

using waterspout::test::Fd;
using waterspout::test::Program;
using waterspout::test::wait_readable;

TEST_SUITE_BEGIN("program");

TEST_CASE("A Program that is destroyed takes with it what it started") {
  std::array<int, 2> ends{};
  REQUIRE(pipe2(ends.data(), O_CLOEXEC) == 0);
  const Fd held(ends[0]);
  Fd passed(ends[1]);
  Program::Options options;
  options.pass_fd = passed.get();
  auto program = std::make_unique<Program>(
      std::vector<std::string>{"/usr/bin/timeout", "20", "/bin/sh", "-c",
                               "echo here; exec sleep 20"},
      options);
  passed.close();
  program->wait_for_out("here");
  program.reset();

  // The pipe ends when nobody holds its other end any more.
  wait_readable(held.get());
  char byte = 0;
  CHECK(read(held.get(), &byte, 1) == 0);
}

TEST_SUITE_END();
