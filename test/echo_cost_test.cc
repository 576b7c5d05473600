// What an echo costs in its steady state, counted: one recv and one send for a
// request, no probing, no change of interest, no allocation; how many answers
// leave in one send; and what memory is kept.

#include <array>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <malloc.h>
#include <sys/socket.h>

#include <doctest/doctest.h>

#include "waterspout/iostream.h"

#include "support/loop_fixture.h"
#include "support/stream_helpers.h"
#include "support/stream_pair.h"
#include "support/syscall_counter.h"

using waterspout::IOStream;
using waterspout::test::LoopFixture;
using waterspout::test::make_pattern;
using waterspout::test::make_raw_pair;
using waterspout::test::make_unix_pair;
using waterspout::test::RawPeer;
using waterspout::test::SteppedLoop;
using waterspout::test::StreamPair;
using waterspout::test::SyscallCounter;
using waterspout::test::SyscallCounts;
using waterspout::test::UniquePeerFd;
using waterspout::test::wait_readable;

namespace {

constexpr int kRequests = 1000;

// The echo of the manual: the next line is asked for when this one is written.
void echo_lines(const std::shared_ptr<IOStream>& stream) {
  stream->read_until("\n", [stream](std::string_view line) {
    stream->write(line, [stream] { echo_lines(stream); });
  });
}

// The same, asking for the next line without waiting.
void echo_lines_at_once(const std::shared_ptr<IOStream>& stream) {
  stream->read_until("\n", [stream](std::string_view line) {
    stream->write(line);
    echo_lines_at_once(stream);
  });
}

std::size_t allocated_bytes() {
  const struct mallinfo2 account = mallinfo2();
  return account.uordblks + account.hblkhd;
}

// Takes what has come, into memory that is there already.
std::size_t received(const UniquePeerFd& peer) {
  std::array<char, 4096> bytes;
  const auto size = recv(peer.get(), bytes.data(), bytes.size(), MSG_DONTWAIT);
  return size > 0 ? static_cast<std::size_t>(size) : 0;
}

struct EchoTest {
  explicit EchoTest(bool tcp) : pair(make_raw_pair(loop, {}, tcp)) {
    loop.bound_turns(100'000);
  }

  ~EchoTest() {
    pair.stream->close();
    loop.settle();
  }

  // One request of so many lines, and its answer.
  void exchange(const std::string& request) {
    pair.peer.send(request);
    wait_readable(pair.stream->fileno());
    std::size_t answered = 0;
    while (answered < request.size()) {
      loop.step();
      answered += pair.peer.recv_ready().size();
    }
  }

  SteppedLoop loop;
  RawPeer pair;
};

// Counts `requests` exchanges of `request`, after some to warm up.
SyscallCounts count_exchanges(EchoTest& t, const std::string& request,
                              int requests = kRequests) {
  SyscallCounter counter(t.pair.stream->fileno());
  for (int i = 0; i < 100; ++i) {
    t.exchange(request);
  }
  counter.reset();
  for (int i = 0; i < requests; ++i) {
    t.exchange(request);
  }
  return counter.counts();
}

void check_steady(const SyscallCounts& counts, int requests = kRequests) {
  CHECK(counts.recv == requests);
  CHECK(counts.recv_would_block == 0);
  CHECK(counts.send == requests);
  CHECK(counts.epoll_ctl == 0);
}

}  // namespace

TEST_SUITE_BEGIN("echo_cost");

TEST_CASE("The counter sees what it is there to see") {
  EchoTest t(false);
  SyscallCounter counter(t.pair.stream->fileno());
  t.pair.stream->read_bytes(1, [](std::string_view) {});
  t.pair.stream->write("x");
  t.pair.peer.send("x");
  t.loop.settle();
  CHECK(counter.counts().recv == 1);
  CHECK(counter.counts().received_bytes == 1);
  CHECK(counter.counts().send == 1);
  CHECK(counter.counts().epoll_ctl == 1);
  CHECK(counter.counts().epoll_wait >= 1);
  const auto before = counter.counts().allocations;
  const std::string allocated(10'000, 'x');
  CHECK((counter.counts().allocations > before) ==
        SyscallCounter::kCountsAllocations);
}

TEST_CASE("An echo costs one recv and one send a request, and no epoll_ctl") {
  for (const bool tcp : {false, true}) {
    for (const auto echo : {echo_lines, echo_lines_at_once}) {
      CAPTURE(tcp);
      EchoTest t(tcp);
      echo(t.pair.stream);
      check_steady(count_exchanges(t, "a request\n"));
    }
  }
}

TEST_CASE("An echo allocates nothing in its steady state") {
  EchoTest t(false);
  echo_lines(t.pair.stream);
  SyscallCounter counter(t.pair.stream->fileno());
  const std::string request = std::string(999, 'x') + "\n";
  auto turn = [&] {
    t.pair.peer.send(request);
    t.loop.step();
    CHECK(received(t.pair.peer) == 1000);
  };
  for (int i = 0; i < 100; ++i) {
    turn();
  }
  counter.reset();
  for (int i = 0; i < kRequests; ++i) {
    turn();
  }
  CHECK(counter.counts().allocations == 0);
}

TEST_CASE("A read of a known length allocates nothing in its steady state") {
  EchoTest t(false);
  std::function<void()> echo = [&] {
    t.pair.stream->read_bytes(1000, [&](std::string_view data) {
      t.pair.stream->write(data, [&] { echo(); });
    });
  };
  echo();
  SyscallCounter counter(t.pair.stream->fileno());
  const std::string half(500, 'x');
  auto turn = [&] {
    t.pair.peer.send(half);
    t.loop.step();
    t.pair.peer.send(half);  // the bytes come in two pieces
    t.loop.step();
    CHECK(received(t.pair.peer) == 1000);
  };
  for (int i = 0; i < 100; ++i) {
    turn();
  }
  counter.reset();
  for (int i = 0; i < kRequests; ++i) {
    turn();
  }
  CHECK(counter.counts().allocations == 0);
}

TEST_CASE("A large message allocates nothing in the steady state") {
  constexpr std::size_t kPiece = 32 * 1024;
  static std::array<char, 2 * kPiece> received_piece;
  const std::string piece(kPiece, 'x');
  for (const std::size_t pieces : {3U, 4U, 6U, 8U}) {
    CAPTURE(pieces);
    EchoTest t(false);
    std::function<void()> echo = [&] {
      t.pair.stream->read_bytes(pieces * kPiece, [&](std::string_view data) {
        t.pair.stream->write(data, [&] { echo(); });
      });
    };
    echo();
    SyscallCounter counter(t.pair.stream->fileno());
    const auto exchange = [&] {
      for (std::size_t i = 0; i < pieces; ++i) {
        t.pair.peer.send(piece);
        t.loop.step();
      }
      for (std::size_t answered = 0; answered < pieces * kPiece;
           t.loop.step()) {
        const auto got = recv(t.pair.peer.get(), received_piece.data(),
                              received_piece.size(), MSG_DONTWAIT);
        answered += got > 0 ? static_cast<std::size_t>(got) : 0;
      }
    };
    for (int i = 0; i < 10; ++i) {
      exchange();
    }
    counter.reset();
    for (int i = 0; i < 100; ++i) {
      exchange();
    }
    CHECK(counter.counts().allocations == 0);
  }
}

TEST_CASE("A read of many megabytes makes room for the first, then for all") {
  constexpr std::size_t kPiece = 128 * 1024;
  constexpr std::size_t kSize = std::size_t{32} * 1024 * 1024;
  EchoTest t(false);
  const std::string piece(kPiece, 'x');
  std::size_t read = 0;
  t.pair.stream->read_bytes(kSize,
                            [&](std::string_view data) { read = data.size(); });
  const SyscallCounter counter;
  const auto send = [&](std::size_t pieces) {
    for (std::size_t i = 0; i < pieces; ++i) {
      t.pair.peer.send(piece);
      t.loop.step();
    }
    return counter.counts().allocations;
  };
  const std::size_t before = allocated_bytes();
  const auto first = send(3);
  const std::size_t taken = allocated_bytes() - before;
  const auto all = send(kSize / kPiece - 3);
  CHECK(read == kSize);
  CHECK(first <= 2);  // the room, and what manages it
  CHECK(all - first <= 1);
  if (SyscallCounter::kCountsAllocations) {
    CHECK(taken < std::size_t{1100} * 1024);
  }
}

TEST_CASE("An own loop costs the same") {
  LoopFixture loop;
  loop.bound_turns(100'000);
  const RawPeer pair = make_raw_pair(loop, {}, false);
  echo_lines(pair.stream);
  SyscallCounter counter;
  int left = 1100;
  // The peer is driven from the loop by a handler, which counts too.
  auto answered = [&](int, waterspout::IOLoop::Events) {
    CHECK(pair.peer.recv_ready() == "line\n");
    left -= 1;
    if (left == 1000) {
      counter.watch(pair.stream->fileno());
      counter.reset();
    }
    left == 0 ? loop.stop() : pair.peer.send("line\n");
  };
  loop->add_handler(pair.peer.get(), waterspout::IOLoop::READ, answered);
  pair.peer.send("line\n");
  loop.run();
  check_steady(counter.counts());
  // A wake-up for the request and one for the answer.
  CHECK(counter.counts().epoll_wait <= 2 * kRequests + 2);
  loop->remove_handler(pair.peer.get());
  pair.stream->close();
  loop.run_turns(1);
}

TEST_CASE("Sixteen pipelined lines are answered by one send") {
  std::string request;
  for (int i = 0; i < 16; ++i) {
    request += "line " + std::to_string(i) + "\n";
  }
  for (const bool tcp : {false, true}) {
    CAPTURE(tcp);
    EchoTest t(tcp);
    echo_lines(t.pair.stream);
    check_steady(count_exchanges(t, request));
  }
}

TEST_CASE("A thousand pipelined lines are answered by a few sends") {
  EchoTest t(false);
  echo_lines(t.pair.stream);
  std::string request;
  for (int i = 0; i < 1000; ++i) {
    request += "line\n";
  }
  const SyscallCounts counts = count_exchanges(t, request, 100);
  CHECK(counts.send <= 100 * 10);
  CHECK(counts.recv <= 100 * 10);
  CHECK(counts.epoll_ctl == 0);
}

TEST_CASE("Small writes to another stream leave in one send too") {
  SteppedLoop loop;
  const RawPeer in = make_raw_pair(loop, {}, false);
  const RawPeer out = make_raw_pair(loop, {}, false);
  SyscallCounter counter(out.stream->fileno());
  in.stream->read_bytes(1, [&](std::string_view) {
    for (int i = 0; i < 16; ++i) {
      out.stream->write("small ");
    }
  });
  in.peer.send("x");
  loop.settle();
  CHECK(counter.counts().send == 1);
  CHECK(out.peer.recv_ready().size() == 16 * 6);
}

TEST_CASE("A head and a large body leave in one send") {
  SteppedLoop loop;
  const RawPeer pair = make_raw_pair(loop, {}, false);
  SyscallCounter counter(pair.stream->fileno());
  pair.stream->read_bytes(1, [&](std::string_view) {
    pair.stream->write("head");
    pair.stream->write(make_pattern(50'000));
  });
  pair.peer.send("x");
  loop.settle();
  CHECK(counter.counts().send == 1);
  CHECK(pair.peer.recv_ready().size() == 50'004);
}

TEST_CASE("A response with a body costs a recv for each, not more") {
  SteppedLoop loop;
  const RawPeer pair = make_raw_pair(loop, {}, false);
  SyscallCounter counter(pair.stream->fileno());
  const std::string body = make_pattern(100'000);
  std::size_t got = 0;
  pair.stream->read_until("\n", [&](std::string_view) {
    pair.stream->read_bytes(body.size(),
                            [&](std::string_view data) { got = data.size(); });
  });
  pair.peer.send("head\n" + body);
  loop.settle();
  CHECK(got == body.size());
  CHECK(counter.counts().recv <= 3);
  CHECK(counter.counts().recv_would_block == 0);
}

TEST_CASE("A large write that the kernel takes at once is not copied") {
  EchoTest t(false);
  const std::string data = make_pattern(100'000);
  t.pair.stream->write(data.substr(0, 50'000));
  CHECK(t.pair.peer.recv_ready().size() == 50'000);
  SyscallCounter counter(t.pair.stream->fileno());
  t.pair.stream->write(data);
  CHECK(counter.counts().send == 1);
  CHECK(counter.counts().allocations == 0);
  CHECK_FALSE(t.pair.stream->writing());
  CHECK(t.pair.peer.recv_ready() == data);
}

TEST_CASE("An idle connection costs nothing") {
  SteppedLoop loop;
  const RawPeer pair = make_raw_pair(loop, {}, false);
  pair.stream->set_close_callback([] {});
  loop.settle();
  SyscallCounter counter(pair.stream->fileno());
  for (int i = 0; i < 10; ++i) {
    CHECK_FALSE(loop.step());
  }
  CHECK(counter.counts().recv == 0);
  CHECK(counter.counts().epoll_ctl == 0);
  CHECK(counter.counts().allocations == 0);
  pair.stream->close();
  loop.settle();
}

TEST_CASE("An idle connection owns no buffer memory") {
  if (!SyscallCounter::kCountsAllocations) {
    return;  // the sanitizers' allocator keeps no such account
  }
  constexpr std::size_t kStreams = 500;
  SteppedLoop loop;
  loop.bound_turns(100'000);
  std::vector<RawPeer> pairs;
  pairs.reserve(kStreams);
  const std::string lines = std::string(20'000, 'x') + "\n";
  const std::size_t before = allocated_bytes();
  for (std::size_t i = 0; i < kStreams; ++i) {
    pairs.push_back(make_raw_pair(loop, {}, false));
    echo_lines(pairs.back().stream);
    pairs.back().peer.send(lines.substr(0, 10'000));
    loop.settle();
    pairs.back().peer.send(lines.substr(10'000));
    loop.settle();
    CHECK(pairs.back().peer.recv_ready() == lines);
  }
  const std::size_t used =
      allocated_bytes() - before - loop->statistics().pooled_bytes;
  CHECK(used / kStreams < 2048);
  CHECK(loop->statistics().pooled_bytes < std::size_t{1024} * 1024);
  for (const RawPeer& pair : pairs) {
    pair.stream->close();
  }
  loop.settle();
}

TEST_CASE("R29: what a large read took is given back after it") {
  if (!SyscallCounter::kCountsAllocations) {
    return;  // the sanitizers' allocator keeps no such account
  }
  LoopFixture loop;
  loop.bound_turns(100'000);
  const StreamPair pair = make_unix_pair(loop);
  const std::size_t before = allocated_bytes();
  pair.client->write(std::string(std::size_t{32} * 1024 * 1024, 'x'));
  pair.client->write("\n");
  pair.server->read_until("\n", [&](std::string_view) { loop.stop(); });
  loop.run();
  loop.run_turns(2);
  const std::size_t after = allocated_bytes();
  CHECK(after < before + std::size_t{1024} * 1024);
}

TEST_SUITE_END();
