// Accepting: what goes to the callback, and what ends it.

#include <cerrno>
#include <chrono>
#include <cstddef>
#include <optional>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <doctest/doctest.h>

#include "waterspout/netutil.h"

#include "support/contexts.h"
#include "support/listener.h"
#include "support/loop_fixture.h"
#include "support/sockets.h"
#include "support/stream_helpers.h"

using waterspout::AcceptHandler;
using waterspout::add_accept_handler;
using waterspout::Address;
using waterspout::bind_unix_socket;
using waterspout::LogLevel;
using waterspout::Socket;
using waterspout::StackContext;
using waterspout::test::Accepted;
using waterspout::test::BorrowedLoop;
using waterspout::test::connect_to;
using waterspout::test::entered_contexts;
using waterspout::test::Listener;
using waterspout::test::LoopFixture;
using waterspout::test::named;
using waterspout::test::Names;
using waterspout::test::Token;
using waterspout::test::UniquePeerFd;

using namespace std::chrono_literals;

TEST_SUITE_BEGIN("accept_handler");

TEST_CASE(
    "add_accept_handler gives every connection and where it comes from, "
    "non-blocking and closed on exec (K-92)") {
  LoopFixture loop;
  Listener listener;
  listener.connect();
  std::optional<Address> peer;
  Socket accepted;
  const AcceptHandler handler = add_accept_handler(
      loop, listener.fd(), [&](Socket connection, const Address& address) {
        accepted = std::move(connection);
        peer = address;
        loop.stop();
      });
  loop.run();
  REQUIRE(peer);
  CHECK(*peer == Address::local_of(listener.clients()[0].get()));
  CHECK((fcntl(accepted.fileno(), F_GETFL) & O_NONBLOCK) != 0);
  CHECK((fcntl(accepted.fileno(), F_GETFD) & FD_CLOEXEC) != 0);
}

TEST_CASE(
    "add_accept_handler accepts from a Unix domain socket, whose clients "
    "have no names") {
  LoopFixture loop;
  const std::string name =
      std::string("\0waterspout-accept-", 19) + std::to_string(getpid());
  const Socket listener = bind_unix_socket(name);
  const UniquePeerFd client = connect_to(Address::unix_path(name));
  bool named_peer = true;
  const AcceptHandler handler = add_accept_handler(
      loop, listener.fileno(), [&](Socket, const Address& address) {
        named_peer = address.named();
        loop.stop();
      });
  loop.run();
  CHECK(!named_peer);
}

TEST_CASE(
    "add_accept_handler accepts at most 128 in a turn, and the rest in "
    "the next ones (N23)") {
  BorrowedLoop loop;
  Listener listener;
  listener.connect(300);
  Accepted accepted;
  const AcceptHandler handler =
      add_accept_handler(loop, listener.fd(), accepted.keep());
  std::vector<std::size_t> at_each_turn;
  while (accepted.count() < 300 && at_each_turn.size() < 10) {
    loop.run_turns(1);
    at_each_turn.push_back(accepted.count());
  }
  CHECK(accepted.count() == 300);
  std::size_t before = 0;
  for (const std::size_t count : at_each_turn) {
    CHECK(count - before <= 128);
    before = count;
  }
}

TEST_CASE(
    "A crowd that comes after single connections is accepted within a few "
    "turns") {
  BorrowedLoop loop;
  Listener listener;
  Accepted accepted;
  const AcceptHandler handler =
      add_accept_handler(loop, listener.fd(), accepted.keep());
  for (std::size_t i = 1; i <= 20; ++i) {
    listener.connect();
    loop.run_turns(1);
    CHECK(accepted.count() == i);
  }
  listener.connect(300);
  loop.run_turns(15);
  CHECK(accepted.count() == 320);
}

TEST_CASE("A connection that its client has reset is still handed over (N21)") {
  LoopFixture loop;
  Listener listener;
  listener.connect();
  listener.clients()[0].reset();
  bool told = false;
  const AcceptHandler handler = add_accept_handler(
      loop, listener.fd(), [&](Socket, const Address& address) {
        told = address.named();
        loop.stop();
      });
  loop.run();
  CHECK(told);
}

TEST_CASE(
    "AcceptHandler::remove inside the callback ends the batch, and the "
    "callback goes when it has returned (N-11)") {
  LoopFixture loop;
  Listener listener;
  listener.connect(3);
  const Token token;
  int calls = 0;
  AcceptHandler handler;
  handler = add_accept_handler(
      loop, listener.fd(),
      [&, held = token.copy()](Socket, const Address& /*peer*/) {
        ++calls;
        handler.remove();
        handler.remove();
        CHECK(token.alive() == 1);
        loop.stop();
      });
  loop.run();
  CHECK(calls == 1);
  CHECK(token.alive() == 0);
}

TEST_CASE(
    "An AcceptHandler that goes, or is assigned to, removes its "
    "handler") {
  LoopFixture loop;
  const Listener first;
  const Listener second;
  const Token token;
  const auto callback = [&token] {
    return [held = token.copy()](Socket, const Address& /*peer*/) {};
  };
  {
    AcceptHandler handler = add_accept_handler(loop, first.fd(), callback());
    CHECK(loop->statistics().handlers == 1);
    handler = add_accept_handler(loop, second.fd(), callback());
    CHECK(loop->statistics().handlers == 1);
    CHECK(token.alive() == 1);
    AcceptHandler moved = std::move(handler);
    CHECK(loop->statistics().handlers == 1);
  }
  CHECK(loop->statistics().handlers == 0);
  CHECK(token.alive() == 0);
}

TEST_CASE(
    "AcceptHandler::pause leaves clients waiting, also those of the "
    "batch under way, until resume") {
  LoopFixture loop;
  Listener listener;
  listener.connect(3);
  int calls = 0;
  AcceptHandler handler;
  handler = add_accept_handler(loop, listener.fd(),
                               [&](Socket, const Address& /*peer*/) {
                                 ++calls;
                                 handler.pause();
                               });
  CHECK(loop.run_until([&] { return calls == 1; }));
  loop->call_later(20ms, [&] { loop.stop(); });
  loop.run();
  CHECK(calls == 1);
  handler.resume();
  handler.resume();
  CHECK(loop.run_until([&] { return calls == 2; }));
}

TEST_CASE("An AcceptHandler may outlive its loop") {
  const Listener listener;
  AcceptHandler handler;
  const Token token;
  {
    LoopFixture loop;
    handler = add_accept_handler(
        loop, listener.fd(),
        [held = token.copy()](Socket, const Address& /*peer*/) {});
    loop->close();
  }
  CHECK(token.alive() == 0);
  handler.pause();
  handler.resume();
  handler.remove();
}

TEST_CASE(
    "An exception of the callback is reported, closes the connection "
    "that was not taken, and accepting goes on (N-12)") {
  LoopFixture loop;
  Listener listener;
  listener.connect(2);
  int calls = 0;
  loop.expect_log(LogLevel::error, "not today");
  loop.expect_log(LogLevel::error, "not today");
  const AcceptHandler handler = add_accept_handler(
      loop, listener.fd(), [&](Socket, const Address& /*peer*/) {
        ++calls;
        throw std::out_of_range("not today");
      });
  CHECK(loop.run_until([&] { return calls == 2; }));
  REQUIRE(loop.failures.size() == 2);
  CHECK(loop.failures[0].find("add_accept_handler at ") != std::string::npos);
  CHECK(loop.failures[0].find("not today") != std::string::npos);
  for (UniquePeerFd& client : listener.clients()) {
    CHECK(client.recv_all().empty());
  }
}

TEST_CASE("The callback runs in the context in which it was registered") {
  LoopFixture loop;
  Listener listener;
  listener.connect();
  Names seen;
  AcceptHandler handler;
  {
    const StackContext context(named("listening"));
    handler = add_accept_handler(loop, listener.fd(),
                                 [&](Socket, const Address& /*peer*/) {
                                   seen = entered_contexts;
                                   loop.stop();
                                 });
  }
  loop.run();
  CHECK(seen == Names{"listening"});
}

TEST_CASE("add_accept_handler refuses what it cannot accept from") {
  LoopFixture loop;
  const Listener listener;
  const auto nothing = [](Socket, const Address& /*peer*/) {};
  const auto add = [&](int fd) {
    static_cast<void>(add_accept_handler(loop, fd, nothing));
  };
  const auto code_of = [&](int fd) {
    try {
      add(fd);
    } catch (const std::system_error& error) {
      return error.code().value();
    }
    return 0;
  };
  CHECK_THROWS_AS(
      static_cast<void>(add_accept_handler(loop, listener.fd(), {})),
      std::invalid_argument);
  CHECK(code_of(-1) == EBADF);
  const Socket file(open("/dev/null", O_RDONLY | O_CLOEXEC));
  CHECK(code_of(file.fileno()) == ENOTSOCK);
  const UniquePeerFd plain(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  CHECK(code_of(plain.get()) == EINVAL);
  const AcceptHandler first = add_accept_handler(loop, listener.fd(), nothing);
  CHECK_THROWS_AS(add(listener.fd()), std::logic_error);
}

TEST_CASE("add_accept_handler makes a blocking socket non-blocking") {
  LoopFixture loop;
  Listener listener;
  const int flags = fcntl(listener.fd(), F_GETFL);
  REQUIRE(fcntl(listener.fd(), F_SETFL, flags & ~O_NONBLOCK) == 0);
  listener.connect();
  const AcceptHandler handler =
      add_accept_handler(loop, listener.fd(),
                         [&](Socket, const Address& /*peer*/) { loop.stop(); });
  loop.run();
  CHECK((fcntl(listener.fd(), F_GETFL) & O_NONBLOCK) != 0);
}

TEST_CASE("A listening socket without clients makes no wake-ups") {
  LoopFixture loop;
  const Listener listener;
  const AcceptHandler handler = add_accept_handler(
      loop, listener.fd(), [](Socket, const Address& /*peer*/) {});
  loop->call_later(200ms, [&] { loop.stop(); });
  const auto before = loop->statistics().turns;
  loop.run();
  CHECK(loop->statistics().turns - before <= 3);
}

TEST_SUITE_END();
