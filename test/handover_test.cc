// Connections that change hands between libevent's bufferevents and streams,
// with everything that is under way in them.

#include <cstddef>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <doctest/doctest.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/bufferevent_ssl.h>
#include <event2/event.h>
#include <openssl/ssl.h>

#include "waterspout/iostream.h"

#include "support/fd_count.h"
#include "support/loop_fixture.h"
#include "support/sockets.h"
#include "support/stream_helpers.h"
#include "support/stream_pair.h"

using waterspout::IOStream;
using waterspout::StreamClosedError;
using waterspout::test::bound_kernel_buffers;
using waterspout::test::EventLog;
using waterspout::test::fd_count;
using waterspout::test::LoopFixture;
using waterspout::test::make_pattern;
using waterspout::test::make_raw_pair;
using waterspout::test::make_unix_sockets;
using waterspout::test::RawPeer;
using waterspout::test::SocketPair;
using waterspout::test::SteppedLoop;
using waterspout::test::Token;
using waterspout::test::UniquePeerFd;

namespace {

// A bufferevent on the loop's base, with a plain socket at the other end.
struct Connection {
  explicit Connection(SteppedLoop& loop, int options = 0) : base(loop->base()) {
    SocketPair pair = make_unix_sockets();
    peer = std::move(pair.client);
    fd = pair.server.release();
    evutil_make_socket_nonblocking(fd);
    bev = bufferevent_socket_new(base, fd, options);
    bufferevent_enable(bev, EV_READ | EV_WRITE);
  }

  event_base* base;
  UniquePeerFd peer;
  int fd = -1;
  bufferevent* bev = nullptr;  // until it is taken over
};

// What the refusal of a bufferevent says.
std::string refusal_of(LoopFixture& loop, bufferevent* bev) {
  try {
    IOStream::adopt(loop, bev);
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return "none";
}

bool is_open(int fd) { return fcntl(fd, F_GETFD) != -1; }

}  // namespace

TEST_SUITE_BEGIN("handover");

TEST_CASE(
    "A stream takes a bufferevent's connection over, with what it had "
    "received, in order") {
  for (const int options : {0, int{BEV_OPT_CLOSE_ON_FREE},
                            BEV_OPT_CLOSE_ON_FREE | BEV_OPT_DEFER_CALLBACKS}) {
    CAPTURE(options);
    SteppedLoop loop;
    Connection connection(loop, options);
    connection.peer.send("one\ntw");
    loop.settle();
    CHECK(evbuffer_get_length(bufferevent_get_input(connection.bev)) == 6);
    const auto stream = IOStream::adopt(loop, connection.bev);
    CHECK(stream->fileno() == connection.fd);
    CHECK(stream->unread_bytes() == 6);
    EventLog log;
    stream->read_until("\n", [&](std::string_view line) {
      log.read("line")(line);
      stream->read_until("\n", log.read("line"));
    });
    connection.peer.send("o\n");
    loop.settle();
    CHECK(log.text() == "line(one\n) line(two\n)");
    stream->write("answer");
    loop.settle();
    CHECK(connection.peer.recv_ready() == "answer");
    CHECK(is_open(connection.fd));
  }
}

TEST_CASE("What the bufferevent had not sent leaves first") {
  SteppedLoop loop;
  Connection connection(loop);
  bound_kernel_buffers(connection.fd);
  const std::string data = make_pattern(200'000);
  bufferevent_write(connection.bev, data.data(), data.size());
  loop.settle();
  CHECK(evbuffer_get_length(bufferevent_get_output(connection.bev)) > 0);
  const auto stream = IOStream::adopt(loop, connection.bev);
  EventLog log;
  stream->write("behind", log.note("written"));
  std::string got;
  while (got.size() < data.size() + 6) {
    loop.settle();
    got += connection.peer.recv();
  }
  loop.settle();
  CHECK(got.size() == data.size() + 6);
  CHECK((got == data + "behind"));
  CHECK(log.text() == "written");
}

TEST_CASE(
    "A bufferevent may be taken over inside its own callback, which runs "
    "no more") {
  struct Test {
    SteppedLoop loop;
    std::shared_ptr<IOStream> stream;
    EventLog log;
    int calls = 0;
  } t;
  Connection connection(t.loop);
  bufferevent_setcb(
      connection.bev,
      [](bufferevent* bev, void* argument) {
        auto& test = *static_cast<Test*>(argument);
        ++test.calls;
        test.stream = IOStream::adopt(test.loop, bev);
        test.stream->read_until_close(test.log.read("all"));
      },
      nullptr, nullptr, &t);
  connection.peer.send("hello ");
  t.loop.settle();
  connection.peer.send("stream");
  connection.peer.shutdown();
  t.loop.settle();
  CHECK(t.calls == 1);
  CHECK(t.log.text() == "all(hello stream)");
}

TEST_CASE(
    "A descriptor of an evconnlistener's callback becomes a stream as "
    "any other does") {
  SteppedLoop loop;
  SocketPair pair = make_unix_sockets();
  evutil_make_socket_nonblocking(pair.server.get());
  const auto stream = IOStream::create(loop, pair.server.release());
  EventLog log;
  stream->read_bytes(3, log.read("got"));
  pair.client.send("abc");
  loop.settle();
  CHECK(log.text() == "got(abc)");
}

TEST_CASE(
    "What is no plain bufferevent on a connected socket is refused, and "
    "unharmed") {
  SteppedLoop loop;
  CHECK(refusal_of(loop, nullptr) == "IOStream: bufferevent: is null");

  bufferevent* pair[2];
  REQUIRE(bufferevent_pair_new(loop->base(), 0, pair) == 0);
  CHECK(refusal_of(loop, pair[0]).find("is of kind pair") != std::string::npos);
  bufferevent_free(pair[0]);
  bufferevent_free(pair[1]);

  Connection filtered(loop, BEV_OPT_CLOSE_ON_FREE);
  bufferevent* const filter = bufferevent_filter_new(
      filtered.bev, nullptr, nullptr, BEV_OPT_CLOSE_ON_FREE, nullptr, nullptr);
  CHECK(refusal_of(loop, filter).find("is of kind filter") !=
        std::string::npos);
  bufferevent_free(filter);

  bufferevent* const unset = bufferevent_socket_new(loop->base(), -1, 0);
  CHECK(refusal_of(loop, unset).find("has no descriptor") != std::string::npos);
  bufferevent_free(unset);

  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  bufferevent* const unconnected =
      bufferevent_socket_new(loop->base(), fd, BEV_OPT_CLOSE_ON_FREE);
  CHECK(refusal_of(loop, unconnected).find("is not connected") !=
        std::string::npos);
  CHECK(bufferevent_getfd(unconnected) == fd);
  bufferevent_free(unconnected);
  loop.settle();
}

TEST_CASE("A bufferevent under TLS is refused") {
  SteppedLoop loop;
  SocketPair sockets = make_unix_sockets();
  SSL_CTX* const context = SSL_CTX_new(TLS_client_method());
  const int fd = sockets.server.release();
  evutil_make_socket_nonblocking(fd);
  bufferevent* const protected_one = bufferevent_openssl_socket_new(
      loop->base(), fd, SSL_new(context), BUFFEREVENT_SSL_CONNECTING,
      BEV_OPT_CLOSE_ON_FREE);
  CHECK(refusal_of(loop, protected_one).find("is of kind ssl") !=
        std::string::npos);
  bufferevent_free(protected_one);
  SSL_CTX_free(context);
  loop.settle();
}

TEST_CASE(
    "Adopting refuses bad options and a closed loop before it touches "
    "the bufferevent") {
  SteppedLoop loop;
  Connection connection(loop, BEV_OPT_CLOSE_ON_FREE);
  CHECK_THROWS_AS(IOStream::adopt(loop, connection.bev, {.read_chunk_size = 0}),
                  std::invalid_argument);
  waterspout::IOLoop closed;
  closed.close();
  CHECK_THROWS_AS(IOStream::adopt(closed, connection.bev), std::logic_error);
  CHECK(bufferevent_getfd(connection.bev) == connection.fd);
  bufferevent_free(connection.bev);
  loop.settle();
}

TEST_CASE("IOStream::release gives the descriptor and what nobody has read") {
  SteppedLoop loop;
  RawPeer pair = make_raw_pair(loop, {}, false);
  const Token token;
  EventLog log;
  pair.stream->set_close_callback(
      [held = token.copy()] { FAIL_CHECK("calls nobody any more"); });
  pair.stream->read_until("\n", log.read("line"));
  pair.peer.send("line\nrest");
  loop.settle();
  const int fd = pair.stream->fileno();
  IOStream::Released released = pair.stream->release();
  CHECK(released.fd == fd);
  CHECK(released.unread == "rest");
  CHECK(token.alive() == 0);
  CHECK(pair.stream->closed());
  CHECK_FALSE(pair.stream->error());
  CHECK(pair.stream->fileno() == -1);
  CHECK(pair.stream->unread_bytes() == 0);
  CHECK(loop->statistics().streams == 0);
  CHECK_THROWS_AS(static_cast<void>(pair.stream->release()), StreamClosedError);
  CHECK_THROWS_AS(pair.stream->write("late"), StreamClosedError);
  loop.settle();
  CHECK(is_open(fd));
  close(fd);
}

TEST_CASE(
    "IOStream::release inside a read callback gives what is behind its "
    "data, and the data stays readable") {
  for (const bool stored : {false, true}) {
    CAPTURE(stored);
    SteppedLoop loop;
    RawPeer pair = make_raw_pair(loop, {}, false);
    if (stored) {
      pair.stream->read_until("\n", [](std::string_view) {});
      pair.peer.send("li");
      loop.settle();
    } else {
      pair.stream->read_until("\n", [](std::string_view) {});
    }
    IOStream::Released released;
    std::string line;
    // The first line's callback asks for the second, which releases.
    pair.peer.send("ne\nsecond\nthe rest");
    loop.settle();
    pair.stream->read_until("\n", [&](std::string_view data) {
      released = pair.stream->release();
      line = data;
    });
    loop.settle();
    CHECK(line == "second\n");
    CHECK(released.unread == "the rest");
    close(released.fd);
  }
}

TEST_CASE(
    "IOStream::release sends what is gathered, and refuses what is "
    "pending or unsent") {
  SteppedLoop loop;
  RawPeer pair = make_raw_pair(loop, {}, false);
  pair.stream->read_bytes(1, [](std::string_view) {});
  CHECK_THROWS_AS(static_cast<void>(pair.stream->release()), std::logic_error);
  pair.peer.send("x");
  loop.settle();
  int fd = -1;
  loop->add_callback([&] {
    pair.stream->write("gathered");
    fd = pair.stream->release().fd;
  });
  loop.settle();
  CHECK(pair.peer.recv_ready() == "gathered");
  close(fd);

  RawPeer full = make_raw_pair(loop, {}, false);
  bound_kernel_buffers(full.stream->fileno());
  full.stream->write(make_pattern(1'000'000));
  CHECK_THROWS_AS(static_cast<void>(full.stream->release()), std::logic_error);
  CHECK_FALSE(full.stream->closed());
  full.stream->close();

  const auto unconnected = IOStream::create(loop);
  CHECK_THROWS_AS(static_cast<void>(unconnected->release()), std::logic_error);
}

TEST_CASE("A connection goes there and back, and nothing is lost or left") {
  const std::size_t descriptors = fd_count();
  {
    SteppedLoop loop;
    Connection connection(loop, BEV_OPT_CLOSE_ON_FREE);
    connection.peer.send("a1b2c3");
    loop.settle();
    std::string read;
    bufferevent* bev = connection.bev;
    for (int round = 0; round < 3; ++round) {
      char one = 0;
      CHECK(bufferevent_read(bev, &one, 1) == 1);
      read += one;
      const auto stream = IOStream::adopt(loop, bev);
      stream->read_bytes(1, [&](std::string_view byte) { read += byte; });
      stream->write("+");
      loop.settle();
      IOStream::Released released = stream->release();
      bev = bufferevent_socket_new(loop->base(), released.fd,
                                   BEV_OPT_CLOSE_ON_FREE);
      // A bufferevent keeps others from adding to what it receives.
      evbuffer_unfreeze(bufferevent_get_input(bev), 0);
      evbuffer_add(bufferevent_get_input(bev), released.unread.data(),
                   released.unread.size());
      evbuffer_freeze(bufferevent_get_input(bev), 0);
      bufferevent_enable(bev, EV_READ | EV_WRITE);
    }
    CHECK(read == "a1b2c3");
    CHECK(connection.peer.recv_ready() == "+++");
    bufferevent_free(bev);
    loop.settle();
    CHECK(connection.peer.recv_all().empty());
  }
  CHECK(fd_count() == descriptors);
}

TEST_SUITE_END();
