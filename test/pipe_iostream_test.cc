// PipeIOStream: what goes through pipes, FIFOs and terminals, how it ends, and
// that it ends nothing else: no process by SIGPIPE.

#include "waterspout/pipe_iostream.h"

#include <array>
#include <csignal>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <malloc.h>
#include <pty.h>
#include <sys/stat.h>
#include <unistd.h>

#include <doctest/doctest.h>

#include "support/child_process.h"
#include "support/fd_count.h"
#include "support/loop_fixture.h"
#include "support/pipes.h"
#include "support/sockets.h"
#include "support/stream_helpers.h"
#include "support/temp_dir.h"

using waterspout::IOLoop;
using waterspout::PipeIOStream;
using waterspout::test::EventLog;
using waterspout::test::exited_with;
using waterspout::test::Fd;
using waterspout::test::fd_count;
using waterspout::test::kMegabyte;
using waterspout::test::LoopFixture;
using waterspout::test::make_pattern;
using waterspout::test::make_pipe;
using waterspout::test::make_terminal;
using waterspout::test::make_unix_sockets;
using waterspout::test::Pipe;
using waterspout::test::run_in_child;
using waterspout::test::SocketPair;
using waterspout::test::SteppedLoop;
using waterspout::test::TempDir;
using waterspout::test::Terminal;
using waterspout::test::Token;

namespace {

struct PipeStreams {
  std::shared_ptr<PipeIOStream> reader;
  std::shared_ptr<PipeIOStream> writer;
};

PipeStreams make_streams(IOLoop& loop) {
  Pipe pipe = make_pipe();
  return {PipeIOStream::create(loop, pipe.reader.release()),
          PipeIOStream::create(loop, pipe.writer.release())};
}

bool sigpipe_is_pending() {
  sigset_t pending;
  sigpending(&pending);
  return sigismember(&pending, SIGPIPE) == 1;
}

void block_sigpipe() {
  sigset_t sigpipe;
  sigemptyset(&sigpipe);
  sigaddset(&sigpipe, SIGPIPE);
  pthread_sigmask(SIG_BLOCK, &sigpipe, nullptr);
}

// Writes into a pipe that nobody reads; true if that closed it with EPIPE.
bool write_without_reader() {
  IOLoop loop;
  Pipe pipe = make_pipe();
  pipe.reader.close();
  const auto stream = PipeIOStream::create(loop, pipe.writer.release());
  stream->write("x");
  return stream->closed() && stream->error() == std::errc::broken_pipe;
}

}  // namespace

TEST_SUITE_BEGIN("pipe_iostream");

TEST_CASE("A pipe carries what is written to who reads (test_pipe_iostream)") {
  LoopFixture loop;
  PipeStreams pipe = make_streams(loop);
  EventLog log;
  pipe.writer->write("hel");
  pipe.writer->write("lo world");
  pipe.reader->read_until(" ", [&](std::string_view word) {
    log.read("word")(word);
    pipe.reader->read_bytes(3, [&](std::string_view bytes) {
      log.read("bytes")(bytes);
      pipe.writer->close();
      pipe.reader->read_until_close([&](std::string_view rest) {
        log.read("rest")(rest);
        loop.stop();
      });
    });
  });
  CHECK(log.empty());
  loop.run();
  CHECK(log.text() == "word(hello ) bytes(wor) rest(ld)");
  CHECK_FALSE(pipe.reader->error());
}

TEST_CASE("A pipe carries more than it holds (test_pipe_iostream_big_write)") {
  LoopFixture loop;
  loop.bound_turns(2000);
  PipeStreams pipe = make_streams(loop);
  const std::string data = make_pattern(kMegabyte);
  std::string got;
  bool written = false;
  pipe.writer->write(data, [&] { written = true; });
  CHECK(pipe.writer->writing());
  pipe.reader->read_bytes(kMegabyte, [&](std::string_view bytes) {
    got = bytes;
    loop.stop();
  });
  loop.run();
  CHECK(got == data);
  CHECK(written);
}

TEST_CASE("A pipe that nobody reads slows its writer and loses nothing") {
  SteppedLoop loop;
  loop.bound_turns(2000);
  PipeStreams pipe = make_streams(loop);
  pipe.writer->write(make_pattern(kMegabyte));
  loop.settle();
  CHECK(pipe.writer->unsent_bytes() > kMegabyte / 2);
  CHECK(pipe.reader->unread_bytes() == 0);

  std::size_t got = 0;
  pipe.reader->read_bytes(kMegabyte,
                          [&](std::string_view bytes) { got = bytes.size(); });
  loop.settle();
  CHECK(got == kMegabyte);
  CHECK_FALSE(pipe.writer->writing());
}

TEST_CASE("The end of a pipe closes its reader in order, after the data") {
  SteppedLoop loop;
  Pipe pipe = make_pipe();
  const auto stream = PipeIOStream::create(loop, pipe.reader.release());
  EventLog log;
  stream->set_close_callback(log.note("closed"));
  pipe.writer.write("one\ntwo\nthr");
  pipe.writer.close();
  stream->read_until("\n", [&](std::string_view line) {
    log.read("line")(line.substr(0, 3));
    stream->read_until("\n", log.read("again"));
  });
  loop.settle();
  CHECK(log.text() == "line(one) again(two\n)");

  stream->read_until_close(log.read("rest"));
  loop.settle();
  CHECK(log.text() == "line(one) again(two\n) rest(thr) closed");
  CHECK_FALSE(stream->error());
}

TEST_CASE("A close callback hears of a reader that goes away (N11)") {
  SteppedLoop loop;
  Pipe pipe = make_pipe();
  const auto stream = PipeIOStream::create(loop, pipe.writer.release());
  int closed = 0;
  const auto listen = [&] { stream->set_close_callback([&] { ++closed; }); };

  SUBCASE("without an error where nothing was to be written") {
    listen();
    loop.settle();
    pipe.reader.close();
    loop.settle();
    CHECK_FALSE(stream->error());
  }
  SUBCASE("with EPIPE where output waits") {
    const std::string data = make_pattern(kMegabyte);
    // Either of the two directions hears of it first.
    SUBCASE("since before the callback was set") {
      stream->write(data);
      listen();
    }
    SUBCASE("since after the callback was set") {
      listen();
      stream->write(data);
    }
    loop.settle();
    CHECK(stream->writing());
    pipe.reader.close();
    loop.settle();
    CHECK(stream->error() == std::errc::broken_pipe);
  }
  SUBCASE("with EPIPE where it is found out by a write") {
    listen();
    pipe.reader.close();
    stream->write("x");
    CHECK(closed == 0);
    loop.settle();
    CHECK(stream->error() == std::errc::broken_pipe);
  }
  CHECK(closed == 1);
  CHECK(stream->closed());
}

TEST_CASE("An idle writer whose reader has gone does not spin (trap 0.1)") {
  SteppedLoop loop;
  Pipe pipe = make_pipe();
  const auto stream = PipeIOStream::create(loop, pipe.writer.release());
  stream->set_close_callback([] {});
  loop.settle();
  stream->set_close_callback(nullptr);  // and nobody wants to know any more
  pipe.reader.close();
  loop.settle(10);
  CHECK_FALSE(stream->closed());
  stream->write("x");
  CHECK(stream->error() == std::errc::broken_pipe);
}

TEST_CASE("No SIGPIPE ends a process that writes into a closed pipe (N11)") {
  const int status = run_in_child([] {
    std::signal(SIGPIPE, SIG_DFL);
    if (!write_without_reader()) {
      return 1;
    }
    struct sigaction now {};
    sigaction(SIGPIPE, nullptr, &now);
    sigset_t mask;
    pthread_sigmask(SIG_BLOCK, nullptr, &mask);
    return now.sa_handler == SIG_DFL && sigismember(&mask, SIGPIPE) == 0 ? 0
                                                                         : 2;
  });
  CHECK(exited_with(status, 0));
}

TEST_CASE("A SIGPIPE that the application blocks is left as it was") {
  int status = -1;
  SUBCASE("not pending") {
    status = run_in_child([] {
      std::signal(SIGPIPE, SIG_DFL);
      block_sigpipe();
      return write_without_reader() && !sigpipe_is_pending() ? 0 : 1;
    });
  }
  SUBCASE("pending") {
    status = run_in_child([] {
      std::signal(SIGPIPE, SIG_DFL);
      block_sigpipe();
      raise(SIGPIPE);
      return write_without_reader() && sigpipe_is_pending() ? 0 : 1;
    });
  }
  CHECK(exited_with(status, 0));
}

TEST_CASE("An end of a pipe that is used the wrong way round") {
  SteppedLoop loop;
  Pipe pipe = make_pipe();
  SUBCASE("closes with EBADF if it cannot be written") {
    loop.expect_log(waterspout::LogLevel::warning, "Bad file descriptor");
    const auto stream = PipeIOStream::create(loop, pipe.reader.release());
    stream->write("x");
    CHECK(stream->error() == std::errc::bad_file_descriptor);
  }
  SUBCASE("waits for its end if it cannot be read") {
    const auto stream = PipeIOStream::create(loop, pipe.writer.release());
    EventLog log;
    stream->read_until_close(log.read("read"));
    loop.settle();
    CHECK(log.empty());
    pipe.reader.close();
    loop.settle();
    CHECK(log.text() == "read()");
    CHECK_FALSE(stream->error());
  }
}

TEST_CASE("PipeIOStream reads and writes a terminal, either side") {
  LoopFixture loop;
  Terminal terminal = make_terminal();
  const auto master = PipeIOStream::create(loop, terminal.master.release());
  const auto slave = PipeIOStream::create(loop, terminal.slave.release());
  EventLog log;
  slave->read_until("\n", [&](std::string_view line) {
    log.read("slave")(line);
    slave->write("answer\n");
  });
  master->read_until("\n", [&](std::string_view line) {
    log.read("master")(line);
    loop.stop();
  });
  master->write("question\n");
  loop.run();
  CHECK(log.text() == "slave(question\n) master(answer\n)");
}

TEST_CASE("The other side of a terminal that closes is an orderly end") {
  LoopFixture loop;
  Terminal terminal = make_terminal();
  Fd& ours = terminal.master;
  Fd& other = terminal.slave;
  std::string sent;
  SUBCASE("for the master, which reads EIO then") {
    sent = "last";
    other.write(sent);
  }
  SUBCASE("for the slave, which is hung up") { std::swap(ours, other); }
  const auto stream = PipeIOStream::create(loop, ours.release());
  std::optional<std::string> got;
  stream->read_until_close([&](std::string_view data) {
    got = data;
    loop.stop();
  });
  other.close();
  loop.run();
  CHECK(got == sent);
  CHECK_FALSE(stream->error());
}

TEST_CASE("A write to a terminal that was hung up closes with EPIPE") {
  LoopFixture loop;
  Terminal terminal = make_terminal();
  const auto stream = PipeIOStream::create(loop, terminal.slave.release());
  terminal.master.close();
  stream->write("x");
  CHECK(stream->error() == std::errc::broken_pipe);
}

TEST_CASE("Control-D at a terminal is the end of its input") {
  LoopFixture loop;
  int master = -1;
  int slave = -1;
  REQUIRE(openpty(&master, &slave, nullptr, nullptr, nullptr) == 0);
  const Fd keyboard(master);
  const auto stream = PipeIOStream::create(loop, slave);
  std::string got;
  stream->read_until_close([&](std::string_view data) {
    got = data;
    loop.stop();
  });
  keyboard.write("line\n\x04");
  loop.run();
  CHECK(got == "line\n");
  CHECK_FALSE(stream->error());
}

TEST_CASE("PipeIOStream reads a FIFO by its name") {
  const TempDir folder;
  LoopFixture loop;
  const std::string path = folder.path("fifo");
  REQUIRE(mkfifo(path.c_str(), 0600) == 0);
  // Opened before there is a writer, which is no end yet.
  const auto stream = PipeIOStream::create(
      loop, open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  std::string got;
  stream->read_until_close([&](std::string_view data) {
    got = data;
    loop.stop();
  });
  loop.run_turns(3);
  CHECK_FALSE(stream->closed());
  Fd writer(open(path.c_str(), O_WRONLY | O_CLOEXEC));
  writer.write("through the name");
  writer.close();
  loop.run();
  CHECK(got == "through the name");
}

TEST_CASE("PipeIOStream takes a socket for what it is given as input") {
  LoopFixture loop;
  SocketPair pair = make_unix_sockets();
  const auto stream = PipeIOStream::create(loop, pair.client.release());
  std::string got;
  stream->read_until("\n", [&](std::string_view line) {
    got = line;
    stream->write("back");
    loop.stop();
  });
  pair.server.send("line\n");
  loop.run();
  CHECK(got == "line\n");
  CHECK(pair.server.recv() == "back");
  pair.server.close();
  stream->write("x");
  CHECK(stream->error() == std::errc::broken_pipe);
}

TEST_CASE(
    "A copy of the pipe in another process makes no phantom events (P9, trap "
    "0.3)") {
  SteppedLoop loop;
  Pipe pipe = make_pipe();
  Fd copy(dup(pipe.reader.get()));  // what a forked process would hold
  const auto stream = PipeIOStream::create(loop, pipe.reader.release());
  stream->read_bytes(1, [](std::string_view) {});
  loop.settle();
  stream->close();
  pipe.writer.write("for the copy");
  loop.settle(10);

  // The number that has become free works for the next stream.
  Pipe next = make_pipe();
  const auto after = PipeIOStream::create(loop, next.reader.release());
  std::string got;
  after->read_bytes(1, [&](std::string_view data) { got = data; });
  next.writer.write("y");
  loop.settle();
  CHECK(got == "y");
}

TEST_CASE("PipeIOStream::close sends what was reported as written") {
  SteppedLoop loop;
  Pipe pipe = make_pipe();
  fcntl(pipe.writer.get(), F_SETPIPE_SZ, 4096);
  const Fd kept(dup(pipe.writer.get()));
  auto stream = PipeIOStream::create(loop, pipe.writer.release());
  loop->add_callback([&] {
    stream->write(std::string(10'000, 'a'));
    stream->write(std::string(10'000, 'a'), [&] { stream->close(); });
  });
  loop.settle();
  CHECK(stream->closed());
  std::size_t got = 0;
  std::array<char, 4096> piece{};
  while (got < 20'000) {
    const ssize_t size = read(pipe.reader.get(), piece.data(), piece.size());
    REQUIRE(size > 0);
    got += static_cast<std::size_t>(size);
    loop.settle();
  }
  CHECK(got == 20'000);
  CHECK_FALSE(kept.non_blocking());  // the last of it has left
}

TEST_CASE("A PipeIOStream may be dropped in any of its callbacks") {
  SteppedLoop loop;
  Pipe pipe = make_pipe();
  const Token token;
  auto stream = PipeIOStream::create(loop, pipe.reader.release());
  SUBCASE("a read callback") {
    stream->read_bytes(1, [&, held = token.copy()](std::string_view data) {
      stream.reset();
      CHECK(data == "x");
    });
  }
  SUBCASE("a close callback") {
    stream->set_close_callback([&, held = token.copy()] { stream.reset(); });
  }
  pipe.writer.write("x");
  loop.settle();
  if (stream) {
    stream->read_bytes(1, [](std::string_view) {});
    pipe.writer.close();
    loop.settle();
  }
  CHECK(stream == nullptr);
  CHECK(token.alive() == 0);
}

TEST_CASE("A thousand pipes, one after the other, leave nothing behind") {
  SteppedLoop loop;
  loop.bound_turns(20'000);
  const std::size_t before = fd_count();
  std::size_t heap = 0;
  int got = 0;
  for (int i = 0; i < 1000; ++i) {
    const PipeStreams pipe = make_streams(loop);
    pipe.writer->write("x");
    pipe.reader->read_bytes(1, [&](std::string_view) { ++got; });
    loop.settle();
    heap = i == 10 ? mallinfo2().uordblks : heap;
  }
  CHECK(mallinfo2().uordblks <= heap + 4096);
  CHECK(got == 1000);
  CHECK(fd_count() == before);
}

TEST_SUITE_END();
