// Whatever the kernel answers to a system call, and how much is asked of it:
// faults, partial transfers, and the flow control of a peer that never stops.

#include <cerrno>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include <doctest/doctest.h>

#include "waterspout/iostream.h"

#include "support/stream_helpers.h"
#include "support/stream_pair.h"
#include "support/syscall_counter.h"

using waterspout::IOStream;
using waterspout::LogLevel;
using waterspout::test::EventLog;
using waterspout::test::kUnix;
using waterspout::test::make_pattern;
using waterspout::test::make_raw_pair;
using waterspout::test::RawPeer;
using waterspout::test::SteppedLoop;
using waterspout::test::SyscallCounter;

namespace {

struct KernelTest {
  explicit KernelTest(IOStream::Options options = {})
      : pair(make_raw_pair(loop, options, kUnix)),
        stream(*pair.stream),
        kernel(stream.fileno()) {
    stream.set_close_callback(log.note("close"));
    loop.bound_turns(200'000);
  }

  ~KernelTest() {
    stream.close();
    loop.settle();
  }

  void send(std::string_view data) {
    pair.peer.send(data);
    loop.settle();
  }

  SteppedLoop loop;
  RawPeer pair;
  IOStream& stream;
  SyscallCounter kernel;
  EventLog log;
};

std::error_code errno_code(int error) {
  return {error, std::generic_category()};
}

// What is asked of the kernel at once.
constexpr std::size_t kChunk = IOStream::Options().read_chunk_size;

}  // namespace

TEST_SUITE_BEGIN("iostream_kernel");

TEST_CASE("R10, R13: an interrupted or blocked call is not seen") {
  for (const int error : {EINTR, EAGAIN}) {
    for (const int times : {1, 2, 50}) {
      CAPTURE(error);
      CAPTURE(times);
      KernelTest t;
      t.kernel.fail_recv(error, times);
      t.kernel.fail_send(error, times);
      t.stream.read_until("\n", [&](std::string_view line) {
        t.log.read("line")(line);
        t.stream.write("answer", t.log.note("written"));
      });
      t.send("question\n");
      CHECK(t.log.text() == "line(question\n) written");
      CHECK(t.pair.peer.recv_ready() == "answer");
    }
  }
}

TEST_CASE("R16: want of buffers in the kernel passes") {
  KernelTest t;
  t.kernel.fail_send(ENOBUFS, 3);
  t.stream.write("answer", t.log.note("written"));
  t.loop.settle();
  CHECK(t.log.text() == "written");
  CHECK(t.pair.peer.recv_ready() == "answer");
}

TEST_CASE("R15: transfers of any size carry the same bytes") {
  const std::string data = make_pattern(5000);
  for (std::size_t limit = 1; limit <= 7; ++limit) {
    CAPTURE(limit);
    KernelTest t;
    t.kernel.limit_recv(limit);
    t.kernel.limit_send(limit);
    std::string got;
    t.stream.read_until(data.substr(4990), [&](std::string_view line) {
      got = line;
      t.stream.write(line.substr(0, 2500));
      t.stream.write(line.substr(2500), t.log.note("written"));
    });
    t.pair.peer.send(data);
    std::string back;
    while (t.loop.step()) {
      back += t.pair.peer.recv_ready();
    }
    CHECK(got == data);
    CHECK(t.log.text() == "written");
    CHECK(back == data);
  }
}

TEST_CASE("R15: many large writes in small transfers stay in order") {
  KernelTest t;
  t.kernel.limit_send(997);
  std::string sent;
  for (std::size_t i = 0; i < 10; ++i) {
    const std::string piece = make_pattern(20'000 + i).substr(i);
    sent += piece;
    t.stream.write(piece);
  }
  std::string got;
  while (got.size() < sent.size()) {
    t.loop.step();
    got += t.pair.peer.recv_ready();
  }
  CHECK(got == sent);
}

TEST_CASE("R17, N39: an error of recv or send closes the stream with it") {
  for (const int error : {EIO, ENOMEM, ECONNRESET, ETIMEDOUT, ECONNABORTED}) {
    for (const bool sending : {false, true}) {
      CAPTURE(error);
      CAPTURE(sending);
      KernelTest t;
      if (error == EIO || error == ENOMEM) {  // resets are quiet
        t.loop.expect_log(LogLevel::warning, sending ? "write: " : "read: ");
      }
      if (sending) {
        t.kernel.fail_send(error);
        CHECK_NOTHROW(t.stream.write("x", t.log.note("never")));
      } else {
        t.kernel.fail_recv(error);
        t.stream.read_bytes(1, t.log.read("never"));
        t.pair.peer.send("x");
      }
      t.loop.settle();
      CHECK(t.log.text() == "close");
      CHECK(t.stream.error() == errno_code(error));
      CHECK(
          t.stream.error_message().starts_with(sending ? "write: " : "read: "));
    }
  }
}

TEST_CASE("What is buffered satisfies a read though recv then fails") {
  KernelTest t;
  t.loop.expect_log(LogLevel::warning, "read: ");
  t.stream.read_bytes(1, [&](std::string_view) {
    t.kernel.fail_recv(EIO);
    t.stream.read_until("\n", [&](std::string_view line) {
      t.log.read("line")(line);
      t.stream.read_bytes(100, t.log.read("never"));
    });
  });
  t.send("1line\nrest");
  t.send("more");
  CHECK(t.log.text() == "line(line\n) close");
  CHECK(t.stream.error() == std::errc::io_error);
  t.stream.read_until_close(t.log.read("left"));
  t.loop.settle();
  CHECK(t.log.text() == "line(line\n) close left(rest)");
}

TEST_CASE("R6: a stream that cannot be polled closes, it is never deaf") {
  for (const int error : {ENOMEM, ENOSPC}) {
    CAPTURE(error);
    SteppedLoop loop;
    EventLog log;
    loop.expect_log(LogLevel::warning, "");
    const RawPeer pair = make_raw_pair(loop, {}, kUnix);
    SyscallCounter kernel(pair.stream->fileno());
    kernel.fail_epoll_ctl(error);
    CHECK_NOTHROW(pair.stream->read_bytes(1, log.read("never")));
    CHECK_NOTHROW(pair.stream->set_close_callback(log.note("close")));
    CHECK(log.empty());
    loop.settle();
    CHECK(log.text() == "close");
    CHECK(pair.stream->error() == errno_code(error));
  }
}

TEST_CASE("R6: a full stream that cannot be polled closes") {
  KernelTest t;
  t.loop.expect_log(LogLevel::warning, "");
  t.loop.settle();
  t.kernel.fail_epoll_ctl(ENOSPC);
  t.stream.write(std::string(std::size_t{8} * 1024 * 1024, 'x'),
                 t.log.note("never"));
  t.loop.settle();
  CHECK(t.log.text() == "close");
  CHECK(t.stream.error() == errno_code(ENOSPC));
}

TEST_CASE("A peer that does not stop sending is slowed while nobody reads") {
  KernelTest t;
  const std::string flood(std::size_t{1024} * 1024, 'x');
  std::size_t sent = 0;
  auto send_all_it_takes = [&] {
    for (int i = 0; i < 20; ++i) {
      sent += t.pair.peer.send_some(flood);
      t.loop.settle();
    }
  };
  t.stream.read_bytes(1, [](std::string_view) {});
  send_all_it_takes();
  const std::size_t taken = t.kernel.counts().received_bytes;
  CHECK(taken <= 2 * kChunk);
  CHECK(sent < flood.size());  // the peer waits

  t.stream.read_bytes(taken - 1, [](std::string_view) {});
  send_all_it_takes();
  CHECK(t.kernel.counts().received_bytes <= taken + 2 * kChunk);
  CHECK(t.stream.unread_bytes() <= 2 * kChunk);
}

TEST_CASE("Many small reads take from the kernel no more than they need") {
  KernelTest t({.read_chunk_size = 1024});
  const std::string flood(100'000, 'x');
  CHECK(t.pair.peer.send_some(flood) == flood.size());
  std::size_t read = 0;
  for (int i = 0; i < 50; ++i) {
    t.stream.read_bytes(100,
                        [&](std::string_view data) { read += data.size(); });
    t.loop.settle();
    CHECK(t.kernel.counts().received_bytes <= read + 1024);
  }
  CHECK(read == 5000);
}

TEST_CASE(
    "A read of a known length takes no more than that, where it is large") {
  KernelTest t;
  const std::string data = make_pattern(100'000);
  std::string got;
  CHECK(t.pair.peer.send_some(data + data.substr(0, 50'000)) == 150'000);
  t.stream.read_bytes(data.size(), [&](std::string_view d) { got = d; });
  t.loop.settle();
  CHECK(got == data);
  CHECK(t.kernel.counts().received_bytes <= data.size() + kChunk);
}

TEST_CASE("A slow reader by parts bounds what is taken at any moment") {
  KernelTest t;
  const std::string flood(std::size_t{4} * 1024 * 1024, 'x');
  std::string_view left = flood;
  std::size_t read = 0;
  while (read < flood.size()) {
    left.remove_prefix(t.pair.peer.send_some(left));
    t.stream.read_bytes(10'000, {.partial = true},
                        [&](std::string_view part) { read += part.size(); });
    t.loop.settle();
    CHECK(t.kernel.counts().received_bytes <= read + kChunk);
  }
  CHECK(read == flood.size());
}

TEST_SUITE_END();
