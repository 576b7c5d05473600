// HTTPServer over real sockets: slow clients and those that go, large files,
// and the end.

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <utility>

#include <unistd.h>

#include <doctest/doctest.h>

#include "waterspout/ioloop.h"
#include "waterspout/netutil.h"

#include "http_server/server.h"
#include "support/sanitizers.h"
#include "support/served_site.h"
#include "support/virtual_clock.h"

using http_server::Directory;
using http_server::HTTPServer;
using waterspout::IOLoop;
using waterspout::TimePoint;
using waterspout::test::body_of;
using waterspout::test::contains;
using waterspout::test::get;
using waterspout::test::HTTPPeer;
using waterspout::test::kClose;
using waterspout::test::kSanitized;
using waterspout::test::ServedSite;
using waterspout::test::status_of;
using waterspout::test::VirtualClock;

namespace {

using namespace std::chrono_literals;

std::size_t resident_bytes() {
  std::ifstream statm("/proc/self/statm");
  std::size_t total = 0;
  std::size_t resident = 0;
  statm >> total >> resident;
  return resident * static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
}

}  // namespace

TEST_SUITE_BEGIN("http_server_flow");

TEST_CASE("HTTPServer tells a client whose head does not arrive in time") {
  const VirtualClock clock;
  ServedSite served({.head_timeout = 10s, .linger_timeout = 1s},
                    clock.options());
  CHECK(status_of(served.exchange("GET /a.txt HTTP/1.1\r\nHo")) ==
        "HTTP/1.1 408 Request Timeout");
  CHECK(clock.elapsed() >= 10s);
  CHECK(clock.elapsed() <= 12s);
}

TEST_CASE("HTTPServer closes without a word where no request has begun") {
  const VirtualClock clock;
  ServedSite served({.head_timeout = 10s, .idle_timeout = 60s},
                    clock.options());
  CHECK(served.exchange("") == "");
  CHECK(clock.elapsed() >= 10s);
  CHECK(clock.elapsed() <= 11s);

  CHECK(body_of(served.exchange(get("/a.txt"))) == "hello\n");
  CHECK(clock.elapsed() >= 70s);
  CHECK(clock.elapsed() <= 72s);
}

TEST_CASE("HTTPServer gives up a client that takes nothing") {
  const VirtualClock clock;
  ServedSite served({.stall_timeout = 10s}, clock.options());
  served.write_sparse("big", 1 << 24);
  HTTPPeer client = served.connect();
  client.send(get("/big"));
  // It takes something only when time has passed and the server has closed.
  served.loop.run_until([&] {
    return clock.elapsed() > 10s && served.server.connections() == 0;
  });
  client.take();
  CHECK(status_of(client.text()) == "HTTP/1.1 200 OK");
  CHECK(client.ended());
  CHECK(client.total() < (1 << 24));
  CHECK(clock.elapsed() >= 10s);
  CHECK(clock.elapsed() <= 21s);
}

TEST_CASE("HTTPServer has patience with a client that takes a little") {
  constexpr std::size_t kSize = 1 << 20;
  const VirtualClock virtual_time;
  IOLoop::Options options = virtual_time.options();
  HTTPPeer client;
  options.clock.advance = [&, jump = options.clock.advance](TimePoint to) {
    client.take(65536);  // less than that the kernel would not tell
    jump(to);
  };
  ServedSite served({.stall_timeout = 10s}, std::move(options));
  served.loop.bound_turns(5000);
  served.write_sparse("big", kSize);
  client = served.connect();
  client.send(get("/big", kClose));
  served.loop.run_until([&] {
    return virtual_time.elapsed() > 10s && served.server.connections() == 0;
  });
  client.take();
  CHECK(client.ended());
  CHECK(client.total() > kSize);
  CHECK(virtual_time.elapsed() > 100s);
  client.socket().close();
}

TEST_CASE("HTTPServer streams a large file in little memory") {
  constexpr std::uint64_t kSize = std::uint64_t{1} << (kSanitized ? 26 : 30);
  constexpr std::size_t kPiece = 65536;
  ServedSite served({}, {}, ServedSite::Over::tcp);
  served.loop.bound_turns(1000000);
  served.write_sparse("big", kSize);
  HTTPPeer client = served.connect();
  client.send(get("/big", kClose));
  const std::size_t memory_before = resident_bytes();

  // While the client reads nothing, the server holds one piece.
  served.serve_until_stalled();
  CHECK(served.server.last.lock()->unsent_bytes() <= kPiece + 1024);

  std::size_t memory = 0;
  served.loop.run_until(
      [&] {
        client.take(std::size_t{1} << 24);
        memory = std::max(memory, resident_bytes());
        return client.ended();
      },
      50s);
  CHECK(client.total() > kSize);
  CHECK(client.total() < kSize + 1024);
  CHECK(memory < memory_before + (std::size_t{8} << 20));
}

TEST_CASE("HTTPServer closes when a file becomes shorter under way") {
  constexpr std::size_t kSize = 1 << 24;
  ServedSite served;
  served.write_sparse("big", kSize);
  HTTPPeer client = served.connect();
  client.send(get("/big"));
  served.serve_until_stalled();
  std::filesystem::resize_file(served.files.path("site/big"), 1 << 10);
  served.serve_to_end(client);
  CHECK(client.total() > (1 << 10));
  CHECK(client.total() < kSize);
}

TEST_CASE("HTTPServer survives a client that goes in the middle") {
  ServedSite served({}, {}, ServedSite::Over::tcp);
  served.write_sparse("big", 1 << 24);
  HTTPPeer client = served.connect();
  client.send(get("/big"));
  served.serve_until_stalled();
  client.socket().reset();
  CHECK(
      served.loop.run_until([&] { return served.server.connections() == 0; }));
}

TEST_CASE("HTTPServer closes idle connections when it drains") {
  ServedSite served;
  HTTPPeer fresh = served.connect();
  HTTPPeer kept = served.connect();
  served.ask(kept, get("/a.txt"), "hello\n");
  CHECK(served.server.connections() == 2);
  served.drain();
  CHECK(served.drained.finished == 2);
  CHECK(served.drained.closed == 0);
  fresh.take();
  CHECK(fresh.ended());
  kept.take();
  CHECK(kept.ended());
}

TEST_CASE("HTTPServer completes requests under way when it drains") {
  constexpr std::size_t kSize = 1 << 24;
  ServedSite served({}, {}, ServedSite::Over::tcp);
  served.loop.bound_turns(5000);
  served.write_sparse("big", kSize);
  HTTPPeer half = served.connect();
  half.send("GET /a.txt HTTP/1.1\r\n");
  HTTPPeer large = served.connect();
  large.send(get("/big") + get("/a.txt"));
  served.loop.run_until([&] { return served.server.connections() == 2; });
  served.serve_until_stalled();

  served.server.drain(
      5s, [&](HTTPServer::Drained result) { served.drained = result; });
  half.send("Host: x\r\n\r\n");
  served.serve_to_end(large);
  served.serve_to_end(half);
  served.loop.run_until([&] { return !served.server.draining(); });
  CHECK(served.drained.finished == 2);
  CHECK(served.drained.closed == 0);
  CHECK(large.total() > kSize);
  CHECK(large.total() < kSize + 1024);  // there is no second answer
  CHECK(body_of(half.text()) == "hello\n");
  CHECK(contains(half.text(), kClose));
}

TEST_CASE("HTTPServer may go before its connections") {
  ServedSite served;
  auto other = std::make_unique<HTTPServer>(
      served.loop,
      std::make_shared<const Directory>(served.files.path("site")));
  other->add_socket(waterspout::bind_unix_socket(served.files.path("other")));
  HTTPPeer orphan(other->addresses().front());
  orphan.send(get("/a.txt"));
  served.serve(orphan, [&] { return orphan.text().ends_with("hello\n"); });
  other.reset();
  CHECK(body_of(served.ask(orphan, get("/a.txt"), "hello\n")) == "hello\n");
  orphan.socket().close();
  served.loop.run_until([&] { return served.loop->statistics().streams == 0; });
}
