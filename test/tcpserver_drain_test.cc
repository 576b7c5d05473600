// TCPServer::drain: whom it tells, what it waits for, and what it tells of.

#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string_view>
#include <vector>

#include <doctest/doctest.h>

#include "waterspout/tcpserver.h"

#include "support/loop_fixture.h"
#include "support/sockets.h"
#include "support/stream_helpers.h"
#include "support/test_server.h"

using waterspout::Address;
using waterspout::IOStream;
using waterspout::LogLevel;
using waterspout::TCPServer;
using waterspout::test::connect_to;
using waterspout::test::LoopFixture;
using waterspout::test::Serving;
using waterspout::test::TestServer;
using waterspout::test::Token;
using waterspout::test::UniquePeerFd;

namespace {

using namespace std::chrono_literals;

// What drain() told, once it has.
struct DrainLog {
  auto note() {
    return [this](TCPServer::Drained drained) { result = drained; };
  }
  std::optional<TCPServer::Drained> result;
};

}  // namespace

TEST_SUITE_BEGIN("tcpserver_drain");

TEST_CASE(
    "A drain without streams is done at once, but never inside the "
    "call") {
  Serving t;
  DrainLog log;
  t.server.drain(1h, log.note());
  CHECK(!log.result);
  CHECK(t.server.draining());
  CHECK_THROWS_AS(t.server.drain(1h, log.note()), std::logic_error);
  CHECK(t.loop.run_until([&] { return log.result.has_value(); }));
  CHECK(!t.server.draining());
  CHECK(log.result->finished == 0);
  CHECK(log.result->closed == 0);
  CHECK(t.server.addresses().empty());
}

TEST_CASE(
    "A drain tells every stream, waits for them, and counts those that "
    "finished and those it closed") {
  Serving t;
  std::vector<UniquePeerFd> clients;
  for (std::size_t i = 1; i <= 3; ++i) {
    clients.push_back(t.connect());
    REQUIRE(t.accept(i));
  }
  int told = 0;
  t.server.on_drain = [&](IOStream& stream) {
    if (++told == 1) {
      stream.close();
    }
  };
  DrainLog log;
  t.server.drain(100ms, log.note());
  CHECK(told == 3);
  t.server.streams[1]->read_until_close([](std::string_view) {});
  clients[1].close();
  CHECK(t.loop.run_until([&] { return log.result.has_value(); }));
  CHECK(log.result->finished == 2);
  CHECK(log.result->closed == 1);
  CHECK(clients[2].recv_all().empty());
  CHECK(t.server.connections() == 0);
}

TEST_CASE("A drain ends as soon as the last stream has closed") {
  Serving t;
  const UniquePeerFd client = t.connect();
  REQUIRE(t.accept());
  t.server.on_drain = [](IOStream& stream) { stream.close_after_writing(); };
  t.server.streams[0]->write("the end");
  DrainLog log;
  t.server.drain(1h, log.note());
  CHECK(t.loop.run_until([&] { return log.result.has_value(); }));
  CHECK(log.result->finished == 1);
  CHECK(log.result->closed == 0);
  CHECK(client.recv_all() == "the end");
}

TEST_CASE(
    "An exception of handle_drain closes that stream, and the drain goes "
    "on") {
  Serving t;
  const UniquePeerFd first = t.connect();
  const UniquePeerFd second = t.connect();
  REQUIRE(t.accept(2));
  int told = 0;
  t.server.on_drain = [&](IOStream& stream) {
    if (++told == 1) {
      throw std::out_of_range("cannot");
    }
    stream.close();
  };
  t.loop.expect_log(LogLevel::error, "std::out_of_range: cannot");
  DrainLog log;
  t.server.drain(1h, log.note());
  CHECK(t.loop.run_until([&] { return log.result.has_value(); }));
  CHECK(log.result->finished == 2);
}

TEST_CASE(
    "A server may be destroyed while it drains, and in the drain's "
    "callback") {
  LoopFixture loop;
  const Token token;
  {
    TestServer server(loop);
    server.listen(0, "127.0.0.1");
    server.drain(1h, [held = token.copy()](TCPServer::Drained) {
      FAIL_CHECK("the server is gone");
    });
  }
  CHECK(token.alive() == 0);
  loop.run_turns(2);
  auto server = std::make_unique<TestServer>(loop);
  server->listen(0, "127.0.0.1");
  server->drain(1h, [&](TCPServer::Drained) {
    server.reset();
    loop.stop();
  });
  loop.run();
  CHECK(server == nullptr);
}

TEST_CASE("A server may be destroyed by handle_drain") {
  LoopFixture loop;
  auto server = std::make_unique<TestServer>(loop);
  server->listen(0, "127.0.0.1");
  const UniquePeerFd first = connect_to(server->address());
  const UniquePeerFd second = connect_to(server->address());
  std::vector<std::shared_ptr<IOStream>> streams;
  server->on_stream = [&](const auto& stream, const Address&) {
    streams.push_back(stream);
  };
  CHECK(loop.run_until([&] { return streams.size() == 2; }));
  int told = 0;
  server->on_drain = [&](IOStream&) {
    ++told;
    server.reset();
  };
  loop->add_callback([&] { server->drain(1h, [](TCPServer::Drained) {}); });
  CHECK(loop.run_until([&] { return server == nullptr; }));
  CHECK(told == 1);
  CHECK(!streams[0]->closed());
}

TEST_SUITE_END();
