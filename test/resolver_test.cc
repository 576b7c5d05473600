// Resolvers: what every one of them promises. Names come from FakeNames or from
// nowhere; resolver_threads_test.cc is about threads, resolver_dns_test.cc
// about DNS.

#include "waterspout/resolver.h"

#include <chrono>
#include <memory>
#include <stdexcept>
#include <string>
#include <system_error>
#include <vector>

#include <netdb.h>
#include <sys/socket.h>

#include <doctest/doctest.h>

#include "waterspout/error.h"
#include "waterspout/stack_context.h"

#include "support/contexts.h"
#include "support/fake_names.h"
#include "support/loop_fixture.h"
#include "support/open_questions.h"
#include "support/resolve_answer.h"
#include "support/stream_helpers.h"
#include "support/virtual_clock.h"

using waterspout::Address;
using waterspout::IOLoop;
using waterspout::LogLevel;
using waterspout::RequestHandle;
using waterspout::Resolver;
using waterspout::resolver_category;
using waterspout::StackContext;
using waterspout::ThreadedResolver;
using waterspout::test::entered_contexts;
using waterspout::test::FakeNames;
using waterspout::test::LoopFixture;
using waterspout::test::named;
using waterspout::test::Names;
using waterspout::test::OpenQuestions;
using waterspout::test::ResolveAnswer;
using waterspout::test::Token;
using waterspout::test::VirtualClock;

namespace {

using namespace std::chrono_literals;

std::error_code eai(int code) { return {code, resolver_category()}; }

const std::vector<Address> kSome = {Address("127.0.0.1", 80)};

}  // namespace

TEST_SUITE_BEGIN("resolver");

TEST_CASE("Resolver::resolve answers IP literals, with the port (D14)") {
  LoopFixture loop;
  FakeNames names;  // knows none
  ThreadedResolver resolver(loop);
  struct Example {
    std::string host;
    std::string address;
  };
  const std::vector<Example> examples = {
      {"127.0.0.1", "127.0.0.1:80"},
      {"::1", "[::1]:80"},
      {"[::1]", "[::1]:80"},
      {"fe80::1%lo", "[fe80::1%lo]:80"},
      {"[fe80::1%lo]", "[fe80::1%lo]:80"},
      {"::ffff:127.0.0.1", "[::ffff:127.0.0.1]:80"}};
  for (const Example& example : examples) {
    CAPTURE(example.host);
    ResolveAnswer answer;
    resolver.resolve(example.host, 80, answer.callback());
    CHECK(answer.calls == 0);
    loop.run_until([&] { return answer.calls == 1; });
    CHECK_FALSE(answer.error);
    CHECK(answer.addresses == std::vector<std::string>{example.address});
  }
  CHECK(names.asked().empty());
}

TEST_CASE(
    "Resolver::resolve gives a literal's error where the machine lacks its "
    "zone, or it has another family") {
  LoopFixture loop;
  ThreadedResolver resolver(loop);
  ResolveAnswer zone;
  ResolveAnswer four;
  ResolveAnswer six;
  resolver.resolve("fe80::1%nowhere", 80, zone.callback());
  resolver.resolve("127.0.0.1", 80, {.family = AF_INET6}, four.callback());
  resolver.resolve("::1", 80, {.family = AF_INET}, six.callback());
  loop.run_until([&] { return six.calls == 1; });
  CHECK(zone.error == eai(EAI_NONAME));
  CHECK(four.error == eai(EAI_ADDRFAMILY));
  CHECK(six.error == eai(EAI_ADDRFAMILY));
}

TEST_CASE("Resolver::resolve refuses what can be no host (D13, D14)") {
  LoopFixture loop;
  ThreadedResolver resolver(loop);
  const auto never = [](std::error_code, const std::vector<Address>&) {};
  const std::vector<std::string> hosts = {
      "",
      std::string("127.0.0.1\0.example", 18),
      std::string("\0", 1),
      std::string(254, 'a'),
      std::string(254, 'a') + ".",
      std::string(255, 'a'),
      std::string(256, 'a'),
      std::string(257, '.'),
      "0x" + std::string(246, '0') + "7f000001.x",
      std::string(65536, 'a'),
      "[",
      "]",
      "[]",
      "[::1",
      "::1]",
      "[[::1]]",
      "[127.0.0.1]",
      "[localhost]",
      "localhost:80",
      "127.0.0.1:80",
      "1:2",
      ":",
      "fe80::1%",
      "%lo:",
      "[fe80::1%]"};
  for (const std::string& host : hosts) {
    CAPTURE(host);
    CHECK_THROWS_AS(resolver.resolve(host, 80, never), std::invalid_argument);
  }
  CHECK_THROWS_WITH(resolver.resolve("[::1", 80, never),
                    "resolve: \"[::1\": is no IPv6 literal, and no name");
  CHECK(resolver.pending() == 0);
}

TEST_CASE("Resolver::resolve takes the longest name there is, and its dot") {
  LoopFixture loop;
  FakeNames names;
  ThreadedResolver resolver(loop);
  const std::string longest(Resolver::kLongestName, 'a');
  names.add(longest, {"127.0.0.1"});
  names.add(longest + ".", {"127.0.0.2"});
  ResolveAnswer plain;
  ResolveAnswer dotted;
  resolver.resolve(longest, 80, plain.callback());
  resolver.resolve(longest + ".", 80, dotted.callback());
  loop.run_until([&] { return plain.calls + dotted.calls == 2; });
  CHECK(plain.addresses == std::vector<std::string>{"127.0.0.1:80"});
  CHECK(dotted.addresses == std::vector<std::string>{"127.0.0.2:80"});
}

TEST_CASE("Resolver::resolve refuses options that mean nothing") {
  LoopFixture loop;
  ThreadedResolver resolver(loop);
  const auto never = [](std::error_code, const std::vector<Address>&) {};
  CHECK_THROWS_AS(resolver.resolve("a", 80, {.family = AF_UNIX}, never),
                  std::invalid_argument);
  CHECK_THROWS_AS(resolver.resolve("a", 80, {.timeout = -1ns}, never),
                  std::invalid_argument);
  CHECK_THROWS_AS(resolver.resolve("a", 80, nullptr), std::invalid_argument);
  CHECK_THROWS_AS(ThreadedResolver(loop, {.threads = 0}),
                  std::invalid_argument);
  CHECK(resolver.pending() == 0);
}

TEST_CASE("Resolver gives the addresses in the order of the answer (N-14)") {
  LoopFixture loop;
  FakeNames names;
  names.add("host.test", {"::1", "127.0.0.1", "::1"});
  ThreadedResolver resolver(loop);
  ResolveAnswer both;
  ResolveAnswer four;
  resolver.resolve("host.test", 8080, both.callback());
  resolver.resolve("host.test", 8080, {.family = AF_INET}, four.callback());
  loop.run_until([&] { return both.calls + four.calls == 2; });
  CHECK(both.addresses ==
        std::vector<std::string>{"[::1]:8080", "127.0.0.1:8080", "[::1]:8080"});
  CHECK(four.addresses == std::vector<std::string>{"127.0.0.1:8080"});
}

TEST_CASE("Resolver gives a failure to the callback (test_bad_host)") {
  LoopFixture loop;
  FakeNames names;
  names.add_failure("again.test", EAI_AGAIN);
  names.add_failure("system.test", EAI_SYSTEM, ENETDOWN);
  names.add("empty.test", {});
  ThreadedResolver resolver(loop);
  struct Example {
    std::string host;
    std::error_code error;
  };
  const std::vector<Example> examples = {
      {"an invalid domain", eai(EAI_NONAME)},
      {"again.test", eai(EAI_AGAIN)},
      {"empty.test", eai(EAI_NODATA)},
      {"system.test", std::make_error_code(std::errc::network_down)}};
  for (const Example& example : examples) {
    CAPTURE(example.host);
    ResolveAnswer answer;
    resolver.resolve(example.host, 80, answer.callback());
    loop.run_until([&] { return answer.calls == 1; });
    CHECK(answer.error == example.error);
    CHECK(answer.addresses.empty());
  }
}

TEST_CASE("Resolver::resolve takes the callback's context along") {
  LoopFixture loop;
  OpenQuestions resolver(loop);
  Names seen;
  {
    const StackContext outer(named("request"));
    resolver.resolve("a", 80, [&](std::error_code, const auto&) {
      seen = entered_contexts;
      loop.stop();
    });
  }
  resolver.questions.front().answer({}, kSome);
  CHECK(seen.empty());
  loop.run();
  CHECK(seen == Names{"request"});
}

TEST_CASE("Resolver tells of an exception in its callback, and goes on") {
  LoopFixture loop;
  OpenQuestions resolver(loop);
  ResolveAnswer after;
  resolver.resolve("a", 80, [](std::error_code, const std::vector<Address>&) {
    throw std::out_of_range("mine");
  });
  resolver.resolve("b", 80, after.callback());
  loop.expect_log(LogLevel::error, "std::out_of_range: mine");
  for (const auto& question : resolver.questions) {
    question.answer({}, kSome);
  }
  loop.run_until([&] { return after.calls == 1; });
  REQUIRE(loop.failures.size() == 1);
  CHECK(loop.failures[0].find("resolve at resolver_test.cc") !=
        std::string::npos);
}

TEST_CASE("Resolver::resolve ends at its timeout, and a late answer is lost") {
  const VirtualClock clock;
  LoopFixture loop(clock.options());
  OpenQuestions resolver(loop);
  ResolveAnswer answer;
  const RequestHandle handle =
      resolver.resolve("a", 80, {.timeout = 5s}, answer.callback());
  loop->call_later(4999ms, [&] { CHECK(answer.calls == 0); });
  loop->call_later(6s, [&] { loop.stop(); });
  loop.run();
  CHECK(answer.calls == 1);
  CHECK(answer.error == std::errc::timed_out);
  CHECK(*resolver.dropped == 1);
  CHECK_FALSE(handle.pending());
  resolver.questions.front().answer({}, kSome);
  loop.run_turns(2);
  CHECK(answer.calls == 1);
}

TEST_CASE("An answer takes the timeout away") {
  const VirtualClock clock;
  LoopFixture loop(clock.options());
  OpenQuestions resolver(loop);
  ResolveAnswer answer;
  resolver.resolve("a", 80, {.timeout = 5s}, answer.callback());
  resolver.questions.front().answer({}, kSome);
  CHECK(loop->statistics().timeouts == 0);
  loop.run_turns(2);
  CHECK(answer.calls == 1);
  CHECK(*resolver.dropped == 0);
}

TEST_CASE("RequestHandle::cancel takes a request back, whatever its state") {
  LoopFixture loop;
  OpenQuestions resolver(loop);
  ResolveAnswer answer;
  const Token token;
  RequestHandle handle = resolver.resolve(
      "a", 80, {.timeout = 5s},
      [held = token.copy(), callback = answer.callback()](
          std::error_code error, const auto& addresses) mutable {
        callback(error, addresses);
      });
  RequestHandle copy = handle;
  CHECK(copy.pending());
  SUBCASE("while it is looked up") {}
  SUBCASE("once it is answered") {
    resolver.questions.front().answer({}, kSome);
    CHECK(copy.pending());
  }
  handle.cancel();
  CHECK(token.alive() == 0);
  CHECK_FALSE(copy.pending());
  CHECK(resolver.pending() == 0);
  copy.cancel();
  handle.cancel();
  RequestHandle().cancel();
  resolver.questions.front().answer({}, kSome);
  loop.run_turns(2);
  CHECK(answer.calls == 0);
}

TEST_CASE("RequestHandle::cancel does nothing inside the callback") {
  LoopFixture loop;
  OpenQuestions resolver(loop);
  RequestHandle handle;
  int calls = 0;
  handle = resolver.resolve("a", 80, [&](std::error_code, const auto&) {
    CHECK_FALSE(handle.pending());
    handle.cancel();
    ++calls;
  });
  resolver.questions.front().answer({}, kSome);
  loop.run_until([&] { return calls == 1; });
  CHECK(*resolver.dropped == 0);
}

TEST_CASE("Letting go of the handle changes nothing") {
  LoopFixture loop;
  OpenQuestions resolver(loop);
  ResolveAnswer answer;
  { const RequestHandle gone = resolver.resolve("a", 80, answer.callback()); }
  resolver.questions.front().answer({}, kSome);
  loop.run_until([&] { return answer.calls == 1; });
}

TEST_CASE("A callback may cancel another one that is due") {
  LoopFixture loop;
  OpenQuestions resolver(loop);
  RequestHandle second;
  ResolveAnswer dropped;
  bool ran = false;
  resolver.resolve("a", 80, [&](std::error_code, const auto&) {
    second.cancel();
    ran = true;
  });
  second = resolver.resolve("b", 80, dropped.callback());
  for (const auto& question : resolver.questions) {
    question.answer({}, kSome);
  }
  loop.run_turns(2);
  CHECK(ran);
  CHECK(dropped.calls == 0);
}

TEST_CASE("Destroying a resolver drops what is pending") {
  LoopFixture loop;
  auto resolver = std::make_unique<OpenQuestions>(loop);
  const Token token;
  ResolveAnswer waiting;
  ResolveAnswer answered;
  int ran = 0;
  const auto counts = [&, held = token.copy()](std::error_code, const auto&) {
    ++ran;
    resolver.reset();
  };
  SUBCASE("from outside") {
    resolver->resolve("a", 80, {.timeout = 5s}, waiting.callback());
    resolver->resolve("b", 80, answered.callback());
    resolver->questions[1].answer({}, kSome);
    resolver->questions.clear();
    resolver.reset();
  }
  SUBCASE("inside its own callback") {
    resolver->resolve("a", 80, counts);
    resolver->resolve("b", 80, answered.callback());
    resolver->resolve("c", 80, waiting.callback());
    const std::vector<OpenQuestions::Question> questions = resolver->questions;
    questions[0].answer({}, kSome);
    questions[1].answer({}, kSome);
    loop.run_until([&] { return ran == 1; });
    questions[2].answer({}, kSome);
  }
  loop.run_turns(2);
  CHECK(waiting.calls == 0);
  CHECK(answered.calls == 0);
}

TEST_CASE("Destroying callbacks may destroy the resolver they were given to") {
  LoopFixture loop;
  auto resolver = std::make_shared<OpenQuestions>(loop);
  std::weak_ptr<OpenQuestions> weak = resolver;
  auto handle = resolver->resolve(
      "a", 80, [resolver](std::error_code, const std::vector<Address>&) {});
  resolver->resolve(
      "b", 80, [resolver](std::error_code, const std::vector<Address>&) {});
  resolver.reset();
  SUBCASE("by cancelling") { handle.cancel(); }
  SUBCASE("by closing the loop") {}
  loop->close();
  CHECK(weak.expired());
}

TEST_CASE("Closing the loop drops what is pending, for ever") {
  auto loop = std::make_unique<IOLoop>();
  OpenQuestions resolver(*loop);
  const Token token;
  for (const char* name : {"waiting", "answered"}) {
    resolver.resolve(name, 80, {.timeout = 5s},
                     [held = token.copy()](std::error_code, const auto&) {
                       FAIL_CHECK("a callback of a closed loop ran");
                     });
  }
  resolver.questions[1].answer({}, kSome);
  loop.reset();
  CHECK(token.alive() == 0);
  CHECK(*resolver.dropped == 1);
  CHECK(resolver.pending() == 0);
  resolver.questions[0].answer({}, kSome);
  const auto never = [](std::error_code, const std::vector<Address>&) {};
  CHECK_THROWS_AS(resolver.resolve("a", 80, never), std::logic_error);
  CHECK_THROWS_AS(static_cast<void>(resolver.loop()), std::logic_error);
}

TEST_CASE("A resolver on a closed loop is refused") {
  IOLoop loop;
  loop.close();
  CHECK_THROWS_AS(ThreadedResolver{loop}, std::logic_error);
}

TEST_CASE("A resolver's own answers are checked") {
  LoopFixture loop;
  OpenQuestions resolver(loop);
  ResolveAnswer empty;
  ResolveAnswer other_family;
  ResolveAnswer twice;
  resolver.resolve("a", 80, empty.callback());
  resolver.resolve("b", 80, {.family = AF_INET6}, other_family.callback());
  resolver.resolve("c", 80, twice.callback());
  resolver.questions[0].answer({}, {});
  resolver.questions[1].answer({}, kSome);
  resolver.questions[2].answer({}, kSome);
  resolver.questions[2].answer(eai(EAI_FAIL), {});
  CHECK(twice.calls == 0);
  loop.run_turns(2);
  CHECK(empty.error == eai(EAI_NODATA));
  CHECK(other_family.error == eai(EAI_NODATA));
  CHECK(twice.calls == 1);
  CHECK_FALSE(twice.error);
}

TEST_CASE("What look_up throws leaves resolve, and nothing is pending") {
  LoopFixture loop;
  OpenQuestions resolver(loop);
  resolver.refusal = "not today";
  const Token token;
  CHECK_THROWS_WITH(
      resolver.resolve("a", 80, {.timeout = 5s},
                       [held = token.copy()](std::error_code, const auto&) {}),
      "not today");
  CHECK(token.alive() == 0);
  CHECK(resolver.pending() == 0);
}

TEST_SUITE_END();
