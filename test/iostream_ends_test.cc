// Classic Tornado's tests of plain streams, iostream_test.py of 4.5.3, each
// under its original name: those about the end of a stream.

#include <cerrno>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>

#include <doctest/doctest.h>

#include "waterspout/iostream.h"

#include "support/canned_server.h"
#include "support/loop_fixture.h"
#include "support/stream_helpers.h"
#include "support/stream_pair.h"
#include "support/syscall_counter.h"

using waterspout::Address;
using waterspout::IOStream;
using waterspout::LogLevel;
using waterspout::StreamClosedError;
using waterspout::StreamErrc;
using waterspout::test::CannedServer;
using waterspout::test::EventLog;
using waterspout::test::LoopFixture;
using waterspout::test::make_raw_pair;
using waterspout::test::make_stream_pair;
using waterspout::test::RawPeer;
using waterspout::test::RefusingPort;
using waterspout::test::StreamPair;
using waterspout::test::SyscallCounter;
using waterspout::test::wait_readable;

TEST_SUITE_BEGIN("iostream_ends");

TEST_CASE(
    "A response is readable to its end though the server has closed "
    "(test_connection_closed)") {
  LoopFixture loop;
  CannedServer server(loop);
  const auto stream = IOStream::create(loop);
  EventLog log;
  stream->set_close_callback([&] {
    log.add("close");
    loop.stop();
  });

  stream->connect(server.address(), [&] {
    stream->write("GET / HTTP/1.0\r\nConnection: close\r\n\r\n");
    stream->read_until("\r\n\r\n", [&](std::string_view) {
      log.add("head");
      stream->read_bytes(5, log.read("body"));
    });
  });

  loop.run();
  CHECK(log.text() == "head body(Hello) close");
  CHECK(stream->error() == std::error_code());
}

TEST_CASE("A connection that is refused (test_connection_refused)") {
  LoopFixture loop;
  loop.expect_log(LogLevel::warning, "connect: 127.0.0.1:");
  const RefusingPort port;
  const auto stream = IOStream::create(loop);
  EventLog log;
  stream->set_close_callback([&] {
    log.add("close");
    loop.stop();
  });

  stream->connect(port.address(), log.note("connected"));

  loop.run();
  CHECK(log.text() == "close");
  CHECK(stream->error() == std::errc::connection_refused);
}

TEST_CASE(
    "A connect that fails at once is told by the close callback "
    "(test_gaierror)") {
  LoopFixture loop;
  loop.expect_log(LogLevel::warning, "connect: ");
  const auto stream = IOStream::create(loop);
  EventLog log;
  stream->set_close_callback([&] {
    log.add("close");
    loop.stop();
  });

  stream->connect(Address::unix_path("/nonexistent/socket"),
                  log.note("connected"));
  CHECK(log.empty());

  loop.run();
  CHECK(log.text() == "close");
  CHECK(stream->error() == std::errc::no_such_file_or_directory);
}

TEST_CASE(
    "A read callback that throws closes its stream "
    "(test_read_callback_error)") {
  LoopFixture loop;
  loop.expect_log(LogLevel::error, "Exception in callback");
  const StreamPair pair = make_stream_pair(loop);
  pair.server->set_close_callback([&] { loop.stop(); });

  pair.server->read_bytes(1, [](std::string_view) {
    throw std::runtime_error("division by zero");
  });
  pair.client->write("1");

  loop.run();
  CHECK(pair.server->closed());
  CHECK(pair.server->error() == StreamErrc::uncaught_exception);
  CHECK_THROWS_WITH_AS(std::rethrow_exception(pair.server->exception()),
                       "division by zero", std::runtime_error);
  CHECK(loop.failures.size() == 1);
}

TEST_CASE(
    "A streaming read_until_close gives every piece, then nothing at the end "
    "(test_streaming_until_close)") {
  LoopFixture loop;
  const StreamPair pair = make_stream_pair(loop);
  EventLog log;

  pair.client->read_until_close({.streaming_callback =
                                     [&](std::string_view piece) {
                                       log.read("piece")(piece);
                                       if (piece == "1234") {
                                         pair.server->write("5678");
                                       } else {
                                         pair.server->close();
                                       }
                                     }},
                                [&](std::string_view rest) {
                                  log.read("end")(rest);
                                  loop.stop();
                                });
  pair.server->write("1234");

  loop.run();
  CHECK(log.text() == "piece(1234) piece(5678) end()");
}

TEST_CASE(
    "The close callback waits for a byte that is buffered "
    "(test_delayed_close_callback)") {
  LoopFixture loop;
  RawPeer pair = make_raw_pair(loop);
  EventLog log;
  pair.stream->set_close_callback([&] {
    log.add("close");
    loop.stop();
  });
  pair.peer.send("12");
  wait_readable(pair.stream->fileno());
  auto read_second = [&] {
    log.add("later");
    pair.stream->read_bytes(1, log.read("second"));
  };

  pair.stream->read_bytes(1, [&](std::string_view data) {
    log.read("first")(data);
    pair.peer.close();
    loop->spawn_callback([&] { loop->spawn_callback(read_second); });
  });

  loop.run();
  CHECK(log.text() == "first(1) later second(2) close");
}

TEST_CASE(
    "What is left in the kernel is readable after the peer has closed "
    "(test_close_buffered_data)") {
  LoopFixture loop;
  RawPeer pair = make_raw_pair(loop, {.read_chunk_size = 256});
  std::string got;

  pair.peer.send(std::string(512, 'A'));
  pair.stream->read_bytes(256, [&](std::string_view data) {
    got += data;
    pair.peer.close();
    // Wait a turn, which might see the end of the stream.
    loop->spawn_callback([&] {
      loop->spawn_callback([&] {
        pair.stream->read_bytes(256, [&](std::string_view rest) {
          got += rest;
          loop.stop();
        });
      });
    });
  });

  loop.run();
  CHECK(got == std::string(512, 'A'));
}

TEST_CASE(
    "IOStream::read_until_close gives what arrived before the end "
    "(test_read_until_close_after_close)") {
  LoopFixture loop;
  RawPeer pair = make_raw_pair(loop);
  EventLog log;
  pair.peer.send("1234");
  pair.peer.close();

  pair.stream->read_bytes(1, [&](std::string_view data) {
    log.read("first")(data);
    pair.stream->read_until_close([&](std::string_view rest) {
      log.read("rest")(rest);
      loop.stop();
    });
  });

  loop.run();
  CHECK(log.text() == "first(1) rest(234)");
}

TEST_CASE(
    "A streaming read_until_close gives what arrived before the end "
    "(test_streaming_read_until_close_after_close)") {
  LoopFixture loop;
  RawPeer pair = make_raw_pair(loop);
  EventLog log;
  pair.peer.send("1234");
  pair.peer.close();

  pair.stream->read_bytes(1, [&](std::string_view data) {
    log.read("first")(data);
    pair.stream->read_until_close({.streaming_callback = log.read("piece")},
                                  [&](std::string_view rest) {
                                    log.read("end")(rest);
                                    loop.stop();
                                  });
  });

  loop.run();
  CHECK(log.text() == "first(1) piece(234) end()");
}

TEST_CASE(
    "A read that fails while read_until_close starts completes it "
    "(test_read_until_close_with_error)") {
  LoopFixture loop;
  loop.expect_log(LogLevel::warning, "read: 127.0.0.1:");
  const RawPeer pair = make_raw_pair(loop);
  SyscallCounter faults(pair.stream->fileno());
  EventLog log;
  pair.peer.send("12");
  wait_readable(pair.stream->fileno());

  faults.fail_recv(EIO);
  CHECK_NOTHROW(pair.stream->read_until_close([&](std::string_view data) {
    log.read("end")(data);
    loop.stop();
  }));
  CHECK(log.empty());

  loop.run();
  CHECK(log.text() == "end()");
  CHECK(pair.stream->error() == std::errc::io_error);
}

TEST_CASE(
    "The close callback runs when the peer closes while a read is pending "
    "(test_close_callback_with_pending_read)") {
  LoopFixture loop;
  const StreamPair pair = make_stream_pair(loop);
  EventLog log;
  pair.client->set_close_callback([&] {
    log.add("close");
    loop.stop();
  });

  pair.client->read_until("\r\n", [&](std::string_view data) {
    log.read("line")(data);
    pair.client->read_bytes(9, log.read("never"));
    pair.server->close();
  });
  pair.server->write("OK\r\n");

  loop.run();
  CHECK(log.text() == "line(OK\r\n) close");
}

TEST_CASE("A read that the kernel refuses closes the stream") {
  LoopFixture loop;
  loop.expect_log(LogLevel::warning, "read: 127.0.0.1:");
  const RawPeer pair = make_raw_pair(loop);
  SyscallCounter faults(pair.stream->fileno());
  faults.fail_recv(EIO);
  EventLog log;
  pair.stream->set_close_callback([&] {
    log.add("close");
    loop.stop();
  });

  SUBCASE("when the bytes are there already (test_inline_read_error)") {
    pair.peer.send("1");
    wait_readable(pair.stream->fileno());
    CHECK_NOTHROW(pair.stream->read_bytes(1, log.read("never")));
  }
  SUBCASE("when they come later (test_async_read_error_logging)") {
    pair.stream->read_bytes(1, log.read("never"));
    pair.peer.send("1");
  }

  CHECK(log.empty());
  loop.run();
  CHECK(log.text() == "close");
  CHECK(pair.stream->error() == std::errc::io_error);
}

TEST_CASE(
    "The close callback waits for the close, not for the read "
    "(test_future_close_callback)") {
  LoopFixture loop;
  const StreamPair pair = make_stream_pair(loop);
  EventLog log;
  pair.client->set_close_callback([&] {
    log.add("close");
    loop.stop();
  });
  pair.client->read_bytes(1, [&](std::string_view data) {
    log.read("read")(data);
    loop.stop();
  });
  pair.server->write("a");
  loop.run();
  loop.run_turns(5);
  CHECK(log.text() == "read(a)");

  pair.server->close();
  loop.run();
  CHECK(log.text() == "read(a) close");
}

TEST_CASE(
    "A read that the peer's close cuts off never completes "
    "(test_future_close_while_reading)") {
  LoopFixture loop;
  CannedServer server(loop);
  const auto stream = IOStream::create(loop);
  EventLog log;
  stream->set_close_callback([&] {
    log.add("close");
    loop.stop();
  });

  stream->connect(server.address(), [&] {
    stream->write("GET / HTTP/1.0\r\n\r\n");
    stream->read_bytes(1024 * 1024, log.read("never"));
  });

  loop.run();
  CHECK(log.text() == "close");
  CHECK(stream->error() == std::error_code());
}

TEST_CASE(
    "After everything was read, a read on the closed stream throws "
    "(test_future_read_until_close)") {
  LoopFixture loop;
  CannedServer server(loop);
  const auto stream = IOStream::create(loop);
  std::string response;

  stream->connect(server.address(), [&] {
    stream->write("GET / HTTP/1.0\r\n\r\n");
    stream->read_until_close([&](std::string_view data) {
      response = data;
      loop.stop();
    });
  });

  loop.run();
  CHECK(response == CannedServer::kResponse);
  CHECK_THROWS_AS(stream->read_bytes(1, [](std::string_view) {}),
                  StreamClosedError);
}

TEST_SUITE_END();
