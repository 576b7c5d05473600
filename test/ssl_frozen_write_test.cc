// The frozen write: OpenSSL has encrypted what would have blocked, and wants it
// presented again with the same bytes, at the same address and of the same
// length. The streams have SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER off, so that it
// ends the connection if that is not so (tls_session_test.cc shows it does).

#include <cstddef>
#include <functional>
#include <memory>
#include <ostream>
#include <string>
#include <string_view>

#include <doctest/doctest.h>

#include "waterspout/ssl_iostream.h"

#include "support/loop_fixture.h"
#include "support/stream_helpers.h"
#include "support/tls_streams.h"

using waterspout::test::bound_kernel_buffers;
using waterspout::test::LoopFixture;
using waterspout::test::make_pattern;
using waterspout::test::make_tls_pair;
using waterspout::test::shake_hands;
using waterspout::test::TLSPair;

namespace {

/// A client whose peer reads nothing until it is told to, and little of what is
/// written fits in between.
struct StuckPeer {
  StuckPeer()
      : pair(make_tls_pair(loop, waterspout::test::make_unix_sockets())) {
    loop.bound_turns(100'000);
    shake_hands(loop, pair);
    bound_kernel_buffers(pair.client->fileno());
    bound_kernel_buffers(pair.server->fileno());
  }

  ~StuckPeer() {
    pair.client->close();
    pair.server->close();
    loop.run_turns(5);
  }

  void write(std::string_view data) {
    pair.client->write(data);
    written += data;
  }

  /// Until the client has closed in order.
  std::string read_everything() {
    std::string got;
    pair.server->read_until_close(
        {.streaming_callback = [&](std::string_view piece) { got += piece; }},
        [&](std::string_view) { loop.stop(); });
    loop.run();
    return got;
  }

  LoopFixture loop;
  TLSPair pair;
  std::string written;
};

}  // namespace

TEST_SUITE_BEGIN("ssl_frozen_write");

TEST_CASE("a write that blocks is presented again whatever is appended") {
  StuckPeer t;
  const std::string pattern = make_pattern(300'000);
  t.write(pattern);
  REQUIRE(t.pair.client->writing());
  // The peer reads within a record, and stops again; the sender adds pieces of
  // all sizes at every stage.
  std::string got;
  for (const std::size_t size : {1U, 700U, 16'384U, 16'385U, 100'000U}) {
    t.pair.server->read_bytes(9'999, [&](std::string_view data) {
      got += data;
      t.loop.stop();
    });
    t.loop.run();
    t.write(std::string_view(pattern).substr(size, size));
    REQUIRE(t.pair.client->writing());
    t.loop.run_turns(3);
  }
  t.pair.client->close_after_writing();

  got += t.read_everything();
  CHECK(got.size() == t.written.size());
  CHECK((got == t.written));
  CHECK_FALSE(t.pair.server->error());
  CHECK(t.pair.client->error_message() == "");
}

TEST_CASE("a write over TLS is reported when the kernel has it, in order") {
  StuckPeer t;
  std::string order;
  const std::string block(50'000, 'x');
  for (const char name : {'1', '2', '3', '4'}) {
    t.pair.client->write(block, [&order, name] { order += name; });
  }
  t.loop.run_turns(5);
  CHECK(order.size() < 4);
  CHECK(t.pair.client->unsent_bytes() > 0);
  const std::string before = order;
  t.pair.client->write("", [&] { t.pair.client->close(); });

  CHECK(t.read_everything().size() == 4 * block.size());
  CHECK(order == "1234");
  CHECK(order.find(before) == 0);
}

TEST_CASE("what was reported is sent after close(), and then the end") {
  StuckPeer t;
  // The kernel is full to the last byte, and yet a small write is reported.
  std::string reported;
  std::function<void(std::string)> write = [&](const std::string& piece) {
    t.pair.client->write(piece, [&, piece] {
      reported += piece;
      if (reported.size() < 2'000'000) {
        write(piece);
      }
    });
  };
  write(make_pattern(1000));
  t.loop.run_turns(50);
  REQUIRE(t.pair.client->writing());
  t.pair.client->close();

  const std::string got = t.read_everything();
  CHECK(got.size() >= reported.size());
  CHECK((got.substr(0, reported.size()) == reported));
}

TEST_CASE("a peer that goes away while a write is frozen ends the stream") {
  StuckPeer t;
  t.write(make_pattern(300'000));
  t.pair.client->set_close_callback([&] { t.loop.stop(); });
  t.pair.server->close(std::make_error_code(std::errc::operation_canceled));
  t.loop.run();
  CHECK(t.pair.client->error());
}

TEST_CASE("a client that is stuck can be dropped at any moment") {
  StuckPeer t;
  t.write(make_pattern(300'000));
  t.pair.client->write("x", [] { CHECK(false); });
  t.pair.client->close();
  const std::string got = t.read_everything();
  CHECK((got == t.written.substr(0, got.size())));
  // What nobody was told of was dropped, and the peer is told as much.
  CHECK(t.pair.server->error() == waterspout::SSLErrc::truncated);
}

TEST_SUITE_END();
