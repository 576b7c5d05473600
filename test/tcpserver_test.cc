// TCPServer: how it begins, what becomes of its connections, and how it stops.

#include "waterspout/tcpserver.h"

#include <chrono>
#include <cstddef>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <doctest/doctest.h>

#include "support/child_process.h"
#include "support/contexts.h"
#include "support/loop_fixture.h"
#include "support/sockets.h"
#include "support/stream_helpers.h"
#include "support/temp_dir.h"
#include "support/test_server.h"

using waterspout::Address;
using waterspout::bind_sockets;
using waterspout::bind_unix_socket;
using waterspout::IOLoop;
using waterspout::IOStream;
using waterspout::LogLevel;
using waterspout::Socket;
using waterspout::StackContext;
using waterspout::StreamErrc;
using waterspout::TCPServer;
using waterspout::test::BorrowedLoop;
using waterspout::test::bound_kernel_buffers;
using waterspout::test::connect_to;
using waterspout::test::entered_contexts;
using waterspout::test::exited_with;
using waterspout::test::LoopFixture;
using waterspout::test::make_pattern;
using waterspout::test::named;
using waterspout::test::Names;
using waterspout::test::run_in_child;
using waterspout::test::Serving;
using waterspout::test::TempDir;
using waterspout::test::TestServer;
using waterspout::test::Token;
using waterspout::test::UniquePeerFd;

namespace {

using namespace std::chrono_literals;

// Reads lines for ever and sends them back.
void echo(const std::shared_ptr<IOStream>& stream) {
  stream->read_until("\n", [stream](std::string_view line) {
    stream->write(line, [stream] { echo(stream); });
  });
}

int option(int fd, int level, int name) {
  int value = -1;
  socklen_t size = sizeof value;
  CHECK(getsockopt(fd, level, name, &value, &size) == 0);
  return value;
}

}  // namespace

TEST_SUITE_BEGIN("tcpserver");

TEST_CASE(
    "TCPServer::listen serves at once, and tells where a client comes "
    "from") {
  LoopFixture loop;
  TestServer server(loop);
  server.listen(0, "127.0.0.1");
  Address told;
  server.on_stream = [&](const auto& stream, const Address& address) {
    told = address;
    echo(stream);
    loop.stop();
  };
  {
    const UniquePeerFd client = connect_to(server.address());
    loop.run();
    CHECK(told == Address::local_of(client.get()));
    client.send("hello\n");
    std::string got;
    CHECK(loop.run_until([&] {
      got += client.recv_ready();
      return got == "hello\n";
    }));
  }
  CHECK(loop.run_until([&] { return server.connections() == 0; }));
}

TEST_CASE(
    "What came with a client that waited behind another is answered in the "
    "turn that accepts both") {
  BorrowedLoop loop;
  TestServer server(loop);
  server.listen(0, "127.0.0.1");
  server.on_stream = [](const auto& stream, const Address&) { echo(stream); };
  const UniquePeerFd first = connect_to(server.address());
  const UniquePeerFd second = connect_to(server.address());
  const UniquePeerFd silent = connect_to(server.address());
  first.send("first\n");
  second.send("second\n");
  loop.run_turns(1);
  CHECK(second.recv_ready() == "second\n");
  const UniquePeerFd later = connect_to(server.address());
  later.send("later\n");
  loop.run_turns(1);  // where a crowd was, another one is expected
  CHECK(later.recv_ready() == "later\n");
  std::string got = first.recv_ready();
  silent.send("at last\n");
  std::string got_late;
  CHECK(loop.run_until([&] {
    got += first.recv_ready();
    got_late += silent.recv_ready();
    return got == "first\n" && got_late == "at last\n";
  }));
  server.streams.clear();
  for (const UniquePeerFd* client : {&first, &second, &silent, &later}) {
    shutdown(client->get(), SHUT_WR);
  }
  CHECK(loop.run_until([&] { return server.connections() == 0; }));
}

TEST_CASE("TCPServer listens on several ports, and on Unix domain sockets") {
  const TempDir dir;
  LoopFixture loop;
  TestServer server(loop);
  server.listen(0, "127.0.0.1");
  server.listen(0, "127.0.0.1");
  server.add_socket(bind_unix_socket(dir.path("s")));
  server.add_sockets(bind_sockets(0, "127.0.0.1"));
  const std::vector<Address> addresses = server.addresses();
  REQUIRE(addresses.size() == 4);
  CHECK(addresses[2].to_string() == "unix:" + dir.path("s"));
  std::vector<UniquePeerFd> clients;
  for (const Address& address : addresses) {
    clients.push_back(connect_to(address));
  }
  CHECK(loop.run_until([&] { return server.streams.size() == 4; }));
  CHECK(server.connections() == 4);
}

TEST_CASE("TCPServer::bind waits for start, and then serves at once (TS-4)") {
  LoopFixture loop;
  loop->make_current();
  TestServer server;
  server.bind(0, "127.0.0.1");
  server.bind(0, "127.0.0.1");
  REQUIRE(server.addresses().size() == 2);
  const UniquePeerFd early = connect_to(server.addresses()[0]);
  loop.run_turns(1);
  CHECK(server.streams.empty());
  server.start();
  CHECK(loop.run_until([&] { return server.streams.size() == 1; }));
  server.bind(0, "127.0.0.1");
  REQUIRE(server.addresses().size() == 3);
  const UniquePeerFd late = connect_to(server.addresses()[2]);
  CHECK(loop.run_until([&] { return server.streams.size() == 2; }));
  CHECK(&server.loop() == &loop.loop());
  CHECK_THROWS_AS(server.start(), std::logic_error);
  CHECK_THROWS_AS(static_cast<void>(server.start(1)), std::logic_error);
}

TEST_CASE("TCPServer::start in one process forks none") {
  LoopFixture loop;
  loop->make_current();
  TestServer server;
  server.bind(0, "127.0.0.1");
  CHECK(server.start(1));
  CHECK(!waterspout::task_id());
}

TEST_CASE(
    "TCPServer::start in several processes refuses where a loop is open "
    "(P-3)") {
  LoopFixture loop;
  TestServer server(loop);
  server.bind(0, "127.0.0.1");
  CHECK_THROWS_WITH_AS(
      static_cast<void>(server.start(2)),
      "fork_processes: a loop is open in this process, which a child could not "
      "use; make it after the fork (IOLoop::current() makes one, too)",
      std::logic_error);
}

TEST_CASE(
    "TCPServer::stop refuses new clients and lets streams go on; twice "
    "is once (test_stop_twice)") {
  Serving t;
  const Address address = t.server.address();
  const UniquePeerFd client = t.connect();
  REQUIRE(t.accept());
  t.server.stop();
  t.server.stop();
  CHECK(t.server.addresses().empty());
  CHECK_THROWS_AS(static_cast<void>(connect_to(address)), std::system_error);
  echo(t.server.streams[0]);
  client.send("still here\n");
  std::string got;
  CHECK(t.loop.run_until([&] {
    got += client.recv_ready();
    return !got.empty();
  }));
  CHECK(got == "still here\n");
  client.shutdown();
  CHECK(t.loop.run_until([&] { return t.server.connections() == 0; }));
}

TEST_CASE(
    "TCPServer may be stopped inside handle_stream, with clients waiting "
    "(N-11)") {
  Serving t;
  std::vector<UniquePeerFd> clients;
  for (int i = 0; i < 3; ++i) {
    clients.push_back(t.connect());
  }
  t.server.on_stream = [&](const auto& stream, const Address&) {
    t.server.streams.push_back(stream);
    t.server.stop();
  };
  REQUIRE(t.accept());
  t.loop.run_turns(3);
  CHECK(t.server.streams.size() == 1);
}

TEST_CASE("TCPServer may listen again after it was stopped") {
  Serving t;
  t.server.stop();
  t.server.listen(0, "127.0.0.1");
  const UniquePeerFd client = t.connect();
  CHECK(t.accept());
}

TEST_CASE(
    "TCPServer may be destroyed inside handle_stream; its streams live "
    "on") {
  LoopFixture loop;
  auto server = std::make_unique<TestServer>(loop);
  server->listen(0, "127.0.0.1");
  const UniquePeerFd first = connect_to(server->address());
  const UniquePeerFd second = connect_to(server->address());
  std::shared_ptr<IOStream> kept;
  server->on_stream = [&](const auto& stream, const Address&) {
    kept = stream;
    server.reset();
  };
  CHECK(loop.run_until([&] { return kept != nullptr; }));
  CHECK(server == nullptr);
  echo(kept);
  kept.reset();
  first.send("hello\n");
  std::string got;
  CHECK(loop.run_until([&] {
    got += first.recv_ready();
    return got == "hello\n";
  }));
  first.shutdown();
  CHECK(loop.run_until([&] { return loop->statistics().streams == 0; }));
  // It was never accepted.
  CHECK_THROWS_AS(static_cast<void>(second.recv_all()), std::system_error);
}

TEST_CASE("A stream that handle_stream does not keep closes") {
  Serving t;
  t.server.on_stream = [&](const auto&, const Address&) { t.loop.stop(); };
  const UniquePeerFd client = t.connect();
  t.loop.run();
  CHECK(t.server.connections() == 0);
  CHECK(client.recv_all().empty());
}

TEST_CASE(
    "An exception of handle_stream is logged and closes that connection "
    "alone (test_handle_stream_coroutine_logging)") {
  Serving t;
  int calls = 0;
  std::weak_ptr<IOStream> thrown_from;
  t.server.on_stream = [&](const auto& stream, const Address&) {
    t.server.streams.push_back(stream);
    if (++calls == 1) {
      throw std::out_of_range("first one");
    }
  };
  const UniquePeerFd first = t.connect();
  const UniquePeerFd second = t.connect();
  t.loop.expect_log(LogLevel::error,
                    "Error in connection callback: " +
                        Address::local_of(first.get()).to_string() +
                        ": std::out_of_range: first one");
  REQUIRE(t.accept(2));
  CHECK(first.recv_all().empty());
  CHECK(t.server.streams[0]->error() == StreamErrc::uncaught_exception);
  CHECK(!t.server.streams[1]->closed());
  CHECK(t.loop.failures.empty());
}

TEST_CASE(
    "An exception of a server that handle_stream has destroyed is still "
    "logged") {
  LoopFixture loop;
  auto server = std::make_unique<TestServer>(loop);
  server->listen(0, "127.0.0.1");
  const UniquePeerFd client = connect_to(server->address());
  server->on_stream = [&](const auto&, const Address&) {
    const auto gone = std::move(server);
    throw 7;
  };
  loop.expect_log(LogLevel::error, "exception of type int");
  CHECK(client.recv_ready().empty());
  CHECK(loop.run_until([&] { return !loop.logged.empty(); }));
  CHECK(client.recv_all().empty());
}

TEST_CASE(
    "handle_stream runs in the context of the call that began to "
    "listen") {
  LoopFixture loop;
  TestServer server(loop);
  {
    const StackContext context(named("listening"));
    server.listen(0, "127.0.0.1");
  }
  Names seen;
  server.on_stream = [&](const auto&, const Address&) {
    seen = entered_contexts;
    loop.stop();
  };
  const UniquePeerFd client = connect_to(server.address());
  loop.run();
  CHECK(seen == Names{"listening"});
}

TEST_CASE("Every stream gets the server's options (K-95)") {
  Serving t({.stream = {.max_buffer_size = 1000,
                        .max_write_buffer_size = 100,
                        .read_chunk_size = 10}});
  const UniquePeerFd client = t.connect();
  REQUIRE(t.accept());
  IOStream& stream = *t.server.streams[0];
  CHECK(option(stream.fileno(), IPPROTO_TCP, TCP_NODELAY) == 1);
  std::size_t first_piece = 0;
  client.send(std::string(64, 'x'));
  stream.read_bytes(64, {.partial = true}, [&](std::string_view piece) {
    first_piece = piece.size();
    t.loop.stop();
  });
  t.loop.run();
  CHECK(first_piece == 10);
  bound_kernel_buffers(stream.fileno());
  CHECK_THROWS_AS(stream.write(make_pattern(1 << 20)),
                  waterspout::StreamBufferFullError);
  stream.read_until("\n", [](std::string_view) {});
  client.send(std::string(2000, 'x'));
  CHECK(t.loop.run_until([&] { return stream.closed(); }));
  CHECK(stream.error() == StreamErrc::read_buffer_full);
  t.loop.expect_log(LogLevel::info, "");
}

TEST_CASE("A server without nodelay leaves Nagle's algorithm on") {
  Serving t({.nodelay = false});
  const UniquePeerFd client = t.connect();
  REQUIRE(t.accept());
  CHECK(option(t.server.streams[0]->fileno(), IPPROTO_TCP, TCP_NODELAY) == 0);
}

TEST_CASE(
    "A server at max_connections leaves clients waiting until one has "
    "gone") {
  Serving t({.max_connections = 2});
  t.server.listen(0, "127.0.0.1");
  std::vector<UniquePeerFd> clients;
  for (int i = 0; i < 3; ++i) {
    clients.push_back(t.connect());
    clients.push_back(connect_to(t.server.addresses()[1]));
  }
  REQUIRE(t.accept(2));
  t.server.listen(0, "127.0.0.1");
  clients.push_back(connect_to(t.server.addresses()[2]));
  t.loop.run_turns(5);
  CHECK(t.server.connections() == 2);
  for (std::size_t served = 3; served <= 7; ++served) {
    t.server.streams[served - 3]->close();
    CHECK(t.server.connections() == 1);
    REQUIRE(t.accept(served));
    t.loop.run_turns(2);
    CHECK(t.server.connections() == 2);
  }
}

TEST_CASE(
    "A connection counts until its descriptor is closed, which may be after "
    "its stream is") {
  const TempDir dir;
  Serving t;
  t.server.add_socket(bind_unix_socket(dir.path("s")));
  const UniquePeerFd client = connect_to(t.server.addresses()[1]);
  REQUIRE(t.accept());
  const std::shared_ptr<IOStream> stream = t.server.streams[0];
  bound_kernel_buffers(stream->fileno());
  bound_kernel_buffers(client.get());
  const std::string data = make_pattern(60'000);
  stream->read_bytes(1, [&](std::string_view) {
    for (std::size_t sent = 0; sent < data.size(); sent += 1000) {
      stream->write(std::string_view(data).substr(sent, 1000));
    }
    stream->write("", [&] { stream->close(); });
  });
  client.send("x");
  CHECK(t.loop.run_until([&] { return stream->closed(); }));
  CHECK(t.server.connections() == 1);
  std::string got;
  CHECK(t.loop.run_until([&] {
    got += client.recv_ready();
    return t.server.connections() == 0;
  }));
  got += client.recv_all();
  CHECK(got == data);
}

TEST_CASE("TCPServer refuses misuse") {
  LoopFixture loop;
  CHECK_THROWS_AS(TestServer(loop, {.max_connections = 0}),
                  std::invalid_argument);
  CHECK_THROWS_AS(TestServer(loop, {.stream = {.max_buffer_size = 0}}),
                  std::invalid_argument);
  TestServer server(loop);
  CHECK_THROWS_AS(server.add_socket(Socket()), std::invalid_argument);
  CHECK_THROWS_AS(server.drain(1s, {}), std::invalid_argument);
  const TestServer nowhere;
  CHECK_THROWS_AS(static_cast<void>(nowhere.loop()), std::logic_error);
  CHECK_THROWS_AS(TestServer().drain(1s, [](TCPServer::Drained) {}),
                  std::logic_error);
}

TEST_CASE("A server whose loop has closed has stopped") {
  auto loop = std::make_unique<LoopFixture>();
  TestServer server(*loop);
  server.listen(0, "127.0.0.1");
  const Address address = server.address();
  const UniquePeerFd client = connect_to(address);
  CHECK(loop->run_until([&] { return server.streams.size() == 1; }));
  const Token token;
  server.drain(1s, [held = token.copy()](TCPServer::Drained) {});
  (*loop)->close();
  CHECK(token.alive() == 0);
  CHECK(server.connections() == 0);
  CHECK(server.streams[0]->error() == StreamErrc::loop_closed);
  CHECK_THROWS_AS(static_cast<void>(connect_to(address)), std::system_error);
  CHECK_THROWS_AS(static_cast<void>(server.loop()), std::logic_error);
  CHECK_THROWS_AS(server.listen(0, "127.0.0.1"), std::logic_error);
  server.stop();
  CHECK_THROWS_AS(TestServer(loop->loop()), std::logic_error);
}

TEST_CASE(
    "A server is on the loop that is current when it begins to listen, "
    "in every child that fork_processes makes") {
  const int status = run_in_child([] {
    TestServer server;
    server.bind(0, "127.0.0.1");
    if (!server.start(2)) {
      return 0;
    }
    IOLoop& loop = IOLoop::current();
    server.on_stream = [&](const auto&, const Address&) { loop.stop(); };
    const UniquePeerFd client = connect_to(server.address());
    loop.call_later(5s, [] { _exit(1); });
    loop.start();
    _exit(&server.loop() == &loop ? 0 : 1);
  });
  CHECK(exited_with(status, 0));
}

TEST_SUITE_END();
