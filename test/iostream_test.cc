// Classic Tornado's tests of plain streams, iostream_test.py of 4.5.3, each
// under its original name. This file has those that read and write;
// iostream_ends_test.cc has those about the end of a stream, and
// iostream_regex_test.cc those of read_until_regex.

#include "waterspout/iostream.h"

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <doctest/doctest.h>

#include "support/canned_server.h"
#include "support/loop_fixture.h"
#include "support/stream_helpers.h"
#include "support/stream_pair.h"

using waterspout::IOStream;
using waterspout::LogLevel;
using waterspout::StreamErrc;
using waterspout::test::CannedServer;
using waterspout::test::EventLog;
using waterspout::test::kMegabyte;
using waterspout::test::LoopFixture;
using waterspout::test::make_stream_pair;
using waterspout::test::StreamPair;

namespace {

void close_both(LoopFixture& loop, const StreamPair& pair) {
  pair.client->close();
  pair.server->close();
  loop.run_turns(3);
}

}  // namespace

TEST_SUITE_BEGIN("iostream");

// TestIOStreamWebMixin, with a server that always gives the same answer.

TEST_CASE(
    "IOStream::read_until_close gives the whole response "
    "(test_read_until_close)") {
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
}

TEST_CASE(
    "IOStream::read_bytes of nothing stands between two others "
    "(test_read_zero_bytes)") {
  LoopFixture loop;
  CannedServer server(loop);
  const auto stream = IOStream::create(loop);
  EventLog log;
  auto status = [&](std::string_view data) {
    log.read("status")(data);
    loop.stop();
  };

  stream->connect(server.address(), [&] {
    stream->write("GET / HTTP/1.0\r\n\r\n");
    stream->read_bytes(9, [&](std::string_view data) {
      log.read("version")(data);
      stream->read_bytes(0, [&](std::string_view nothing) {
        log.read("nothing")(nothing);
        stream->read_bytes(3, status);
      });
    });
  });

  loop.run();
  CHECK(log.text() == "version(HTTP/1.0 ) nothing() status(200)");
}

TEST_CASE(
    "IOStream::write queues until the connection is made "
    "(test_write_while_connecting)") {
  LoopFixture loop;
  CannedServer server(loop);
  const auto stream = IOStream::create(loop);
  EventLog log;

  stream->connect(server.address(), [&] { log.add("connected"); });
  CHECK(log.empty());
  stream->write("GET / HTTP/1.0\r\nConnection: close\r\n\r\n", [&] {
    log.add("written");
    stream->read_until_close([&](std::string_view data) {
      log.add(data.substr(data.size() - 5));
      loop.stop();
    });
  });
  CHECK(log.empty());

  loop.run();
  CHECK(log.text() == "connected written Hello");
}

// TestIOStreamMixin.

TEST_CASE(
    "A streaming read is given what is buffered already "
    "(test_streaming_callback_with_data_in_buffer)") {
  LoopFixture loop;
  const StreamPair pair = make_stream_pair(loop);
  EventLog log;

  pair.client->write("abcd\r\nefgh");
  pair.server->read_until("\r\n", [&](std::string_view line) {
    log.read("line")(line.substr(0, 4));
    pair.server->read_until_close({.streaming_callback =
                                       [&](std::string_view piece) {
                                         log.read("piece")(piece);
                                         loop.stop();
                                       }},
                                  log.read("end"));
  });

  loop.run();
  CHECK(log.text() == "line(abcd) piece(efgh)");
  close_both(loop, pair);
  CHECK(log.text() == "line(abcd) piece(efgh) end()");
}

TEST_CASE(
    "IOStream::write of nothing runs its callback and does not spin "
    "(test_write_zero_bytes)") {
  LoopFixture loop;
  const StreamPair pair = make_stream_pair(loop);

  pair.server->write("", [&] { loop.stop(); });

  loop.run();
  CHECK_FALSE(pair.server->writing());
  const auto turns = loop->statistics().turns;
  loop.run_turns(5);
  CHECK(loop->statistics().turns <= turns + 6);
}

TEST_CASE(
    "A streaming read_bytes gives every piece, then nothing at its end "
    "(test_streaming_callback)") {
  LoopFixture loop;
  const StreamPair pair = make_stream_pair(loop);
  EventLog log;

  pair.client->read_bytes(6,
                          {.streaming_callback =
                               [&](std::string_view piece) {
                                 log.read("piece")(piece);
                                 if (piece == "1234") {
                                   pair.server->write("5678");
                                 }
                               }},
                          [&](std::string_view rest) {
                            log.read("end")(rest);
                            pair.client->read_bytes(2,
                                                    [&](std::string_view data) {
                                                      log.read("next")(data);
                                                      loop.stop();
                                                    });
                          });
  pair.server->write("1234");

  loop.run();
  CHECK(log.text() == "piece(1234) piece(56) end() next(78)");
}

TEST_CASE(
    "IOStream::read_until of four mebibytes takes a moment "
    "(test_large_read_until)") {
  LoopFixture loop;
  const StreamPair pair = make_stream_pair(loop);
  const std::string piece(1024, 'A');
  std::size_t size = 0;
  bool ends_well = false;

  for (std::size_t sent = 0; sent < 4 * kMegabyte; sent += piece.size()) {
    pair.client->write(piece);
  }
  pair.client->write("\r\n");
  pair.server->read_until("\r\n", [&](std::string_view data) {
    size = data.size();
    ends_well = data.ends_with("A\r\n");
    loop.stop();
  });

  loop.bound_turns(5000);
  loop.run();
  CHECK(size == 4 * kMegabyte + 2);
  CHECK(ends_well);
}

TEST_CASE(
    "IOStream::write takes a view, which it sends or copies "
    "(test_write_memoryview)") {
  LoopFixture loop;
  const StreamPair pair = make_stream_pair(loop);
  std::string got;
  {
    std::string bytes = "hello";
    pair.client->write(std::string_view(bytes).substr(0, 4));
    bytes.assign(5, '#');
  }

  pair.server->read_bytes(4, [&](std::string_view data) {
    got = data;
    loop.stop();
  });

  loop.run();
  CHECK(got == "hell");
}

TEST_CASE(
    "A partial read_bytes gives what there is, up to its bound "
    "(test_read_bytes_partial)") {
  LoopFixture loop;
  const StreamPair pair = make_stream_pair(loop);
  EventLog log;
  auto partial = [&](std::size_t count, const char* name) {
    pair.client->read_bytes(count, {.partial = true},
                            [&, name](std::string_view data) {
                              log.read(name)(data);
                              loop.stop();
                            });
    loop.run();
  };

  pair.server->write("hello");
  partial(50, "more");
  pair.server->write("world");
  partial(3, "bound");
  partial(0, "zero");
  partial(50, "rest");

  CHECK(log.text() == "more(hello) bound(wor) zero() rest(ld)");
}

TEST_CASE(
    "Small reads from a large buffer never overflow it "
    "(test_small_reads_from_large_buffer)") {
  LoopFixture loop;
  const StreamPair pair = make_stream_pair(
      loop, {}, {.max_buffer_size = 10 * 1024, .read_chunk_size = 5 * 1024});
  const std::string data(100 * 1024, 'a');
  int reads = 0;
  std::function<void()> read_next = [&] {
    pair.server->read_bytes(1024, [&](std::string_view piece) {
      CHECK(piece.size() == 1024);
      CHECK(pair.server->unread_bytes() <= 10 * 1024);
      reads += 1;
      reads == 100 ? loop.stop() : read_next();
    });
  };

  pair.client->write(data);
  read_next();

  loop.run();
  CHECK(reads == 100);
  CHECK_FALSE(pair.server->closed());
}

TEST_CASE(
    "Small read_untils from a large buffer never overflow it "
    "(test_small_read_untils_from_large_buffer)") {
  LoopFixture loop;
  const StreamPair pair = make_stream_pair(
      loop, {}, {.max_buffer_size = 10 * 1024, .read_chunk_size = 5 * 1024});
  const std::string line = std::string(1023, 'a') + "\n";
  int reads = 0;
  std::function<void()> read_next = [&] {
    pair.server->read_until("\n", {.max_bytes = 4096},
                            [&](std::string_view piece) {
                              CHECK(piece.size() == 1024);
                              reads += 1;
                              reads == 100 ? loop.stop() : read_next();
                            });
  };

  for (int i = 0; i < 100; ++i) {
    pair.client->write(line);
  }
  read_next();

  loop.run();
  CHECK(reads == 100);
  CHECK_FALSE(pair.server->closed());
}

TEST_CASE(
    "A reader that pauses holds its writer up, and nothing overflows "
    "(test_flow_control)") {
  LoopFixture loop;
  loop.bound_turns(20000);
  const StreamPair pair =
      make_stream_pair(loop, {}, {.max_buffer_size = 5 * kMegabyte});
  std::size_t still_unsent = 0;
  int reads = 0;
  std::function<void()> read_next = [&] {
    pair.server->read_bytes(kMegabyte, [&](std::string_view data) {
      CHECK(data.size() == kMegabyte);
      reads += 1;
      if (reads == 1) {
        still_unsent = pair.client->unsent_bytes();
      }
      if (reads == 20) {
        loop.stop();
      } else {
        loop->call_later(std::chrono::milliseconds(1), read_next);
      }
    });
  };

  pair.client->write(std::string(20 * kMegabyte, 'a'));
  read_next();

  loop.run();
  CHECK(reads == 20);
  CHECK(still_unsent > 0);
  CHECK_FALSE(pair.server->closed());
}

TEST_CASE(
    "Every write of ten producers reports, each producer's in order "
    "(test_future_write)") {
  constexpr int kProducers = 10;
  constexpr int kWrites = 100;
  constexpr std::size_t kSize = 10'000;
  LoopFixture loop;
  loop.bound_turns(20000);
  const StreamPair pair = make_stream_pair(loop);
  const std::string data(kSize, '1');
  std::vector<int> reported(kProducers, 0);
  std::function<void(std::size_t)> produce = [&](std::size_t producer) {
    pair.client->write(data, [&, producer] {
      reported[producer] += 1;
      if (reported[producer] < kWrites) {
        produce(producer);
      }
    });
  };
  bool all_arrived = false;

  for (std::size_t producer = 0; producer < kProducers; ++producer) {
    produce(producer);
  }
  pair.server->read_bytes(kSize * kProducers * kWrites,
                          [&](std::string_view all) {
                            all_arrived = all.size() == 10 * 100 * kSize;
                            loop.stop();
                          });

  loop.run();
  CHECK(all_arrived);
  CHECK(reported == std::vector<int>(kProducers, kWrites));
}

TEST_CASE("IOStream::read_until within max_bytes (test_read_until_max_bytes)") {
  LoopFixture loop;
  const StreamPair pair = make_stream_pair(loop);
  EventLog log;
  auto read_def = [&](std::size_t limit, const char* name) {
    pair.client->read_until("def", {.max_bytes = limit},
                            [&, name](std::string_view data) {
                              log.read(name)(data);
                              loop.stop();
                            });
  };

  read_def(50, "far");
  pair.server->write("abcdef");
  loop.run();
  read_def(6, "equal");
  pair.server->write("abcdef");
  loop.run();
  CHECK(log.text() == "far(abcdef) equal(abcdef)");

  loop.expect_log(LogLevel::info, "read_until");
  pair.client->set_close_callback([&] { loop.stop(); });
  read_def(5, "never");
  pair.server->write("123456");
  loop.run();
  CHECK(log.text() == "far(abcdef) equal(abcdef)");
  CHECK(pair.client->error() == StreamErrc::unsatisfiable_read);
}

TEST_CASE("IOStream::read_until past max_bytes closes") {
  LoopFixture loop;
  loop.expect_log(LogLevel::info, "read_until");
  const StreamPair pair = make_stream_pair(loop);
  EventLog log;
  pair.client->set_close_callback([&] {
    log.add("close");
    loop.stop();
  });

  SUBCASE("with the data in the kernel (test_read_until_max_bytes_inline)") {
    pair.server->write("123456", [&] {
      pair.client->read_until("def", {.max_bytes = 5}, log.read("never"));
    });
  }
  SUBCASE(
      "though the delimiter came too "
      "(test_read_until_max_bytes_ignores_extra)") {
    pair.server->write("abcdef");
    pair.client->read_until("def", {.max_bytes = 5}, log.read("never"));
  }

  loop.run();
  CHECK(log.text() == "close");
  CHECK(pair.client->error() == StreamErrc::unsatisfiable_read);
}

TEST_SUITE_END();
