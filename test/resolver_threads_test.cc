// ThreadedResolver: its threads, and answers that come too late for anybody.

#include <algorithm>
#include <chrono>
#include <memory>
#include <string>
#include <system_error>
#include <vector>

#include <doctest/doctest.h>
#include <event2/event.h>

#include "waterspout/resolver.h"

#include "support/fake_names.h"
#include "support/few_descriptors.h"
#include "support/loop_fixture.h"
#include "support/resolve_answer.h"
#include "support/sanitizers.h"
#include "support/stream_helpers.h"

using waterspout::IOLoop;
using waterspout::PeriodicCallback;
using waterspout::RequestHandle;
using waterspout::ThreadedResolver;
using waterspout::test::FakeNames;
using waterspout::test::FewDescriptors;
using waterspout::test::LoopFixture;
using waterspout::test::ResolveAnswer;
using waterspout::test::scaled;
using waterspout::test::Token;

namespace {

using namespace std::chrono_literals;

// A loop, names, and a resolver that may go first.
struct LookupScene {
  explicit LookupScene(std::size_t threads = 4)
      : resolver(std::make_unique<ThreadedResolver>(
            *loop, ThreadedResolver::Options{.threads = threads})) {
    names.add("host.test", {"127.0.0.1"});
    names.add("held.test", {"127.0.0.2"});
    names.hold("held.test");
  }

  // Waits until so many are held; a loop that turned would do no harm.
  void wait_held(std::size_t count) {
    fixture.run_until([&] { return names.held() == count; });
  }

  FakeNames names;
  LoopFixture fixture;
  IOLoop* loop = &fixture.loop();
  std::unique_ptr<ThreadedResolver> resolver;
};

}  // namespace

TEST_SUITE_BEGIN("resolver_threads");

TEST_CASE("ThreadedResolver resolves localhost (test_localhost)") {
  LoopFixture loop;
  ThreadedResolver resolver(loop);
  ResolveAnswer answer;
  resolver.resolve("localhost", 80, answer.callback());
  CHECK(answer.calls == 0);
  loop.run_until([&] { return answer.calls == 1; });
  CHECK_FALSE(answer.error);
  CHECK(std::count(answer.addresses.begin(), answer.addresses.end(),
                   "127.0.0.1:80") == 1);
}

TEST_CASE("ThreadedResolver does not hold up the loop (D3)") {
  LookupScene scene;
  ResolveAnswer answer;
  scene.resolver->resolve("held.test", 80, answer.callback());
  int beats = 0;
  PeriodicCallback heart(*scene.loop, 1ms, [&] {
    if (++beats == 20) {
      CHECK(answer.calls == 0);
      scene.names.release();
    }
  });
  heart.start();
  scene.fixture.run_until([&] { return answer.calls == 1; });
  CHECK(beats >= 20);
  CHECK(answer.addresses == std::vector<std::string>{"127.0.0.2:80"});
  heart.stop();
}

TEST_CASE(
    "ThreadedResolver asks in so many threads at most, first come first") {
  LookupScene scene(2);
  std::vector<ResolveAnswer> answers(6);
  for (ResolveAnswer& answer : answers) {
    scene.resolver->resolve("held.test", 80, answer.callback());
  }
  scene.wait_held(2);
  CHECK(scene.names.asked().size() == 2);
  scene.names.release();
  scene.fixture.run_until([&] { return scene.resolver->pending() == 0; });
  CHECK(scene.names.most_held() == 2);
  for (const ResolveAnswer& answer : answers) {
    CHECK(answer.calls == 1);
  }
}

TEST_CASE("A question that is cancelled before its turn costs no thread") {
  LookupScene scene(1);
  ResolveAnswer first;
  ResolveAnswer last;
  scene.resolver->resolve("held.test", 80, first.callback());
  scene.wait_held(1);
  RequestHandle handle = scene.resolver->resolve(
      "host.test", 80, [](std::error_code, const auto&) {});
  scene.resolver->resolve("last.test", 80, last.callback());
  handle.cancel();
  scene.names.release();
  scene.fixture.run_until([&] { return last.calls == 1; });
  CHECK(scene.names.asked() ==
        std::vector<std::string>{"held.test", "last.test"});
}

TEST_CASE("The answer to a cancelled question comes too late for anybody") {
  LookupScene scene;
  const Token token;
  RequestHandle handle = scene.resolver->resolve(
      "held.test", 80, [held = token.copy()](std::error_code, const auto&) {
        FAIL_CHECK("a cancelled request was called back");
      });
  scene.wait_held(1);
  handle.cancel();
  CHECK(token.alive() == 0);
  scene.names.release();
  ResolveAnswer next;
  scene.resolver->resolve("host.test", 80, next.callback());
  scene.fixture.run_until([&] { return next.calls == 1; });
}

TEST_CASE("A question times out while a thread is busy with it (D8)") {
  LookupScene scene;
  ResolveAnswer answer;
  scene.resolver->resolve("held.test", 80, {.timeout = 5ms}, answer.callback());
  scene.fixture.run_until([&] { return answer.calls == 1; });
  CHECK(answer.error == std::errc::timed_out);
  scene.names.release();
}

TEST_CASE("Destroying a resolver waits for no thread (D10)") {
  LookupScene scene(1);
  const Token token;
  for (const char* name : {"held.test", "host.test"}) {
    scene.resolver->resolve(
        name, 80, [held = token.copy()](std::error_code, const auto&) {
          FAIL_CHECK("a callback without its resolver ran");
        });
  }
  scene.wait_held(1);
  scene.resolver.reset();
  CHECK(token.alive() == 0);
  SUBCASE("while it is under way") {}
  SUBCASE("whose answer then comes") {
    scene.names.release();
    scene.fixture.run_until([&] { return scene.names.held() == 0; });
  }
  scene.fixture.run_turns(2);
  CHECK(scene.names.asked() == std::vector<std::string>{"held.test"});
}

TEST_CASE("Closing the loop waits for no thread (D11)") {
  FakeNames names;
  names.add("held.test", {"127.0.0.2"});
  names.hold("held.test");
  auto loop = std::make_unique<IOLoop>();
  auto resolver = std::make_unique<ThreadedResolver>(*loop);
  const Token token;
  resolver->resolve("held.test", 80,
                    [held = token.copy()](std::error_code, const auto&) {
                      FAIL_CHECK("a callback of a closed loop ran");
                    });
  SUBCASE("and the resolver may outlive it") {
    loop.reset();
    CHECK(token.alive() == 0);
    resolver.reset();
  }
  SUBCASE("nor does destroying both") {
    resolver.reset();
    loop.reset();
  }
  names.release();
  CHECK(token.alive() == 0);
}

TEST_CASE("Threads of many resolvers come and go with them") {
  FakeNames names;
  names.add("host.test", {"127.0.0.1"});
  LoopFixture loop;
  loop.bound_turns(10000);
  for (int round = 0; round < scaled(100); ++round) {
    ThreadedResolver resolver(loop);
    int calls = 0;
    for (int i = 0; i < 8; ++i) {
      resolver.resolve("host.test", 80,
                       [&](std::error_code, const auto&) { ++calls; });
    }
    if (round % 2 == 0) {
      loop.run_until([&] { return calls == 8; });
    }
  }
}

TEST_CASE("Ten thousand questions at once are all answered") {
  LookupScene scene;
  scene.fixture.bound_turns(30000);
  const int count = scaled(10000);
  int calls = 0;
  for (int i = 0; i < count; ++i) {
    scene.resolver->resolve("host.test", 80, {.timeout = 60s},
                            [&](std::error_code error, const auto& addresses) {
                              CHECK_FALSE(error);
                              CHECK(addresses.size() == 1);
                              ++calls;
                            });
  }
  CHECK(scene.resolver->pending() == static_cast<std::size_t>(count));
  scene.fixture.run_until([&] { return calls == count; }, 20s);
}

TEST_CASE("Ten thousand questions are cancelled as they stand") {
  LookupScene scene(1);
  std::vector<RequestHandle> handles;
  for (int i = 0; i < scaled(10000); ++i) {
    handles.push_back(scene.resolver->resolve(
        "held.test", 80, [](std::error_code, const auto&) {
          FAIL_CHECK("a cancelled request was called back");
        }));
  }
  for (RequestHandle& handle : handles) {
    handle.cancel();
  }
  CHECK(scene.resolver->pending() == 0);
  CHECK(scene.names.asked().size() <= 1);
}

TEST_CASE("A thread that cannot be made fails the question (R23)") {
  if (!FakeNames::kFailsThreads) {
    MESSAGE("skipped: a sanitizer makes the threads");
    return;
  }
  LookupScene scene;
  FakeNames::fail_threads(1);
  ResolveAnswer failed;
  scene.resolver->resolve("host.test", 80, failed.callback());
  scene.fixture.run_until([&] { return failed.calls == 1; });
  CHECK(failed.error == std::errc::resource_unavailable_try_again);
  ResolveAnswer later;
  scene.resolver->resolve("host.test", 80, later.callback());
  scene.fixture.run_until([&] { return later.calls == 1; });
  CHECK_FALSE(later.error);
}

TEST_CASE("Where no more threads can be made, those that there are do (R23)") {
  if (!FakeNames::kFailsThreads) {
    MESSAGE("skipped: a sanitizer makes the threads");
    return;
  }
  LookupScene scene;
  ResolveAnswer first;
  ResolveAnswer second;
  scene.resolver->resolve("held.test", 80, first.callback());
  scene.wait_held(1);
  FakeNames::fail_threads(1);
  scene.resolver->resolve("host.test", 80, second.callback());
  scene.fixture.run_turns(2);
  CHECK(second.calls == 0);
  scene.names.release();
  scene.fixture.run_until([&] { return second.calls == 1; });
  CHECK_FALSE(second.error);
}

TEST_CASE("A resolver that gets no descriptor says so, and recovers") {
  LookupScene scene;
  ResolveAnswer failed;
  ResolveAnswer literal;
  {
    const FewDescriptors few(0);
    scene.resolver->resolve("host.test", 80, failed.callback());
    scene.resolver->resolve("127.0.0.1", 80, literal.callback());
  }
  scene.fixture.run_until([&] { return failed.calls + literal.calls == 2; });
  CHECK(failed.error == std::errc::too_many_files_open);
  CHECK_FALSE(literal.error);
  ResolveAnswer later;
  scene.resolver->resolve("host.test", 80, later.callback());
  scene.fixture.run_until([&] { return later.calls == 1; });
  CHECK_FALSE(later.error);
}

TEST_CASE(
    "A pending question, and no other, keeps a borrowed base's loop going") {
  struct FreeBase {
    void operator()(event_base* base) const { event_base_free(base); }
  };
  FakeNames names;
  names.add("held.test", {"127.0.0.2"});
  names.hold("held.test");
  const std::unique_ptr<event_base, FreeBase> base(event_base_new());
  IOLoop loop(base.get());
  ThreadedResolver resolver(loop);
  ResolveAnswer answer;
  RequestHandle handle = resolver.resolve("held.test", 80, answer.callback());
  int expected = 0;
  SUBCASE("until it is answered") {
    loop.call_later(5ms, [&] {
      CHECK(answer.calls == 0);
      names.release();
    });
    expected = 1;
  }
  SUBCASE("until it is cancelled") {
    loop.call_later(5ms, [&] { handle.cancel(); });
  }
  CHECK(event_base_dispatch(base.get()) == 1);  // nothing is left
  CHECK(answer.calls == expected);
}

TEST_SUITE_END();
