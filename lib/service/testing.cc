#include "waterspout/testing.h"

#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <stdexcept>
#include <utility>

#include <netinet/in.h>
#include <sys/socket.h>

#include "waterspout/error.h"

#include "base/throw_errno.h"
#include "loop/loop_core.h"
#include "tls/test_certificate.h"

namespace waterspout::testing {
namespace {

constexpr Duration kUsualTimeout = std::chrono::seconds(5);

Socket loopback_socket() {
  Socket socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!socket) {
    throw_errno(errno, "socket", "127.0.0.1");
  }
  return socket;
}

Socket accept_from(const Socket& listener) {
  Socket socket(::accept4(listener.fileno(), nullptr, nullptr, SOCK_CLOEXEC));
  if (!socket) {
    throw_errno(errno, "accept", listener.local_address().to_string());
  }
  return socket;
}

/// A client's socket and a server's, connected over TCP.
std::pair<Socket, Socket> connect_sockets() {
  const Socket listener = bind_unused_port();
  const Address address = listener.local_address();
  Socket client = loopback_socket();
  if (::connect(client.fileno(), address.data(),
                static_cast<socklen_t>(address.size())) != 0) {
    throw_errno(errno, "connect", address.to_string());
  }
  Socket server = accept_from(listener);
  return {std::move(client), std::move(server)};
}

/// Makes a loop the current one, as IOLoop::start does.
class CurrentLoop {
 public:
  explicit CurrentLoop(IOLoop& loop) noexcept
      : before_(IOLoop::current_or_null()) {
    loop.make_current();
  }
  ~CurrentLoop() {
    if (before_ != nullptr) {
      before_->make_current();
    } else {
      IOLoop::clear_current();
    }
  }
  CurrentLoop(const CurrentLoop&) = delete;
  CurrentLoop& operator=(const CurrentLoop&) = delete;

 private:
  IOLoop* const before_;
};

/// Looked at while it lives; a timeout of its own ends the wait.
class Deadline {
 public:
  Deadline(IOLoop& loop, Duration timeout) : loop_(loop) {
    if (timeout > Duration::zero()) {
      const NullContext outside;
      timeout_ = loop.call_later(timeout, [this] { passed_ = true; });
    }
  }
  ~Deadline() { loop_.remove_timeout(timeout_); }
  Deadline(const Deadline&) = delete;
  Deadline& operator=(const Deadline&) = delete;

  [[nodiscard]] bool passed() const noexcept { return passed_; }

 private:
  IOLoop& loop_;
  TimeoutHandle timeout_;
  bool passed_ = false;
};

}  // namespace

Duration default_timeout() {
  const char* const set =
      std::getenv("ASYNC_TEST_TIMEOUT");  // NOLINT(concurrency-mt-unsafe)
  const std::string_view text = set != nullptr ? set : "";
  double seconds = 0;
  const auto [rest, error] =
      std::from_chars(text.data(), text.data() + text.size(), seconds);
  constexpr double kMost = 1e6;
  const bool good = error == std::errc() && rest == text.data() + text.size() &&
                    seconds > 0 && seconds <= kMost;
  return good ? std::chrono::duration_cast<Duration>(
                    std::chrono::duration<double>(seconds))
              : kUsualTimeout;
}

bool run_until(IOLoop& loop, const std::function<bool()>& condition,
               Duration timeout) {
  if (condition()) {
    return true;
  }
  const Deadline deadline(loop, timeout);
  const CurrentLoop current(loop);
  bool holds = false;
  loop.core().run_until([&] {
    holds = condition();
    return holds || deadline.passed();
  });
  return holds || condition();
}

AsyncTestCase::AsyncTestCase(IOLoop::Options options)
    : loop_(std::move(options)) {
  loop_.make_current();
  guard_.emplace(
      [this](const std::exception_ptr& exception) { return keep(exception); });
}

AsyncTestCase::~AsyncTestCase() noexcept(false) {
  guard_.reset();
  loop_.close();
  if (failure_ && std::uncaught_exceptions() == unwinding_) {
    std::rethrow_exception(failure_);
  }
}

bool AsyncTestCase::keep(const std::exception_ptr& exception) {
  if (failure_) {
    loop_.logger().error("multiple unhandled exceptions in test: " +
                         describe_exception(exception));
  } else {
    failure_ = exception;
    stop();
  }
  return true;
}

void AsyncTestCase::stop() { stopped_ = true; }

void AsyncTestCase::wait(Duration timeout) {
  run([this] { return std::exchange(stopped_, false); }, timeout);
}

void AsyncTestCase::wait(const std::function<bool()>& condition,
                         Duration timeout) {
  run([this,
       &condition] { return std::exchange(stopped_, false) && condition(); },
      timeout);
}

void AsyncTestCase::run(const std::function<bool()>& done, Duration timeout) {
  const auto over = [&] { return failure_ != nullptr || done(); };
  const bool in_time = run_until(loop_, over, timeout);
  if (failure_) {
    stopped_ = false;
    std::rethrow_exception(std::exchange(failure_, nullptr));
  }
  if (!in_time) {
    throw TimeoutError("AsyncTestCase: wait: the test timed out");
  }
}

Socket bind_unused_port() {
  return std::move(bind_sockets(0, "127.0.0.1").front());
}

// Bound and not listening: connecting to it is refused.
RefusingPort::RefusingPort() : socket_(loopback_socket()) {
  const Address any("127.0.0.1", 0);
  if (::bind(socket_.fileno(), any.data(),
             static_cast<socklen_t>(any.size())) != 0) {
    throw_errno(errno, "bind", any.to_string());
  }
}

StreamPair make_stream_pair(IOLoop& loop, IOStream::Options client,
                            IOStream::Options server) {
  auto [connecting, accepted] = connect_sockets();
  StreamPair pair{IOStream::create(loop, connecting.release(), client),
                  IOStream::create(loop, accepted.release(), server)};
  pair.client->set_nodelay(true);
  pair.server->set_nodelay(true);
  return pair;
}

TestCertificate make_certificate(std::string_view host) {
  CertificateAndKey made = make_test_certificate(std::string(host));
  return {std::move(made.certificate), std::move(made.key)};
}

SSLStreamPair make_ssl_stream_pair(IOLoop& loop, IOStream::Options client,
                                   IOStream::Options server) {
  const TestCertificate made = make_certificate("localhost");
  SSLOptions serving;
  serving.certificate = made.certificate;
  serving.key = made.key;
  SSLOptions trusting;
  trusting.ca = made.certificate;
  auto [connecting, accepted] = connect_sockets();
  SSLStreamOptions tls;
  tls.server_hostname = "localhost";
  SSLStreamPair pair{
      SSLIOStream::create(loop, connecting.release(),
                          SSLContext::client(trusting), tls, client),
      SSLIOStream::create(loop, accepted.release(), SSLContext::server(serving),
                          {}, server)};
  int shaken = 0;
  const NullContext outside;
  pair.client->wait_for_handshake([&shaken] { ++shaken; });
  pair.server->wait_for_handshake([&shaken] { ++shaken; });
  if (!run_until(loop, [&shaken] { return shaken == 2; })) {
    pair.client->close();
    pair.server->close();
    throw TimeoutError("make_ssl_stream_pair: the handshake timed out");
  }
  return pair;
}

ExpectLog::ExpectLog(Logger& logger, LogLevel level, std::string_view substring)
    : logger_(logger), before_(logger), level_(level), substring_(substring) {
  logger_ = Logger([this](const LogRecord& record) { take(record); },
                   LogLevel::debug);
}

ExpectLog::~ExpectLog() noexcept(false) {
  logger_ = before_;
  if (count_ == 0 && std::uncaught_exceptions() == unwinding_) {
    throw std::runtime_error("ExpectLog: \"" + substring_ +
                             "\": no such record was logged");
  }
}

void ExpectLog::take(const LogRecord& record) {
  if (record.level == level_ &&
      record.message.find(substring_) != std::string_view::npos) {
    ++count_;
    return;
  }
  before_.log(record.level, record.category, record.message, record.origin);
}

VirtualClock::VirtualClock() : now_(std::make_shared<TimePoint>(kStart)) {}

Clock VirtualClock::clock() const {
  return {.now = [now = now_] { return *now; },
          .advance = [now = now_](TimePoint deadline) { *now = deadline; }};
}

IOLoop::Options VirtualClock::options() const {
  IOLoop::Options options;
  options.clock = clock();
  return options;
}

}  // namespace waterspout::testing
