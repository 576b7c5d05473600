// TCPClient, its resolver and its loop, taken away in every state; and ten
// thousand connections at once.

#include <array>
#include <chrono>
#include <cstddef>
#include <fstream>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <utility>

#include <doctest/doctest.h>
#include <event2/event.h>

#include "waterspout/netutil.h"
#include "waterspout/tcpclient.h"

#include "support/connect_answer.h"
#include "support/fake_names.h"
#include "support/fd_count.h"
#include "support/fixed_resolver.h"
#include "support/full_listener.h"
#include "support/loop_fixture.h"
#include "support/sanitizers.h"
#include "support/sockets.h"
#include "support/stream_helpers.h"

using waterspout::AcceptHandler;
using waterspout::add_accept_handler;
using waterspout::Address;
using waterspout::bind_sockets;
using waterspout::ConnectError;
using waterspout::IOLoop;
using waterspout::IOStream;
using waterspout::RequestHandle;
using waterspout::Socket;
using waterspout::TCPClient;
using waterspout::test::ConnectAnswer;
using waterspout::test::FakeNames;
using waterspout::test::fd_count;
using waterspout::test::FixedResolver;
using waterspout::test::FullListener;
using waterspout::test::kSanitized;
using waterspout::test::LoopFixture;
using waterspout::test::RefusingPort;
using waterspout::test::scaled;
using waterspout::test::Token;

namespace {

using namespace std::chrono_literals;

enum class State {
  resolving,     // and nobody will ever answer
  in_a_thread,   // the C library's
  answered,      // by the resolver, and the loop is still to tell
  due,           // has failed, and the loop is still to tell
  connecting,    // one attempt
  two_attempts,  // at once
};

enum class End { cancel, client, loop, client_then_loop, loop_then_client };

// Everything that a connection needs, brought to a state.
class Scene {
 public:
  explicit Scene(State state) {
    names_.hold("held.test");
    resolver_.emplace(*loop_);
    resolver_->add_failure("fails.test",
                           std::make_error_code(std::errc::network_down));
    resolver_->add("hanging.test", {four_.address()});
    resolver_->add("two.test", {four_.address(), six_.address()});
    const bool threaded = state == State::in_a_thread;
    client_ = threaded ? std::make_unique<TCPClient>(*loop_)
                       : std::make_unique<TCPClient>(*loop_, *resolver_);
    handle_ = client_->connect(
        host(state), refusing_.port(), {.timeout = 60s},
        [held = token_.copy()](const ConnectError&,
                               const std::shared_ptr<IOStream>&) {
          FAIL_CHECK("a callback ran that must not");
        });
    bring_to(state);
  }

  void end(End end) {
    switch (end) {
      case End::cancel:
        handle_.cancel();
        break;
      case End::client:
        client_.reset();
        break;
      case End::loop:
        close_loop();
        break;
      case End::client_then_loop:
        client_.reset();
        close_loop();
        break;
      case End::loop_then_client:
        close_loop();
        client_.reset();
        break;
    }
  }

  [[nodiscard]] bool pending() const { return handle_.pending(); }
  [[nodiscard]] long callbacks() const { return token_.alive(); }
  [[nodiscard]] IOLoop* loop() { return loop_.get(); }
  void release_threads() { names_.release(); }

 private:
  static const char* host(State state) {
    switch (state) {
      case State::resolving:
        return "open.test";
      case State::in_a_thread:
        return "held.test";
      case State::answered:
        return "127.0.0.1";
      case State::due:
        return "fails.test";
      case State::connecting:
        return "hanging.test";
      case State::two_attempts:
        break;
    }
    return "two.test";
  }

  void bring_to(State state) {
    switch (state) {
      case State::in_a_thread:
        run_until([&] { return names_.held() == 1; });
        break;
      case State::due:
        run_a_turn();  // which gives the client the resolver's answer
        break;
      case State::connecting:
        run_until([&] { return fd_count() > fds_before_; });
        break;
      case State::two_attempts:
        run_until([&] { return fd_count() > fds_before_ + 1; });
        break;
      case State::resolving:
      case State::answered:
        break;
    }
  }

  void run_a_turn() {
    event_base_loop(base_.get(), EVLOOP_ONCE | EVLOOP_NONBLOCK);
  }

  void run_until(const std::function<bool()>& condition) {
    const auto limit = std::chrono::steady_clock::now() + 5s;
    while (!condition() && std::chrono::steady_clock::now() < limit) {
      loop_->call_later(1ms, [this] { loop_->stop(); });
      loop_->start();
    }
    CHECK(condition());
  }

  void close_loop() { loop_.reset(); }

  struct FreeBase {
    void operator()(event_base* base) const { event_base_free(base); }
  };

  FakeNames names_;
  const std::unique_ptr<event_base, FreeBase> base_{event_base_new()};
  std::unique_ptr<IOLoop> loop_ = std::make_unique<IOLoop>(base_.get());
  const FullListener four_;
  const FullListener six_{"::1"};
  const RefusingPort refusing_;
  const std::size_t fds_before_ = fd_count();
  const Token token_;
  std::optional<FixedResolver> resolver_;
  std::unique_ptr<TCPClient> client_;
  RequestHandle handle_;
};

constexpr std::array kStates = {State::resolving,  State::in_a_thread,
                                State::answered,   State::due,
                                State::connecting, State::two_attempts};
constexpr std::array kEnds = {End::cancel, End::client, End::loop,
                              End::client_then_loop, End::loop_then_client};

// Pages of memory that the process has in use, in bytes.
std::size_t resident_bytes() {
  std::ifstream statm("/proc/self/statm");
  std::size_t total = 0;
  std::size_t resident = 0;
  statm >> total >> resident;
  return resident * 4096;
}

}  // namespace

TEST_SUITE_BEGIN("tcpclient_lifetime");

TEST_CASE("A connection may be taken away in every state (D10, D11)") {
  const std::size_t fds = fd_count();
  for (const State state : kStates) {
    for (const End end : kEnds) {
      CAPTURE(static_cast<int>(state));
      CAPTURE(static_cast<int>(end));
      {
        Scene scene(state);
        CHECK(scene.pending());
        scene.end(end);
        CHECK_FALSE(scene.pending());
        CHECK(scene.callbacks() == 0);
        scene.release_threads();
        if (IOLoop* const loop = scene.loop()) {
          CHECK(loop->statistics().timeouts == 0);
          CHECK(loop->statistics().streams == 0);
          loop->add_callback([loop] { loop->stop(); });
          loop->start();
        }
      }
      CHECK(fd_count() == fds);
    }
  }
}

TEST_CASE("Destroying the client inside its callback drops the others") {
  LoopFixture loop;
  FixedResolver resolver(loop);
  auto client = std::make_unique<TCPClient>(loop, resolver);
  const RefusingPort refusing;
  int calls = 0;
  for (int i = 0; i < 3; ++i) {
    client->connect("127.0.0.1", refusing.port(), {.timeout = 60s},
                    [&](const ConnectError&, const std::shared_ptr<IOStream>&) {
                      ++calls;
                      client.reset();
                    });
  }
  loop.run_until([&] { return client == nullptr; });
  loop.run_turns(2);
  CHECK(calls == 1);
  CHECK(resolver.pending() == 0);
}

TEST_CASE("All sockets are closed when the callback tells of the timeout") {
  LoopFixture loop;
  const FullListener four;
  const FullListener six("::1");
  FixedResolver resolver(loop);
  resolver.add("two.test", {four.address(), six.address()});
  TCPClient client(loop, resolver);
  const std::size_t before = fd_count();
  std::size_t then = 0;
  client.connect(
      "two.test", 80, {.timeout = 300ms},
      [&](const ConnectError& error, const std::shared_ptr<IOStream>&) {
        CHECK(error.attempts.size() == 2);
        then = fd_count();
      });
  loop.run_until([&] { return then != 0; });
  CHECK(then == before);
}

TEST_CASE("A stream outlives the client that made it") {
  LoopFixture loop;
  const Socket listener = std::move(bind_sockets(0, "127.0.0.1").front());
  auto client = std::make_unique<TCPClient>(loop);
  ConnectAnswer answer;
  client->connect("127.0.0.1", listener.local_address().port(),
                  answer.callback());
  loop.run_until([&] { return answer.calls == 1; });
  client.reset();
  REQUIRE(answer.stream);
  CHECK_FALSE(answer.stream->closed());
}

TEST_CASE("A callback may hold its own client") {
  LoopFixture loop;
  FixedResolver resolver(loop);
  auto client = std::make_shared<TCPClient>(loop, resolver);
  const std::weak_ptr<TCPClient> weak = client;
  auto handle = client->connect(
      "open.test", 80,
      [client](const ConnectError&, const std::shared_ptr<IOStream>&) {});
  client.reset();
  CHECK_FALSE(weak.expired());
  SUBCASE("which goes when it is cancelled") { handle.cancel(); }
  SUBCASE("which goes when the loop closes") { loop->close(); }
  CHECK(weak.expired());
}

TEST_CASE("A client on a closed loop is refused") {
  IOLoop loop;
  TCPClient client(loop);
  loop.close();
  const auto never = [](const ConnectError&, const std::shared_ptr<IOStream>&) {
  };
  CHECK_THROWS_AS(client.connect("127.0.0.1", 80, never), std::logic_error);
  CHECK_THROWS_AS(static_cast<void>(client.loop()), std::logic_error);
  CHECK_THROWS_AS(TCPClient{loop}, std::logic_error);
}

TEST_CASE("A client with a resolver of another loop is refused") {
  IOLoop loop;
  IOLoop other;
  FixedResolver resolver(other);
  CHECK_THROWS_AS(TCPClient(loop, resolver), std::invalid_argument);
}

TEST_CASE("Ten thousand connections at once succeed, or fail cleanly") {
  LoopFixture loop;
  loop.bound_turns(200000);
  const Socket listener = std::move(bind_sockets(0, "127.0.0.1").front());
  AcceptHandler server = add_accept_handler(loop, listener.fileno(),
                                            [](Socket, const Address&) {});
  TCPClient client(loop);
  const int count = scaled(10000);
  int succeeded = 0;
  int failed = 0;
  const std::size_t before = resident_bytes();
  for (int i = 0; i < count; ++i) {
    client.connect("127.0.0.1", listener.local_address().port(),
                   {.timeout = 30s},
                   [&](const ConnectError& error,
                       const std::shared_ptr<IOStream>& stream) {
                     CHECK(bool(error) == (stream == nullptr));
                     error ? ++failed : ++succeeded;
                   });
  }
  loop.run_until([&] { return succeeded + failed == count; }, 40s);
  CHECK(succeeded > 0);
  CHECK(client.pending() == 0);
  if (!kSanitized) {
    CHECK(resident_bytes() - before < std::size_t{64} << 20);
  }
  server.remove();
}

TEST_SUITE_END();
