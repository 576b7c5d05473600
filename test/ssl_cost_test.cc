// What TLS costs: system calls for a request, memory for an idle connection.

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <malloc.h>

#include <doctest/doctest.h>

#include "waterspout/ssl_iostream.h"

#include "support/loop_fixture.h"
#include "support/stream_helpers.h"
#include "support/syscall_counter.h"
#include "support/tls_streams.h"

using waterspout::SSLIOStream;
using waterspout::test::LoopFixture;
using waterspout::test::make_client_context;
using waterspout::test::make_server_context;
using waterspout::test::make_tls_pair;
using waterspout::test::shake_hands;
using waterspout::test::SyscallCounter;
using waterspout::test::SyscallCounts;
using waterspout::test::TLSPair;

namespace {

constexpr int kRequests = 500;

std::size_t allocated_bytes() {
  const struct mallinfo2 account = mallinfo2();
  return account.uordblks + account.hblkhd;
}

void echo_lines(const std::shared_ptr<SSLIOStream>& stream) {
  stream->read_until("\n", [stream](std::string_view line) {
    stream->write(line, [stream] { echo_lines(stream); });
  });
}

/// Sends a request when the answer to the last one has come.
class Requests {
 public:
  Requests(LoopFixture& loop, std::shared_ptr<SSLIOStream> stream)
      : loop_(loop), stream_(std::move(stream)) {}

  void run(int count) {
    left_ = count;
    next();
    loop_.run();
  }

 private:
  void next() {
    stream_->write(request_);
    stream_->read_until("\n", [this](std::string_view) {
      --left_;
      left_ > 0 ? next() : loop_.stop();
    });
  }

  LoopFixture& loop_;
  std::shared_ptr<SSLIOStream> stream_;
  const std::string request_ = std::string(63, 'x') + "\n";
  int left_ = 0;
};

void close_both(LoopFixture& loop, const TLSPair& pair) {
  pair.client->close();
  pair.server->close();
  loop.run_turns(3);
}

}  // namespace

TEST_SUITE_BEGIN("ssl_cost");

TEST_CASE("a request over TLS costs one recv and one send, and no epoll_ctl") {
  LoopFixture loop;
  loop.bound_turns(100'000);
  const TLSPair pair = make_tls_pair(loop);
  shake_hands(loop, pair);
  SyscallCounter counter(pair.server->fileno());
  echo_lines(pair.server);
  Requests requests(loop, pair.client);
  requests.run(50);

  counter.reset();
  requests.run(kRequests);
  const SyscallCounts& counts = counter.counts();
  CHECK(counts.recv == kRequests);
  CHECK(counts.recv_would_block == 0);
  CHECK(counts.send == kRequests);
  CHECK(counts.epoll_ctl == 0);
  // One wake-up for the server, one for its client in the same loop.
  CHECK(counts.epoll_wait <= 2 * kRequests + 2);
  close_both(loop, pair);
}

TEST_CASE("records that are written in one turn leave in one send") {
  LoopFixture loop;
  const TLSPair pair = make_tls_pair(loop);
  shake_hands(loop, pair);
  SyscallCounter counter(pair.server->fileno());
  std::size_t got = 0;
  pair.client->read_bytes(40'000, [&](std::string_view data) {
    got = data.size();
    loop.stop();
  });
  loop->add_callback([&] {
    for (int i = 0; i < 40; ++i) {
      pair.server->write(std::string(1000, 'x'));
    }
  });
  loop.run();
  CHECK(got == 40'000);
  CHECK(counter.counts().send == 1);
  close_both(loop, pair);
}

TEST_CASE("a thousand records of a byte each arrive in a few reads") {
  LoopFixture loop;
  loop.bound_turns(5000);
  const TLSPair pair = make_tls_pair(loop);
  shake_hands(loop, pair);
  SyscallCounter counter(pair.client->fileno());
  for (int i = 0; i < 1000; ++i) {
    pair.server->write("z");  // outside a turn each leaves at once
  }
  std::string got;
  pair.client->read_bytes(1000, [&](std::string_view data) {
    got = data;
    loop.stop();
  });
  loop.run();
  CHECK(got == std::string(1000, 'z'));
  CHECK(counter.counts().recv <= 4);
  close_both(loop, pair);
}

TEST_CASE("an idle connection keeps no buffers") {
  if (!SyscallCounter::kCountsAllocations) {
    return;  // the sanitizers' malloc gives no account
  }
  constexpr std::size_t kPairs = 20;
  LoopFixture loop;
  loop.bound_turns(10'000);
  // Kept sessions are no part of a connection.
  const auto client = make_client_context({.resumption = false});
  const auto server = make_server_context({.resumption = false});
  auto shaken = [&] {
    const TLSPair pair = make_tls_pair(loop, client, server);
    shake_hands(loop, pair);
    // Something to read and something to write, and then nothing.
    echo_lines(pair.server);
    Requests(loop, pair.client).run(1);
    return pair;
  };
  std::vector<TLSPair> pairs;
  pairs.push_back(shaken());  // what is made once
  const std::size_t before = allocated_bytes();
  for (std::size_t i = 0; i < kPairs; ++i) {
    pairs.push_back(shaken());
  }
  const std::size_t each = (allocated_bytes() - before) / (2 * kPairs);
  CAPTURE(each);
  CHECK(each < 20'000);
  for (const TLSPair& pair : pairs) {
    pair.client->close();
    pair.server->close();
  }
  loop.run_turns(5);
}

TEST_SUITE_END();
