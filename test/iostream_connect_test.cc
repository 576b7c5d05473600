// Connecting: every way in which it ends, and what may be asked for before it
// has.

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <doctest/doctest.h>

#include "waterspout/iostream.h"

#include "support/loop_fixture.h"
#include "support/sockets.h"
#include "support/stream_helpers.h"
#include "support/stream_pair.h"
#include "support/syscall_counter.h"

using waterspout::Address;
using waterspout::IOStream;
using waterspout::LogLevel;
using waterspout::StreamClosedError;
using waterspout::test::accept_from;
using waterspout::test::BorrowedLoop;
using waterspout::test::EventLog;
using waterspout::test::listen_on_loopback;
using waterspout::test::LoopFixture;
using waterspout::test::make_raw_pair;
using waterspout::test::RefusingPort;
using waterspout::test::SteppedLoop;
using waterspout::test::SyscallCounter;
using waterspout::test::Token;
using waterspout::test::UniquePeerFd;

namespace {

// A listening socket, and where it listens.
class Listener {
 public:
  Listener() {
    std::uint16_t port = 0;
    socket_ = UniquePeerFd(listen_on_loopback(port));
    address_ = Address("127.0.0.1", port);
  }

  // An abstract Unix domain name that the kernel chooses.
  static Listener on_unix_socket() {
    Listener listener{nullptr};
    const int fd = listener.socket_.get();
    const sa_family_t family = AF_UNIX;
    REQUIRE(bind(fd, reinterpret_cast<const sockaddr*>(&family),
                 sizeof(family)) == 0);
    REQUIRE(listen(fd, SOMAXCONN) == 0);
    listener.address_ = Address::local_of(fd);
    return listener;
  }

  [[nodiscard]] const Address& address() const { return address_; }
  [[nodiscard]] int fd() const { return socket_.get(); }
  [[nodiscard]] UniquePeerFd accept() const {
    return accept_from(socket_.get());
  }

 private:
  explicit Listener(std::nullptr_t)
      : socket_(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {}

  UniquePeerFd socket_;
  Address address_;
};

struct ConnectTest {
  ConnectTest() { stream->set_close_callback(log.note("close")); }

  void until(std::string_view last) {
    loop.run_until([&] { return log.text().ends_with(last); });
    loop.settle();
  }

  void finish() {
    stream->close();
    loop.settle();
  }

  SteppedLoop loop;
  EventLog log;
  std::shared_ptr<IOStream> stream = IOStream::create(loop);
};

}  // namespace

TEST_SUITE_BEGIN("iostream_connect");

TEST_CASE_TEMPLATE("IOStream::connect runs its callback when it is done", Loop,
                   LoopFixture, BorrowedLoop, SteppedLoop) {
  Loop loop;
  const Listener tcp;
  const Listener by_name = Listener::on_unix_socket();
  for (const Listener* listener : {&tcp, &by_name}) {
    CAPTURE(listener->address().to_string());
    const auto stream = IOStream::create(loop);
    bool connected = false;
    stream->connect(listener->address(), [&] { connected = true; });
    CHECK_FALSE(connected);  // also where it is done at once
    loop.run_until([&] { return connected; });
    CHECK(stream->peer_address() == listener->address());

    const UniquePeerFd peer = listener->accept();
    peer.send("hello");
    std::string got;
    stream->read_bytes(5, [&](std::string_view data) { got = data; });
    loop.run_until([&] { return !got.empty(); });
    CHECK(got == "hello");
  }
}

TEST_CASE("IOStream::connect to an IPv6 address") {
  ConnectTest t;
  const UniquePeerFd listener(socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0));
  REQUIRE(listen(listener.get(), 1) == 0);  // on any address
  const Address address("::1", Address::local_of(listener.get()).port());

  t.stream->connect(address, t.log.note("connected"));
  t.until("connected");
  CHECK(t.stream->peer_address() == address);
  t.finish();
}

TEST_CASE("IOStream::connect to a Unix domain path") {
  ConnectTest t;
  std::string folder = "/tmp/waterspout-test-XXXXXX";
  REQUIRE(mkdtemp(folder.data()) != nullptr);
  const std::string path = folder + "/socket";
  const Address address = Address::unix_path(path);
  const UniquePeerFd listener(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  REQUIRE(bind(listener.get(), address.data(),
               static_cast<socklen_t>(address.size())) == 0);

  SUBCASE("where somebody listens") {
    REQUIRE(listen(listener.get(), 1) == 0);
    t.stream->connect(address, t.log.note("connected"));
    t.until("connected");
    t.finish();
    CHECK(t.log.text() == "connected close");
  }
  SUBCASE("where nobody does") {
    t.loop.expect_log(LogLevel::warning, "connect: unix:" + path + ": ");
    t.stream->connect(address, t.log.note("connected"));
    t.until("close");
    CHECK(t.log.text() == "close");
    CHECK(t.stream->error() == std::errc::connection_refused);
  }
  unlink(path.c_str());
  rmdir(folder.c_str());
}

TEST_CASE("IOStream::connect has switched TCP_NODELAY on") {
  ConnectTest t;
  const Listener listener;
  t.stream->connect(listener.address(), t.log.note("connected"));
  t.until("connected");
  int value = 0;
  socklen_t size = sizeof(value);
  REQUIRE(getsockopt(t.stream->fileno(), IPPROTO_TCP, TCP_NODELAY, &value,
                     &size) == 0);
  CHECK(value != 0);
  t.finish();
}

TEST_CASE("N12: a refused connect closes, is logged, and shows in error()") {
  ConnectTest t;
  const RefusingPort port;
  const std::string where = port.address().to_string();
  t.loop.expect_log(LogLevel::warning,
                    "connect: " + where + ": Connection refused");
  const Token token;
  t.stream->connect(port.address(),
                    [&, alive = token.copy()] { t.log.add("connected"); });
  t.stream->write("never sent",
                  [&, alive = token.copy()] { t.log.add("written"); });
  t.stream->read_bytes(
      1, [&, alive = token.copy()](std::string_view) { t.log.add("read"); });
  CHECK_FALSE(t.stream->closed());

  t.until("close");
  CHECK(t.log.text() == "close");
  CHECK(token.alive() == 0);
  CHECK(t.stream->error() == std::errc::connection_refused);
  CHECK(t.stream->error_message() ==
        "connect: " + where + ": Connection refused");
}

TEST_CASE("N13: a connect that fails at once is told from the loop") {
  for (const int error : {ECONNREFUSED, ENETUNREACH, EADDRNOTAVAIL, EACCES}) {
    CAPTURE(error);
    ConnectTest t;
    const Listener listener;
    SyscallCounter faults;
    faults.fail_connect(error);
    t.loop.expect_log(LogLevel::warning, "connect: 127.0.0.1:");
    CHECK_NOTHROW(
        t.stream->connect(listener.address(), t.log.note("connected")));
    CHECK(t.log.empty());
    t.until("close");
    CHECK(t.log.text() == "close");
    CHECK(t.stream->error() == std::error_code(error, std::generic_category()));
  }
}

TEST_CASE("A failed connect without a close callback leaves nothing behind") {
  SteppedLoop loop;
  loop.expect_log(LogLevel::warning, "connect: ");
  const RefusingPort port;
  IOStream::create(loop)->connect(port.address(),
                                  [] { FAIL_CHECK("it connected"); });
  CHECK(loop->statistics().streams == 1);
  loop.run_until([&] { return loop->statistics().streams == 0; });
}

TEST_CASE("R5: a connect for which there is no descriptor left fails") {
  ConnectTest t;
  const Listener listener;
  t.loop.expect_log(LogLevel::warning, "connect: 127.0.0.1:");
  rlimit limit{};
  REQUIRE(getrlimit(RLIMIT_NOFILE, &limit) == 0);
  rlimit none = limit;
  none.rlim_cur = 0;
  REQUIRE(setrlimit(RLIMIT_NOFILE, &none) == 0);
  t.stream->connect(listener.address(), t.log.note("connected"));
  REQUIRE(setrlimit(RLIMIT_NOFILE, &limit) == 0);

  t.until("close");
  CHECK(t.stream->error() == std::errc::too_many_files_open);
}

TEST_CASE("Reads and writes may be asked for before the connection is made") {
  ConnectTest t;
  const Listener listener;
  auto ask = [&] {
    t.stream->write("hello", t.log.note("written"));
    t.stream->read_bytes(3, t.log.read("read"));
  };
  SUBCASE("while connecting") {
    t.stream->connect(listener.address(), t.log.note("connected"));
    ask();
  }
  SUBCASE("before connect() is called") {
    ask();
    CHECK(t.stream->unsent_bytes() == 5);
    t.loop.settle();
    t.stream->connect(listener.address(), t.log.note("connected"));
  }
  CHECK(t.stream->writing());
  CHECK(t.log.empty());
  const UniquePeerFd peer = listener.accept();
  peer.send("abc");
  t.until("read(abc)");
  CHECK(t.log.text() == "connected written read(abc)");
  CHECK(peer.recv_exactly(5) == "hello");
  t.finish();
}

TEST_CASE("A write of nothing before the connection reports after it") {
  ConnectTest t;
  const Listener listener;
  t.stream->write("", t.log.note("written"));
  t.loop.settle();
  CHECK(t.log.empty());
  t.stream->connect(listener.address(), t.log.note("connected"));
  t.until("written");
  CHECK(t.log.text() == "connected written");
  t.finish();
}

TEST_CASE("Data written before and inside the connect callback is in order") {
  ConnectTest t;
  const Listener listener;
  t.stream->write("1");
  t.stream->connect(listener.address(), [&] {
    t.stream->write("3");
    t.stream->close_after_writing();
  });
  t.stream->write("2");
  t.until("close");
  CHECK(listener.accept().recv_all() == "123");
}

TEST_CASE("close() while connecting drops the connect callback") {
  ConnectTest t;
  const Listener listener;
  const Token token;
  t.stream->connect(listener.address(),
                    [&, alive = token.copy()] { t.log.add("connected"); });
  t.stream->write("never sent");
  t.stream->close();
  CHECK(t.stream->fileno() == -1);
  t.until("close");
  CHECK(t.log.text() == "close");
  CHECK(token.alive() == 0);
  CHECK(t.stream->error() == std::error_code());
}

TEST_CASE("close() in the connect callback") {
  ConnectTest t;
  const Listener listener;
  t.stream->write("before");
  t.stream->connect(listener.address(), [&] {
    t.log.add("connected");
    t.stream->close();
  });
  t.stream->read_bytes(1, t.log.read("never"));
  t.until("close");
  CHECK(t.log.text() == "connected close");
  CHECK(listener.accept().get() >= 0);
}

TEST_CASE("N14: a connect that hangs can be closed, and stays closed") {
  // With a backlog of none the second connection is not answered.
  const UniquePeerFd listener(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  REQUIRE(listen(listener.get(), 0) == 0);
  const Address address("127.0.0.1", Address::local_of(listener.get()).port());
  std::vector<UniquePeerFd> fillers;
  for (int i = 0; i < 4; ++i) {
    const int fd =
        socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    fillers.emplace_back(fd);
    static_cast<void>(
        connect(fd, address.data(), static_cast<socklen_t>(address.size())));
  }
  ConnectTest t;
  t.stream->connect(address, t.log.note("connected"));
  t.loop.settle();
  CHECK(t.log.empty());
  t.stream->close(std::make_error_code(std::errc::timed_out));
  t.until("close");
  CHECK(t.log.text() == "close");
  CHECK(t.stream->error() == std::errc::timed_out);
}

TEST_CASE("N19: a reset right after the connection never connects a closed") {
  ConnectTest t;
  const Listener listener;
  t.stream->read_bytes(1, t.log.read("never"));
  t.stream->connect(listener.address(), t.log.note("connected"));
  listener.accept().reset();
  const bool warns = [&] {
    t.until("close");
    return t.log.text() == "close";
  }();
  if (warns) {
    t.loop.expect_log(LogLevel::warning, "connect: ");
  } else {
    CHECK(t.log.text() == "connected close");
  }
  CHECK(t.stream->error() == std::errc::connection_reset);
}

TEST_CASE("IOStream::connect is a logic_error on a stream that") {
  ConnectTest t;
  const Listener listener;
  auto refused = [&] {
    CHECK_THROWS_AS(t.stream->connect(listener.address(), t.log.note("again")),
                    std::logic_error);
    CHECK_FALSE(t.stream->closed());
  };
  SUBCASE("is connecting, which goes on") {
    t.stream->connect(listener.address(), t.log.note("connected"));
    refused();
    t.until("connected");
  }
  SUBCASE("is connected") {
    t.stream->connect(listener.address(), t.log.note("connected"));
    t.until("connected");
    refused();
  }
  SUBCASE("was made on a connected socket") {
    t.log.add("connected");
    const auto pair = make_raw_pair(t.loop);
    CHECK_THROWS_AS(
        pair.stream->connect(listener.address(), t.log.note("again")),
        std::logic_error);
    CHECK_FALSE(pair.stream->closed());
  }
  CHECK(t.log.text() == "connected");
  t.finish();
}

TEST_CASE("IOStream::connect throws StreamClosedError if it is closed") {
  ConnectTest t;
  const Listener listener;
  SUBCASE("and never was connected") { t.stream->close(); }
  SUBCASE("and was connected") {
    t.stream->connect(listener.address(), t.log.note("connected"));
    t.until("connected");
    t.stream->close();
  }
  t.loop.settle();
  CHECK_THROWS_AS(t.stream->connect(listener.address(), t.log.note("again")),
                  StreamClosedError);
}

TEST_CASE("IOStream::connect is an invalid_argument, and can be tried again") {
  ConnectTest t;
  const Listener listener;
  CHECK_THROWS_AS(t.stream->connect(listener.address(), nullptr),
                  std::invalid_argument);
  CHECK_THROWS_AS(t.stream->connect(Address(), t.log.note("never")),
                  std::invalid_argument);
  t.stream->connect(listener.address(), t.log.note("connected"));
  t.until("connected");
  t.finish();
  CHECK(t.log.text() == "connected close");
}

TEST_CASE("A stream that is not connected yet does not close by itself") {
  SteppedLoop loop;
  EventLog log;
  const Listener listener;
  std::shared_ptr<IOStream> stream;
  SUBCASE("without a socket") { stream = IOStream::create(loop); }
  SUBCASE("with a socket of the user's") {
    stream =
        IOStream::create(loop, socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  }
  stream->set_close_callback(log.note("close"));
  stream->read_bytes(1, log.read("read"));
  loop.settle();
  CHECK_FALSE(stream->closed());
  CHECK(loop->statistics().turns <= 3);

  stream->connect(listener.address(), log.note("connected"));
  const UniquePeerFd peer = listener.accept();
  peer.send("x");
  loop.run_until([&] { return log.text() == "connected read(x)"; });
  stream->close();
  loop.settle();
  CHECK(log.text() == "connected read(x) close");
}

TEST_CASE("IOStream::connect uses the socket that the stream was made on") {
  SteppedLoop loop;
  const Listener listener;
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const Address here("127.0.0.1", 0);
  REQUIRE(bind(fd, here.data(), static_cast<socklen_t>(here.size())) == 0);
  const Address bound = Address::local_of(fd);
  const auto stream = IOStream::create(loop, fd);
  bool connected = false;

  stream->connect(listener.address(), [&] { connected = true; });
  loop.run_until([&] { return connected; });
  CHECK(stream->fileno() == fd);
  CHECK(Address::peer_of(listener.accept().get()) == bound);
}

TEST_SUITE_END();
