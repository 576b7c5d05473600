// What tests of callback code need: loops that run until something has
// happened, connected streams, ports, a clock that jumps, expected log lines.
//
//   AsyncTestCase test;
//   auto [client, server] = make_stream_pair(test.loop());
//   server->write("hello\n");
//   client->read_until("\n", [&](std::string_view line) {
//     CHECK(line == "hello\n");
//     test.stop();
//   });
//   test.wait();
//
// Works with every test framework: what fails throws.
//
// Floor 5, service.

#pragma once

#include <chrono>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "waterspout/export.h"
#include "waterspout/ioloop.h"
#include "waterspout/iostream.h"
#include "waterspout/log.h"
#include "waterspout/netutil.h"
#include "waterspout/ssl_iostream.h"
#include "waterspout/stack_context.h"

namespace waterspout::testing {

/// What a test waits at most: as many seconds as the environment's
/// ASYNC_TEST_TIMEOUT says, else five.
[[nodiscard]] WATERSPOUT_API Duration default_timeout();

/// Runs the loop until `condition()` holds, and returns true; or for `timeout`
/// on the loop's clock, or until somebody stops it, and then returns whether it
/// holds. A timeout of zero or less is none. The condition is looked at before
/// the loop runs, and after everything it does, outside its callbacks.
///
/// In virtual time a condition that nothing will fulfil costs no time.
/// Errors: throws as IOLoop::start, and what the condition throws.
WATERSPOUT_API bool run_until(IOLoop& loop,
                              const std::function<bool()>& condition,
                              Duration timeout = default_timeout());

/// A test with a loop of its own, which is current, and in which no exception
/// is lost: the first that leaves a callback that was started inside the test,
/// and that nobody handles, is thrown by wait().
///
/// Belongs to the thread that made it; scopes of contexts that were entered
/// after it end before it. Tornado: AsyncTestCase.
class WATERSPOUT_API AsyncTestCase {
 public:
  AsyncTestCase() : AsyncTestCase(IOLoop::Options()) {}
  explicit AsyncTestCase(IOLoop::Options options);

  /// Closes the loop. Throws the exception that no wait() has thrown, unless
  /// another one is under way.
  virtual ~AsyncTestCase() noexcept(false);

  AsyncTestCase(const AsyncTestCase&) = delete;
  AsyncTestCase& operator=(const AsyncTestCase&) = delete;

  [[nodiscard]] IOLoop& loop() noexcept { return loop_; }

  /// Ends the wait() that runs, or else the next one.
  void stop();

  /// Runs the loop until stop(). One stop() ends one wait().
  /// Errors: throws the exception of a callback, TimeoutError after `timeout`
  ///   (zero or less: none) on the loop's clock.
  void wait(Duration timeout = default_timeout());

  /// The same, until `condition` holds after a stop().
  void wait(const std::function<bool()>& condition,
            Duration timeout = default_timeout());

 private:
  bool keep(const std::exception_ptr& exception);
  void run(const std::function<bool()>& done, Duration timeout);

  IOLoop loop_;
  std::exception_ptr failure_;
  bool stopped_ = false;
  const int unwinding_ = std::uncaught_exceptions();
  std::optional<ExceptionStackContext> guard_;
};

/// A socket that listens on a free port of 127.0.0.1, which is
/// `local_address().port()`. Tornado: bind_unused_port().
[[nodiscard]] WATERSPOUT_API Socket bind_unused_port();

/// A port of 127.0.0.1 that refuses connections, and that nobody else gets, as
/// long as this object lives. Tornado: refusing_port().
class WATERSPOUT_API RefusingPort {
 public:
  /// Errors: throws std::system_error.
  RefusingPort();

  [[nodiscard]] std::uint16_t port() const { return address().port(); }
  [[nodiscard]] Address address() const { return socket_.local_address(); }

 private:
  Socket socket_;
};

struct StreamPair {
  std::shared_ptr<IOStream> client;
  std::shared_ptr<IOStream> server;
};

/// Two streams, connected to one another over TCP on 127.0.0.1. The loop does
/// not run. Errors: throws std::system_error, and as IOStream::create.
[[nodiscard]] WATERSPOUT_API StreamPair make_stream_pair(
    IOLoop& loop, IOStream::Options client = {}, IOStream::Options server = {});

/// A certificate and its key, PEM: for SSLOptions::certificate and key at one
/// end, and the certificate for SSLOptions::ca at the other.
struct TestCertificate {
  std::string certificate;
  std::string key;
};

/// Made anew for `host`, a name or an IP literal; vouches for itself, and is
/// good until tomorrow.
/// Errors: throws std::invalid_argument for what can be no host, SSLError, and
///   std::logic_error if the library was built without the feature `tls`.
[[nodiscard]] WATERSPOUT_API TestCertificate
make_certificate(std::string_view host = "localhost");

struct SSLStreamPair {
  std::shared_ptr<SSLIOStream> client;
  std::shared_ptr<SSLIOStream> server;
};

/// As make_stream_pair, under TLS; the client verifies a certificate that is
/// made for it. Runs the loop until both have shaken hands.
/// Errors: also as make_certificate, and throws TimeoutError if that takes
///   longer than default_timeout().
[[nodiscard]] WATERSPOUT_API SSLStreamPair make_ssl_stream_pair(
    IOLoop& loop, IOStream::Options client = {}, IOStream::Options server = {});

/// Expects a log record, and keeps it and its like from being printed. Others
/// go where they went before.
///
///   const ExpectLog refused(loop.logger(), LogLevel::warning, "refused");
///
/// Takes the logger's function for as long as it lives; those of one logger
/// nest. Lifetime: the logger outlives it. Tornado: ExpectLog.
class WATERSPOUT_API ExpectLog {
 public:
  /// Records at `level` whose message holds `substring`.
  ExpectLog(Logger& logger, LogLevel level, std::string_view substring);

  /// Throws std::runtime_error if no such record came, unless an exception is
  /// under way.
  ~ExpectLog() noexcept(false);

  ExpectLog(const ExpectLog&) = delete;
  ExpectLog& operator=(const ExpectLog&) = delete;

  /// How many have come.
  [[nodiscard]] int count() const noexcept { return count_; }

 private:
  void take(const LogRecord& record);

  Logger& logger_;
  const Logger before_;
  const LogLevel level_;
  const std::string substring_;
  const int unwinding_ = std::uncaught_exceptions();
  int count_ = 0;
};

/// Time that a test moves, and that jumps over a loop's waiting: hours pass in
/// no time. Copies share it.
///
///   VirtualClock clock;
///   IOLoop loop(clock.options());
///
/// Where descriptors are involved: the loop jumps when none is ready, and does
/// not wait for what another thread or process is about to send.
class WATERSPOUT_API VirtualClock {
 public:
  VirtualClock();

  [[nodiscard]] Clock clock() const;

  /// A loop's options with this clock.
  [[nodiscard]] IOLoop::Options options() const;

  [[nodiscard]] TimePoint now() const noexcept { return *now_; }

  /// What has passed since the clock was made.
  [[nodiscard]] Duration elapsed() const noexcept { return *now_ - kStart; }

  /// Time that passes while a callback works; negative: the clock errs.
  void pass(Duration duration) noexcept { *now_ += duration; }

 private:
  static constexpr TimePoint kStart{std::chrono::hours{1000}};

  std::shared_ptr<TimePoint> now_;
};

}  // namespace waterspout::testing
