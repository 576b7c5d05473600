// Resolvers and clients against a DNS server that does what a test wants: see
// tools/with_stub_dns.py, which has to run this program.

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <netdb.h>
#include <sys/socket.h>

#include <doctest/doctest.h>

#include "waterspout/error.h"
#include "waterspout/netutil.h"
#include "waterspout/resolver.h"
#include "waterspout/tcpclient.h"

#include "support/connect_answer.h"
#include "support/fd_count.h"
#include "support/full_listener.h"
#include "support/loop_fixture.h"
#include "support/resolve_answer.h"
#include "support/sockets.h"
#include "support/stream_helpers.h"

using waterspout::bind_sockets;
using waterspout::CAresResolver;
using waterspout::ConnectError;
using waterspout::IOLoop;
using waterspout::PeriodicCallback;
using waterspout::RequestHandle;
using waterspout::Resolver;
using waterspout::resolver_category;
using waterspout::Socket;
using waterspout::TCPClient;
using waterspout::ThreadedResolver;
using waterspout::test::ConnectAnswer;
using waterspout::test::fd_count;
using waterspout::test::FullListener;
using waterspout::test::LoopFixture;
using waterspout::test::ResolveAnswer;
using waterspout::test::Token;

namespace {

using namespace std::chrono_literals;

using Texts = std::vector<std::string>;

bool has_stub() {
  const bool has = std::getenv("WATERSPOUT_STUB_DNS") != nullptr;
  if (!has) {
    MESSAGE("skipped: run by test/tools/with_stub_dns.py only");
  }
  return has;
}

struct Kind {
  std::string name;
  std::function<std::unique_ptr<Resolver>(IOLoop&)> make;
};

template <class Made>
Kind kind(const char* name) {
  return {name, [](IOLoop& loop) { return std::make_unique<Made>(loop); }};
}

// All that the library was built with.
std::vector<Kind> kinds() {
  if (!has_stub()) {
    return {};
  }
  std::vector<Kind> all = {kind<ThreadedResolver>("ThreadedResolver"),
                           kind<CAresResolver>("CAresResolver")};
  try {
    IOLoop loop;
    const CAresResolver built_in(loop);
  } catch (const std::logic_error&) {
    MESSAGE("without CAresResolver: built without c-ares");
    all.pop_back();
  }
  return all;
}

// A loop with a resolver of one kind.
struct Scene {
  explicit Scene(const Kind& kind) : resolver(kind.make(loop)) {
    loop.bound_turns(20000);
  }
  // What the C library is asked, it goes on asking for a while.
  ~Scene() {
    resolver.reset();
    loop.run_until([&] { return fd_count() == fds_of_the_loop; });
  }
  Scene(const Scene&) = delete;
  Scene& operator=(const Scene&) = delete;

  ResolveAnswer resolve(const std::string& host,
                        waterspout::ResolveOptions options = {}) {
    ResolveAnswer answer;
    resolver->resolve(host, 80, options, answer.callback());
    CHECK(answer.calls == 0);
    loop.run_until([&] { return answer.calls == 1; });
    std::sort(answer.addresses.begin(), answer.addresses.end());
    return answer;
  }

  ConnectAnswer connect(const std::string& host, std::uint16_t port,
                        waterspout::ConnectOptions options = {}) {
    TCPClient client(loop, *resolver);
    ConnectAnswer answer;
    client.connect(host, port, std::move(options), answer.callback());
    loop.run_until([&] { return answer.calls == 1; });
    return answer;
  }

  LoopFixture loop;
  const std::size_t fds_of_the_loop = fd_count();
  std::unique_ptr<Resolver> resolver;
};

Socket listen_on(const char* ip, std::uint16_t port = 0) {
  return std::move(bind_sockets(port, ip).front());
}

std::error_code eai(int code) { return {code, resolver_category()}; }

}  // namespace

TEST_SUITE_BEGIN("resolver_dns");

TEST_CASE("A resolver finds what DNS and the hosts file have") {
  struct Example {
    const char* host;
    int family;
    Texts addresses;
  };
  const std::vector<Example> examples = {
      {"four.test", AF_UNSPEC, {"127.0.0.1:80"}},
      {"six.test", AF_UNSPEC, {"[::1]:80"}},
      {"dual.test", AF_UNSPEC, {"127.0.0.1:80", "[::1]:80"}},
      {"dual.test", AF_INET, {"127.0.0.1:80"}},
      {"dual.test", AF_INET6, {"[::1]:80"}},
      {"DUAL.test.", AF_UNSPEC, {"127.0.0.1:80", "[::1]:80"}},
      {"six-unreachable.test", AF_UNSPEC, {"127.0.0.1:80", "[2001:db8::1]:80"}},
      {"truncated.test", AF_UNSPEC, {"127.0.0.1:80"}},
      {"inhosts.test", AF_UNSPEC, {"127.0.0.7:80"}},
      {"localhost", AF_INET, {"127.0.0.1:80"}}};
  for (const Kind& kind : kinds()) {
    CAPTURE(kind.name);
    for (const Example& example : examples) {
      CAPTURE(example.host);
      Scene scene(kind);
      const ResolveAnswer answer =
          scene.resolve(example.host, {.family = example.family});
      CHECK_FALSE(answer.error);
      CHECK(answer.addresses == example.addresses);
    }
  }
}

TEST_CASE("A resolver tells failures apart (D1, D2, D5)") {
  struct Example {
    const char* host;
    int family;
    int code;
  };
  const std::vector<Example> examples = {
      {"nx.test", AF_UNSPEC, EAI_NONAME},
      {"servfail.test", AF_UNSPEC, EAI_AGAIN},
      {"empty.test", AF_UNSPEC, EAI_NODATA},
      {"four.test", AF_INET6, EAI_NODATA}};
  for (const Kind& kind : kinds()) {
    CAPTURE(kind.name);
    for (const Example& example : examples) {
      CAPTURE(example.host);
      Scene scene(kind);
      const ResolveAnswer answer =
          scene.resolve(example.host, {.family = example.family});
      CHECK(answer.error == eai(example.code));
      CHECK(answer.addresses.empty());
    }
  }
}

TEST_CASE("A resolver survives garbage (D5)") {
  for (const Kind& kind : kinds()) {
    CAPTURE(kind.name);
    Scene scene(kind);
    CHECK(scene.resolve("garbage.test", {.timeout = 300ms}).error);
    CHECK_FALSE(scene.resolve("four.test").error);
  }
}

TEST_CASE("A resolver waits for a slow answer, and the loop goes on (D3, D4)") {
  for (const Kind& kind : kinds()) {
    CAPTURE(kind.name);
    Scene scene(kind);
    int beats = 0;
    PeriodicCallback heart(scene.loop, 10ms, [&] { ++beats; });
    heart.start();
    CHECK_FALSE(scene.resolve("slow.test", {.timeout = 10s}).error);
    CHECK(beats >= 10);
    heart.stop();
  }
}

TEST_CASE("No answer ends with our timeout, or the system's (D3)") {
  for (const Kind& kind : kinds()) {
    CAPTURE(kind.name);
    Scene scene(kind);
    CHECK(scene.resolve("drop.test", {.timeout = 100ms}).error ==
          std::errc::timed_out);
  }
  if (has_stub()) {
    Scene scene(kind<ThreadedResolver>("ThreadedResolver"));
    CHECK(scene.resolve("drop.test").error == eai(EAI_AGAIN));
  }
}

TEST_CASE("A resolver gives a huge answer whole (D12)") {
  for (const Kind& kind : kinds()) {
    CAPTURE(kind.name);
    Scene scene(kind);
    CHECK(scene.resolve("many.test").addresses.size() == 500);
  }
}

TEST_CASE("An answer after cancelling reaches nobody") {
  for (const Kind& kind : kinds()) {
    CAPTURE(kind.name);
    Scene scene(kind);
    const Token token;
    RequestHandle handle = scene.resolver->resolve(
        "slow.test", 80, [held = token.copy()](std::error_code, const auto&) {
          FAIL_CHECK("a cancelled request was called back");
        });
    scene.resolve("four.test");
    handle.cancel();
    CHECK(token.alive() == 0);
    CHECK_FALSE(scene.resolve("slow.test").error);
  }
}

TEST_CASE("A resolver may go at any moment, and the loop before it") {
  LoopFixture outer;
  outer.bound_turns(20000);
  const std::size_t fds = fd_count();
  for (const Kind& kind : kinds()) {
    CAPTURE(kind.name);
    for (const bool loop_first : {false, true}) {
      for (const char* host : {"drop.test", "four.test", "127.0.0.1"}) {
        CAPTURE(host);
        auto loop = std::make_unique<IOLoop>();
        std::unique_ptr<Resolver> resolver = kind.make(*loop);
        resolver->resolve(host, 80, {.timeout = 60s},
                          [](std::error_code, const auto&) {
                            FAIL_CHECK("a callback ran that must not");
                          });
        loop->stop();
        loop->start();
        if (loop_first) {
          loop.reset();
        }
        resolver.reset();
        loop.reset();
        // Threads may still ask.
        outer.run_until([&] { return fd_count() == fds; });
      }
    }
  }
}

TEST_CASE("A resolver may go inside a callback, with others on their way") {
  for (const Kind& kind : kinds()) {
    CAPTURE(kind.name);
    Scene scene(kind);
    int calls = 0;
    for (const char* host : {"four.test", "slow.test", "drop.test"}) {
      scene.resolver->resolve(host, 80, [&](std::error_code, const auto&) {
        ++calls;
        scene.resolver.reset();
      });
    }
    scene.loop.run_until([&] { return calls == 1; });
    scene.loop.run_turns(2);
    CHECK(calls == 1);
  }
}

TEST_CASE("Hundreds of questions at once are answered") {
  for (const Kind& kind : kinds()) {
    CAPTURE(kind.name);
    Scene scene(kind);
    const int count = 200;  // as many as the stub's socket can hold
    int calls = 0;
    int failures = 0;
    for (int i = 0; i < count; ++i) {
      scene.resolver->resolve("four.test", 80, {.family = AF_INET},
                              [&](std::error_code error, const auto&) {
                                ++calls;
                                failures += error ? 1 : 0;
                              });
    }
    scene.loop.run_until([&] { return calls == count; }, 20s);
    CHECK(failures == 0);
  }
}

TEST_CASE("TCPClient connects where one family is dead (D6)") {
  for (const Kind& kind : kinds()) {
    CAPTURE(kind.name);
    Scene scene(kind);
    const Socket listener = listen_on("127.0.0.1");
    const std::uint16_t port = listener.local_address().port();
    for (const char* host : {"four.test", "dual.test", "twice.test",
                             "six-unreachable.test", "inhosts.test"}) {
      CAPTURE(host);
      const bool refused = host == std::string("inhosts.test");
      const ConnectAnswer answer = scene.connect(host, port);
      CHECK(bool(answer.error) == refused);
    }
    const Socket six = listen_on("::1", port);
    CHECK(scene.connect("four-unreachable.test", port).stream);
    CHECK(scene.connect("six.test", port).stream);
  }
}

TEST_CASE("TCPClient connects where one family hangs (D6)") {
  for (const Kind& kind : kinds()) {
    CAPTURE(kind.name);
    Scene scene(kind);
    const Socket listener = listen_on("127.0.0.1");
    const FullListener hanging("::1", listener.local_address().port());
    const ConnectAnswer answer =
        scene.connect("dual.test", listener.local_address().port());
    REQUIRE(answer.stream);
    CHECK(answer.stream->peer_address() == listener.local_address());
  }
}

TEST_CASE("TCPClient tells what failed: the name, or each address (D1, D7)") {
  for (const Kind& kind : kinds()) {
    CAPTURE(kind.name);
    Scene scene(kind);
    CHECK(scene.connect("nx.test", 80).error.message ==
          "resolve: nx.test: Name or service not known");
    const ConnectError error = scene.connect("unreachable.test", 80).error;
    CHECK(error.code == std::errc::network_unreachable);
    CHECK(error.attempts.size() == 2);
    CHECK(error.message.find("192.0.2.1:80: Network is unreachable") !=
          std::string::npos);
    CHECK(error.message.find("[2001:db8::1]:80: Network is unreachable") !=
          std::string::npos);
  }
}

TEST_CASE("TCPClient's timeout bounds a name that is never answered (D8)") {
  for (const Kind& kind : kinds()) {
    CAPTURE(kind.name);
    Scene scene(kind);
    const ConnectError error =
        scene.connect("drop.test", 80, {.timeout = 100ms}).error;
    CHECK(error.step == ConnectError::Step::resolve);
    CHECK(error.code == std::errc::timed_out);
  }
}

TEST_SUITE_END();
