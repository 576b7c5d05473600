// PipeIOStream: which descriptors it takes, and what it changes about them.

#include <array>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <unistd.h>

#include <doctest/doctest.h>

#include "waterspout/pipe_iostream.h"

#include "support/child_process.h"
#include "support/loop_fixture.h"
#include "support/pipes.h"
#include "support/temp_dir.h"

using waterspout::IOLoop;
using waterspout::PipeIOStream;
using waterspout::test::exited_with;
using waterspout::test::Fd;
using waterspout::test::LoopFixture;
using waterspout::test::make_pipe;
using waterspout::test::make_terminal;
using waterspout::test::Pipe;
using waterspout::test::run_in_child;
using waterspout::test::TempDir;
using waterspout::test::Terminal;

TEST_SUITE_BEGIN("pipe_iostream_mode");

TEST_CASE("PipeIOStream gives a descriptor its blocking mode back") {
  LoopFixture loop;
  Pipe pipe = make_pipe();
  const Fd kept(dup(pipe.reader.get()));
  auto stream = PipeIOStream::create(loop, pipe.reader.release());
  CHECK(kept.non_blocking());
  SUBCASE("when it is closed") { stream->close(); }
  SUBCASE("when it is destroyed") { stream.reset(); }
  SUBCASE("when its loop is closed") { loop->close(); }
  SUBCASE("when the pipe ends") {
    pipe.writer.close();
    stream->read_until_close([&](std::string_view) { loop.stop(); });
    loop.run();
  }
  CHECK_FALSE(kept.non_blocking());
}

TEST_CASE("PipeIOStream leaves a descriptor non-blocking that was so before") {
  LoopFixture loop;
  Pipe pipe = make_pipe();
  fcntl(pipe.reader.get(), F_SETFL, O_NONBLOCK);
  const Fd kept(dup(pipe.reader.get()));
  PipeIOStream::create(loop, pipe.reader.release())->close();
  CHECK(kept.non_blocking());
}

TEST_CASE(
    "The last stream on an open file gives the mode back, in any order, as on "
    "a terminal's input and output") {
  LoopFixture loop;
  Terminal terminal = make_terminal();
  const Fd kept(dup(terminal.slave.get()));
  const Fd separate(open(ttyname(kept.get()), O_RDWR | O_NOCTTY | O_CLOEXEC));
  auto input = PipeIOStream::create(loop, dup(kept.get()));
  auto output = PipeIOStream::create(loop, dup(kept.get()));
  const auto other = PipeIOStream::create(loop, dup(separate.get()));
  SUBCASE("the first made is the last closed") { std::swap(input, output); }
  SUBCASE("the first made is the first closed") {}
  input->close();
  CHECK(kept.non_blocking());
  output->close();
  CHECK_FALSE(kept.non_blocking());
  CHECK(separate.non_blocking());
  other->close();
  CHECK_FALSE(separate.non_blocking());
}

TEST_CASE("A forked child that drops a stream leaves the parent's mode alone") {
  LoopFixture loop;
  Pipe pipe = make_pipe();
  const Fd kept(dup(pipe.reader.get()));
  auto stream = PipeIOStream::create(loop, pipe.reader.release());
  const int status = run_in_child([&] {
    stream.reset();
    return 0;
  });
  CHECK(exited_with(status, 0));
  CHECK(kept.non_blocking());
}

TEST_CASE(
    "PipeIOStream::create closes its descriptor on exec, but for 0 to 2") {
  LoopFixture loop;
  std::array<int, 2> fds{};
  REQUIRE(pipe(fds.data()) == 0);
  const Fd writer(fds[1]);
  const auto stream = PipeIOStream::create(loop, fds[0]);
  CHECK((fcntl(stream->fileno(), F_GETFD) & FD_CLOEXEC) != 0);

  const int status = run_in_child([&] {
    dup2(writer.get(), STDOUT_FILENO);
    IOLoop own;
    const auto output = PipeIOStream::create(own, STDOUT_FILENO);
    return fcntl(STDOUT_FILENO, F_GETFD) == 0 ? 0 : 1;
  });
  CHECK(exited_with(status, 0));
}

TEST_CASE("PipeIOStream::create refuses what cannot be waited for") {
  const TempDir folder;
  LoopFixture loop;
  int fd = -1;
  std::string message;
  SUBCASE("a regular file") {
    fd = open(folder.write("file", "text").c_str(), O_RDONLY | O_CLOEXEC);
    message = "is a regular file, which cannot be waited for: Operation";
  }
  SUBCASE("a directory") {
    fd = open(folder.path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    message = "is a directory, which cannot be waited for";
  }
  SUBCASE("a device without poll") {
    fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    message = "is a device that is always ready, which cannot be waited for";
  }
  SUBCASE("no descriptor") { message = "PipeIOStream: fd -1: Bad file"; }
  try {
    const auto stream = PipeIOStream::create(loop, fd);
    FAIL_CHECK("it was accepted");
  } catch (const std::system_error& error) {
    CHECK(std::string(error.what()).find(message) != std::string::npos);
  }
  CHECK(fcntl(fd, F_GETFD) == -1);
}

TEST_CASE("PipeIOStream::create refuses options and closes the descriptor") {
  LoopFixture loop;
  Pipe pipe = make_pipe();
  const Fd kept(dup(pipe.reader.get()));
  const int fd = pipe.reader.release();
  PipeIOStream::Options options;
  SUBCASE("half_close") { options.half_close = true; }
  SUBCASE("out of bounds") { options.read_chunk_size = 0; }
  CHECK_THROWS_AS(PipeIOStream::create(loop, fd, options),
                  std::invalid_argument);
  CHECK(fcntl(fd, F_GETFD) == -1);
  CHECK_FALSE(kept.non_blocking());
}

TEST_CASE("PipeIOStream::create on a closed loop throws") {
  LoopFixture loop;
  loop->close();
  Pipe pipe = make_pipe();
  const int fd = pipe.reader.release();
  CHECK_THROWS_AS(PipeIOStream::create(loop, fd), std::logic_error);
  CHECK(fcntl(fd, F_GETFD) == -1);
}

TEST_SUITE_END();
