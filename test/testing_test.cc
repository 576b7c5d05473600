// What the library offers to users' own tests. Tornado's testing_test.py under
// its names, as far as it is not about coroutines.

#include "waterspout/testing.h"

#include <chrono>
#include <cstdlib>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <vector>

#include <doctest/doctest.h>

#include "waterspout/error.h"

#include "support/fd_count.h"

using waterspout::Address;
using waterspout::Callback;
using waterspout::IOLoop;
using waterspout::IOStream;
using waterspout::LogLevel;
using waterspout::LogRecord;
using waterspout::Socket;
using waterspout::TimeoutError;
using waterspout::test::fd_count;
using waterspout::testing::AsyncTestCase;
using waterspout::testing::bind_unused_port;
using waterspout::testing::default_timeout;
using waterspout::testing::ExpectLog;
using waterspout::testing::make_certificate;
using waterspout::testing::make_ssl_stream_pair;
using waterspout::testing::make_stream_pair;
using waterspout::testing::RefusingPort;
using waterspout::testing::run_until;
using waterspout::testing::VirtualClock;

namespace {

using namespace std::chrono_literals;

Callback<void()> throws(const char* text) {
  return [text] { throw std::out_of_range(text); };
}

// Without TLS, whatever needs it says so.
bool built_with_tls() {
  try {
    static_cast<void>(make_certificate());
    return true;
  } catch (const std::logic_error& error) {
    CHECK(std::string_view(error.what()).find("built without TLS") !=
          std::string_view::npos);
    return false;
  }
}

// Sets a variable of the environment while it lives.
class TestTimeout {
 public:
  explicit TestTimeout(const char* value) {
    setenv("ASYNC_TEST_TIMEOUT", value, 1);
  }
  ~TestTimeout() { unsetenv("ASYNC_TEST_TIMEOUT"); }
  TestTimeout(const TestTimeout&) = delete;
  TestTimeout& operator=(const TestTimeout&) = delete;
};

}  // namespace

TEST_SUITE_BEGIN("testing");

TEST_CASE(
    "AsyncTestCase::wait throws what a callback has thrown "
    "(test_exception_in_callback)") {
  AsyncTestCase test;
  test.loop().add_callback(throws("in a callback"));
  CHECK_THROWS_WITH_AS(test.wait(), "in a callback", std::out_of_range);
  test.loop().add_callback([&] { test.stop(); });
  test.wait();
}

TEST_CASE("AsyncTestCase::wait ends with stop, also with one that came first") {
  AsyncTestCase test;
  test.stop();
  test.wait();
  bool ran = false;
  test.loop().add_callback([&] {
    ran = true;
    test.stop();
  });
  test.wait();
  CHECK(ran);
}

TEST_CASE(
    "AsyncTestCase::wait fails a test that takes too long "
    "(test_wait_timeout)") {
  const VirtualClock clock;
  AsyncTestCase test(clock.options());
  CHECK_THROWS_AS(test.wait(10ms), TimeoutError);
  CHECK(clock.elapsed() == 10ms);
  CHECK_THROWS_AS(test.wait(), TimeoutError);
  CHECK(clock.elapsed() == 5010ms);
  {
    const TestTimeout timeout("0.25");
    CHECK_THROWS_AS(test.wait(), TimeoutError);
    CHECK(clock.elapsed() == 5260ms);
  }
  test.loop().call_later(1h, [&] { test.stop(); });
  test.wait(0s);
  CHECK(clock.elapsed() == 1h + 5260ms);
}

TEST_CASE(
    "A timeout of one wait does not end the next "
    "(test_subsequent_wait_calls)") {
  const VirtualClock clock;
  AsyncTestCase test(clock.options());
  test.loop().call_later(10ms, [&] { test.stop(); });
  test.wait(20ms);
  test.loop().call_later(30ms, [&] { test.stop(); });
  test.wait(150ms);
  CHECK(clock.elapsed() == 40ms);
  CHECK(test.loop().statistics().timeouts == 0);
}

TEST_CASE(
    "The first of several exceptions is thrown and the others are logged "
    "(test_multiple_errors)") {
  AsyncTestCase test;
  test.loop().add_callback(throws("one"));
  test.loop().add_callback(throws("two"));
  const ExpectLog two(
      test.loop().logger(), LogLevel::error,
      "multiple unhandled exceptions in test: std::out_of_range: two");
  CHECK_THROWS_WITH_AS(test.wait(), "one", std::out_of_range);
}

TEST_CASE(
    "AsyncTestCase::wait with a condition goes on until it holds after a "
    "stop") {
  AsyncTestCase test;
  int calls = 0;
  for (int i = 0; i < 3; ++i) {
    test.loop().add_callback([&] {
      ++calls;
      test.stop();
    });
  }
  test.loop().call_later(1ms, [&] {
    ++calls;
    test.stop();
  });
  test.wait([&] { return calls == 4; });
  CHECK(calls == 4);
}

TEST_CASE(
    "An exception that no wait has thrown is thrown at the end, unless "
    "another one is under way") {
  const auto forgotten = [](bool other) {
    AsyncTestCase test;
    test.loop().add_callback(throws("forgotten"));
    run_until(
        test.loop(), [] { return false; }, 1ms);
    if (other) {
      throw std::runtime_error("other");
    }
  };
  CHECK_THROWS_WITH_AS(forgotten(false), "forgotten", std::out_of_range);
  CHECK_THROWS_WITH_AS(forgotten(true), "other", std::runtime_error);
}

TEST_CASE(
    "Every test case has a fresh loop, current while it lives "
    "(test_set_up_tear_down)") {
  const std::size_t descriptors = fd_count();
  {
    AsyncTestCase test;
    CHECK(IOLoop::current_or_null() == &test.loop());
    const auto pair = make_stream_pair(test.loop());
    pair.client->set_close_callback([] { FAIL_CHECK("the test is over"); });
    pair.client->write("left behind");
  }
  CHECK(IOLoop::current_or_null() == nullptr);
  CHECK(fd_count() == descriptors);
}

TEST_CASE(
    "default_timeout believes the environment if it is a number of "
    "seconds") {
  CHECK(default_timeout() == 5s);
  for (const char* const bad : {"", "x", "-1", "0", "3s", "1e99", "nan"}) {
    CAPTURE(bad);
    const TestTimeout timeout(bad);
    CHECK(default_timeout() == 5s);
  }
  const TestTimeout timeout("12.5");
  CHECK(default_timeout() == 12500ms);
}

TEST_CASE("run_until runs no further than it has to") {
  const VirtualClock clock;
  IOLoop loop(clock.options());
  int calls = 0;
  CHECK(run_until(loop, [] { return true; }));
  CHECK(loop.statistics().turns == 0);
  for (int i = 1; i <= 3; ++i) {
    loop.call_later(i * 1ms, [&] { ++calls; });
  }
  CHECK(run_until(loop, [&] { return calls == 2; }));
  CHECK(calls == 2);
  CHECK(run_until(loop, [&] { return calls == 3; }));
  CHECK(loop.statistics().timeouts == 0);
}

TEST_CASE("run_until gives up after its time, or when the loop is stopped") {
  const VirtualClock clock;
  IOLoop loop(clock.options());
  CHECK_FALSE(run_until(
      loop, [] { return false; }, 24h));
  CHECK(clock.elapsed() == 24h);
  loop.call_later(1h, [&] { loop.stop(); });
  CHECK_FALSE(run_until(
      loop, [] { return false; }, 24h));
  CHECK(clock.elapsed() == 25h);
  CHECK(loop.statistics().timeouts == 0);
}

TEST_CASE(
    "run_until throws what its condition throws, and refuses a loop that "
    "runs") {
  IOLoop loop;
  int looks = 0;
  const auto condition = [&]() -> bool {
    if (++looks == 2) {
      throw std::out_of_range("looked");
    }
    return false;
  };
  loop.add_callback([] {});
  CHECK_THROWS_AS(run_until(loop, condition), std::out_of_range);
  loop.add_callback([&] {
    CHECK_THROWS_AS(run_until(loop, [] { return false; }), std::logic_error);
  });
  run_until(
      loop, [] { return false; }, 1ms);
}

TEST_CASE("The loop of run_until is current while it runs") {
  IOLoop other;
  IOLoop::Options options;
  options.make_current = IOLoop::MakeCurrent::never;
  IOLoop loop(std::move(options));
  IOLoop* seen = nullptr;
  loop.add_callback([&] { seen = IOLoop::current_or_null(); });
  CHECK(run_until(loop, [&] { return seen != nullptr; }));
  CHECK(seen == &loop);
  CHECK(IOLoop::current_or_null() == &other);
}

TEST_CASE("bind_unused_port listens, and RefusingPort refuses") {
  AsyncTestCase test;
  const Socket listener = bind_unused_port();
  const auto stream = IOStream::create(test.loop());
  stream->connect(listener.local_address(), [&] { test.stop(); });
  test.wait();
  const RefusingPort refusing;
  CHECK(refusing.address() == Address("127.0.0.1", refusing.port()));
  const auto refused = IOStream::create(test.loop());
  refused->set_close_callback([&] { test.stop(); });
  const ExpectLog log(test.loop().logger(), LogLevel::warning, "refused");
  refused->connect(refusing.address(), [] { FAIL_CHECK("connected"); });
  test.wait();
  CHECK(refused->error() == std::errc::connection_refused);
  CHECK(log.count() == 1);
}

TEST_CASE("make_stream_pair connects two streams, with their options") {
  AsyncTestCase test;
  const auto [client, server] =
      make_stream_pair(test.loop(), {.read_chunk_size = 3}, {});
  std::string got;
  server->write("hello\n");
  client->read_bytes(100, {.partial = true}, [&](std::string_view piece) {
    got = piece;
    test.stop();
  });
  test.wait();
  CHECK(got == "hel");
}

TEST_CASE(
    "make_ssl_stream_pair gives two protected streams, the server's "
    "verified") {
  if (!built_with_tls()) {
    return;
  }
  AsyncTestCase test;
  const auto [client, server] = make_ssl_stream_pair(test.loop());
  REQUIRE(client->peer_certificate().has_value());
  CHECK(client->peer_certificate()->dns_names ==
        std::vector<std::string>{"localhost"});
  CHECK(server->server_name() == "localhost");
  std::string got;
  server->write("secret\n");
  client->read_until("\n", [&](std::string_view line) {
    got = line;
    test.stop();
  });
  test.wait();
  CHECK(got == "secret\n");
}

TEST_CASE(
    "make_certificate is for names and for addresses, and new every "
    "time") {
  if (!built_with_tls()) {
    return;
  }
  const auto first = make_certificate("example.test");
  const auto second = make_certificate("127.0.0.1");
  CHECK(first.key != second.key);
  CHECK(first.certificate.starts_with("-----BEGIN CERTIFICATE-----"));
  CHECK_THROWS_AS(static_cast<void>(make_certificate("")),
                  std::invalid_argument);
  CHECK_THROWS_AS(static_cast<void>(make_certificate("a,DNS:b")),
                  std::invalid_argument);
  CHECK_NOTHROW(static_cast<void>(make_certificate("::1")));
}

TEST_CASE("ExpectLog keeps what it expects to itself, and passes on the rest") {
  std::vector<std::string> printed;
  IOLoop loop;
  loop.logger().set_function(
      [&](const LogRecord& record) { printed.emplace_back(record.message); });
  {
    const ExpectLog outer(loop.logger(), LogLevel::info, "good");
    const ExpectLog inner(loop.logger(), LogLevel::warning, "bad");
    loop.logger().warning("something bad");
    loop.logger().warning("another bad thing");
    loop.logger().info("all is good");
    loop.logger().info("not told: the level is warning");
    loop.logger().error("bad, but an error");
    CHECK(inner.count() == 2);
    CHECK(outer.count() == 1);
  }
  loop.logger().warning("bad again");
  CHECK(printed == std::vector<std::string>{"bad, but an error", "bad again"});
}

TEST_CASE(
    "ExpectLog throws if nothing came, unless an exception is under "
    "way") {
  IOLoop loop;
  const auto expect = [&](bool other) {
    const ExpectLog log(loop.logger(), LogLevel::warning, "never");
    if (other) {
      throw std::runtime_error("other");
    }
  };
  CHECK_THROWS_WITH_AS(expect(false),
                       "ExpectLog: \"never\": no such record was logged",
                       std::runtime_error);
  CHECK_THROWS_WITH_AS(expect(true), "other", std::runtime_error);
}

TEST_CASE(
    "Hours of VirtualClock pass in no time, in the order of the "
    "deadlines") {
  VirtualClock clock;
  AsyncTestCase test(clock.options());
  std::string order;
  test.loop().call_later(72h, [&] {
    order += "c";
    test.stop();
  });
  test.loop().call_later(1h, [&] {
    order += "a";
    clock.pass(30min);
  });
  test.loop().call_later(24h, [&] { order += "b"; });
  test.wait(0s);
  CHECK(order == "abc");
  CHECK(clock.elapsed() == 72h);
}

TEST_SUITE_END();
