// pipe and pipe_both: every byte arrives, the end is carried over, and a slow
// side slows the other one.

#include "waterspout/pipe.h"

#include <cerrno>
#include <cstddef>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include <sys/socket.h>

#include <doctest/doctest.h>

#include "support/contexts.h"
#include "support/loop_fixture.h"
#include "support/sockets.h"
#include "support/stream_helpers.h"
#include "support/stream_pair.h"

using waterspout::BaseIOStream;
using waterspout::IOStream;
using waterspout::LogLevel;
using waterspout::pipe_both;
using waterspout::PipeResult;
using waterspout::StackContext;
using waterspout::StreamErrc;
using waterspout::test::bound_kernel_buffers;
using waterspout::test::entered_contexts;
using waterspout::test::LoopFixture;
using waterspout::test::make_pattern;
using waterspout::test::make_raw_pair;
using waterspout::test::named;
using waterspout::test::Names;
using waterspout::test::RawPeer;
using waterspout::test::SteppedLoop;
using waterspout::test::Token;

namespace {

// Two streams with plain sockets at their far ends.
struct PipeTest {
  explicit PipeTest(bool half_close = true)
      : a(make_raw_pair(loop, {.half_close = half_close}, false)),
        b(make_raw_pair(loop, {.half_close = half_close}, false)) {}

  void pipe() {
    waterspout::pipe(a.stream, b.stream,
                     [this](PipeResult ended) { result = ended; });
  }

  void pipe_both() {
    waterspout::pipe_both(a.stream, b.stream,
                          [this](PipeResult forth, PipeResult back) {
                            result = forth;
                            back_result = back;
                          });
  }

  // Sends as much of `data` as is taken at once.
  static void send_some(const RawPeer& from, std::string_view& data) {
    if (!data.empty()) {
      data.remove_prefix(from.peer.send_some(data));
    }
  }

  SteppedLoop loop;
  RawPeer a;
  RawPeer b;
  std::optional<PipeResult> result;
  std::optional<PipeResult> back_result;
};

}  // namespace

TEST_SUITE_BEGIN("pipe");

TEST_CASE("A pipe carries every byte, and the end") {
  for (const bool half_close : {true, false}) {
    CAPTURE(half_close);
    PipeTest t(half_close);
    t.pipe();
    const std::string data = make_pattern(1'000'000);
    std::string_view left = data;
    std::string got;
    while (got.size() < data.size()) {
      PipeTest::send_some(t.a, left);
      t.loop.settle();
      got += t.b.peer.recv_ready();
    }
    CHECK(got == data);
    CHECK_FALSE(t.result);
    t.a.peer.shutdown();
    t.loop.settle();
    REQUIRE(t.result);
    CHECK(t.result->bytes == data.size());
    CHECK_FALSE(t.result->error);
    CHECK(t.b.peer.recv_all().empty());
    CHECK(t.a.stream->closed() == !half_close);
    CHECK(t.b.stream->closed() == !half_close);
    t.a.stream->close();
    t.b.stream->close();
  }
}

TEST_CASE("A pipe begins with what was read already, and may end at once") {
  PipeTest t;
  t.a.peer.send("abc");
  t.a.peer.shutdown();
  t.a.stream->read_bytes(1, [](std::string_view) {});
  t.loop.settle();
  t.pipe();
  CHECK_FALSE(t.result);
  t.loop.settle();
  REQUIRE(t.result);
  CHECK(t.result->bytes == 2);
  CHECK(t.b.peer.recv_all() == "bc");
  t.a.stream->close();
  t.b.stream->close();
}

TEST_CASE(
    "A reader that does not read stops the other side, in bounded "
    "memory") {
  PipeTest t;
  t.loop.bound_turns(20'000);
  bound_kernel_buffers(t.b.stream->fileno());
  bound_kernel_buffers(t.b.peer.get());
  t.pipe();
  const std::string data = make_pattern(8'000'000);
  std::string_view left = data;
  for (int i = 0; i < 200; ++i) {
    PipeTest::send_some(t.a, left);
    t.loop.settle();
  }
  CHECK(left.size() > data.size() - 1'000'000);
  CHECK(t.b.stream->unsent_bytes() <= 65536);
  CHECK(t.a.stream->unread_bytes() <= 65536);
  std::string got;
  while (got.size() < data.size()) {
    PipeTest::send_some(t.a, left);
    t.loop.settle();
    got += t.b.peer.recv_ready();
  }
  CHECK(got == data);
  t.a.stream->close();
  t.b.stream->close();
  t.loop.settle();
}

TEST_CASE(
    "What the source had sent before it was reset arrives, and the error "
    "is told") {
  PipeTest t;
  t.pipe();
  t.b.stream->set_nodelay(true);
  t.a.stream->write("unread by the peer");
  t.loop.settle();
  t.a.peer.send("last words");
  t.a.peer.close();
  t.loop.settle();
  REQUIRE(t.result);
  CHECK(t.result->bytes == 10);
  CHECK(t.result->error == std::errc::connection_reset);
  CHECK(t.b.peer.recv_ready() == "last words");
  CHECK_FALSE(t.b.stream->closed());
  t.b.stream->close();
}

TEST_CASE("A pipe whose sink fails or is closed says so") {
  for (const bool by_us : {true, false}) {
    CAPTURE(by_us);
    PipeTest t;
    t.pipe();
    t.loop.settle();
    if (by_us) {
      t.b.stream->close();
    } else {
      t.b.peer.close();
      t.a.peer.send("into the void");
    }
    t.loop.settle();
    REQUIRE(t.result);
    CHECK(t.result->error ==
          (by_us ? make_error_code(StreamErrc::closed)
                 : std::error_code(EPIPE, std::generic_category())));
    CHECK_FALSE(t.a.stream->closed());
    t.a.stream->close();
  }
}

TEST_CASE("A piece that a small write buffer cannot take ends the pipe") {
  SteppedLoop loop;
  const RawPeer a = make_raw_pair(loop, {}, false);
  const RawPeer b = make_raw_pair(loop, {.max_write_buffer_size = 1000}, false);
  bound_kernel_buffers(b.stream->fileno());
  std::optional<PipeResult> result;
  waterspout::pipe(a.stream, b.stream,
                   [&](PipeResult ended) { result = ended; });
  for (int i = 0; i < 20; ++i) {
    static_cast<void>(a.peer.send_some(make_pattern(60'000)));
    loop.settle();
  }
  REQUIRE(result);
  CHECK(result->error == StreamErrc::write_buffer_full);
  a.stream->close();
  b.stream->close();
}

TEST_CASE("pipe_both carries both directions at once, each to its own end") {
  PipeTest t;
  t.pipe_both();
  const std::string forth = make_pattern(500'000);
  const std::string back = make_pattern(700'001);
  std::string_view forth_left = forth;
  std::string_view back_left = back;
  std::string forth_got;
  std::string back_got;
  while (forth_got.size() < forth.size() || back_got.size() < back.size()) {
    PipeTest::send_some(t.a, forth_left);
    PipeTest::send_some(t.b, back_left);
    t.loop.settle();
    forth_got += t.b.peer.recv_ready();
    back_got += t.a.peer.recv_ready();
  }
  CHECK(forth_got == forth);
  CHECK(back_got == back);
  t.a.peer.shutdown();
  t.loop.settle();
  CHECK(t.b.peer.recv_all().empty());
  CHECK_FALSE(t.result);
  t.b.peer.send("and one more thing");
  t.b.peer.shutdown();
  t.loop.settle();
  CHECK(t.a.peer.recv_all() == "and one more thing");
  REQUIRE(t.result);
  CHECK(t.result->bytes == forth.size());
  CHECK(t.back_result->bytes == back.size() + 18);
  CHECK_FALSE(t.result->error);
  CHECK_FALSE(t.back_result->error);
  CHECK(t.a.stream->closed());
  CHECK(t.b.stream->closed());
}

TEST_CASE(
    "Where one side of pipe_both is reset, the other gets all that had "
    "come before, and is closed") {
  PipeTest t;
  bound_kernel_buffers(t.b.stream->fileno());
  t.pipe_both();
  t.b.peer.send("unread");
  t.loop.settle();
  const std::string data = make_pattern(100'000);
  t.a.peer.send(data);
  t.a.peer.close();
  std::string got;
  while (got.size() < data.size()) {
    t.loop.settle();
    const std::string some = t.b.peer.recv();
    REQUIRE(!some.empty());
    got += some;
  }
  t.loop.settle();
  CHECK(got == data);
  CHECK(t.b.peer.recv_all().empty());
  REQUIRE(t.result);
  CHECK(t.result->bytes == data.size());
  CHECK(t.result->error == std::errc::connection_reset);
  CHECK(t.back_result->error);
}

TEST_CASE(
    "Where one side of pipe_both fails while the other one's data waits "
    "for it, both directions end") {
  PipeTest t;
  bound_kernel_buffers(t.a.stream->fileno());
  t.pipe_both();
  t.b.peer.send(make_pattern(50'000));
  t.loop.settle();
  t.a.peer.send("to b");
  t.loop.settle();
  t.a.peer.close();
  t.loop.settle();
  REQUIRE(t.result);
  CHECK(t.b.peer.recv_ready() == "to b");
  CHECK(t.a.stream->closed());
  CHECK(t.b.stream->closed());
}

TEST_CASE("Without half_close the end of one direction is that of both") {
  PipeTest t(false);
  t.pipe_both();
  t.a.peer.send("question");
  t.a.peer.shutdown();
  t.loop.settle();
  CHECK(t.b.peer.recv_all() == "question");
  CHECK(t.a.peer.recv_all().empty());
  REQUIRE(t.result);
  CHECK_FALSE(t.result->error);
}

TEST_CASE("Closing a stream ends pipe_both") {
  PipeTest t;
  t.pipe_both();
  t.loop.settle();
  t.a.stream->close();
  t.loop.settle();
  REQUIRE(t.result);
  CHECK(t.b.stream->closed());
}

TEST_CASE("A pipe lives without its caller, and leaves nothing behind") {
  PipeTest t;
  const Token token;
  waterspout::pipe_both(t.a.stream, t.b.stream,
                        [held = token.copy()](PipeResult, PipeResult) {});
  const std::weak_ptr<IOStream> weak = t.a.stream;
  t.a.stream.reset();
  t.b.stream.reset();
  t.a.peer.send("hello");
  t.loop.settle();
  CHECK(t.b.peer.recv_ready() == "hello");
  CHECK(token.alive() == 1);
  t.a.peer.close();
  t.b.peer.close();
  t.loop.settle();
  CHECK(token.alive() == 0);
  CHECK(weak.expired());
}

TEST_CASE("A pipe goes with its loop") {
  auto loop = std::make_unique<LoopFixture>();
  RawPeer a = make_raw_pair(*loop, {.half_close = true});
  RawPeer b = make_raw_pair(*loop, {.half_close = true});
  const Token token;
  const auto never = [held = token.copy()](auto...) {
    FAIL_CHECK("the loop is gone");
  };
  waterspout::pipe_both(a.stream, b.stream, never);
  loop->run_turns(2);
  (*loop)->close();
  a.stream.reset();
  b.stream.reset();
  CHECK(token.alive() == 1);  // `never` itself
}

TEST_CASE(
    "The callback of a pipe runs in the context of the call, and what it "
    "throws is told") {
  PipeTest t;
  Names seen;
  {
    const StackContext context(named("proxy"));
    waterspout::pipe(t.a.stream, t.b.stream, [&](PipeResult) {
      seen = entered_contexts;
      throw std::out_of_range("at the end");
    });
  }
  t.loop.expect_log(LogLevel::error, "at the end");
  t.a.peer.shutdown();
  t.loop.settle();
  CHECK(seen == Names{"proxy"});
  CHECK(t.loop.failures.size() == 1);
  t.a.stream->close();
  t.b.stream->close();
}

TEST_CASE("pipe and pipe_both refuse misuse") {
  PipeTest t;
  const auto nothing = [](auto...) {};
  CHECK_THROWS_AS(waterspout::pipe(t.a.stream, t.a.stream, nothing),
                  std::invalid_argument);
  CHECK_THROWS_AS(waterspout::pipe(nullptr, t.a.stream, nothing),
                  std::invalid_argument);
  CHECK_THROWS_AS(waterspout::pipe(t.a.stream, t.b.stream, {}),
                  std::invalid_argument);
  CHECK_THROWS_AS(pipe_both(t.a.stream, t.b.stream, {}), std::invalid_argument);
  t.b.stream->read_bytes(1, [](std::string_view) {});
  CHECK_THROWS_AS(waterspout::pipe(t.b.stream, t.a.stream, nothing),
                  std::logic_error);
  CHECK_THROWS_AS(pipe_both(t.a.stream, t.b.stream, nothing), std::logic_error);
  {
    LoopFixture other;
    const RawPeer c = make_raw_pair(other);
    CHECK_THROWS_AS(waterspout::pipe(t.a.stream, c.stream, nothing),
                    std::logic_error);
  }
  t.b.stream->close();
  t.loop.settle();
}

TEST_SUITE_END();
