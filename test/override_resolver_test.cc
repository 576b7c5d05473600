// OverrideResolver: what it replaces, and what it passes on.

#include <stdexcept>
#include <string>
#include <system_error>
#include <vector>

#include <netdb.h>
#include <sys/socket.h>

#include <doctest/doctest.h>

#include "waterspout/error.h"
#include "waterspout/resolver.h"

#include "support/fake_names.h"
#include "support/loop_fixture.h"
#include "support/open_questions.h"
#include "support/resolve_answer.h"

using waterspout::HostAndPort;
using waterspout::OverrideResolver;
using waterspout::RequestHandle;
using waterspout::resolver_category;
using waterspout::ThreadedResolver;
using waterspout::test::FakeNames;
using waterspout::test::LoopFixture;
using waterspout::test::OpenQuestions;
using waterspout::test::ResolveAnswer;

TEST_SUITE_BEGIN("override_resolver");

TEST_CASE("OverrideResolver looks at host and port, then at the host (N-17)") {
  LoopFixture loop;
  FakeNames names;
  names.add("plain.test", {"127.0.0.3"});
  names.add("alias.test", {"127.0.0.4"});
  ThreadedResolver inner(loop);
  OverrideResolver resolver(
      inner, {.endpoints = {{{"both.test", 443}, {"127.0.0.1", 8443}}},
              .hosts = {{"both.test", "127.0.0.2"},
                        {"Name.Test", "alias.test"},
                        {"alias.test", "127.0.0.9"},
                        {"127.0.0.8", "127.0.0.5"}}});
  struct Example {
    HostAndPort asked;
    std::string address;
  };
  const std::vector<Example> examples = {{{"both.test", 443}, "127.0.0.1:8443"},
                                         {{"both.test", 80}, "127.0.0.2:80"},
                                         {{"BOTH.test", 443}, "127.0.0.1:8443"},
                                         {{"name.test", 80}, "127.0.0.4:80"},
                                         {{"127.0.0.8", 80}, "127.0.0.5:80"},
                                         {{"127.0.0.7", 80}, "127.0.0.7:80"},
                                         {{"plain.test", 80}, "127.0.0.3:80"}};
  for (const Example& example : examples) {
    CAPTURE(example.address);
    ResolveAnswer answer;
    resolver.resolve(example.asked.host, example.asked.port, answer.callback());
    loop.run_until([&] { return answer.calls == 1; });
    CHECK(answer.addresses == std::vector<std::string>{example.address});
  }
}

TEST_CASE("OverrideResolver passes on the family, failures and cancelling") {
  LoopFixture loop;
  OpenQuestions inner(loop);
  OverrideResolver resolver(inner, {.hosts = {{"a", "b"}}});
  ResolveAnswer failed;
  ResolveAnswer cancelled;
  resolver.resolve("a", 80, {.family = AF_INET6}, failed.callback());
  RequestHandle handle = resolver.resolve("a", 80, cancelled.callback());
  handle.cancel();
  CHECK(*inner.dropped == 1);
  CHECK(inner.pending() == 1);
  CHECK(inner.questions[0].host() == "b");
  CHECK(inner.questions[0].family() == AF_INET6);
  const std::error_code again(EAI_AGAIN, resolver_category());
  inner.questions[0].answer(again, {});
  loop.run_until([&] { return failed.calls == 1; });
  CHECK(failed.error == again);
  CHECK(cancelled.calls == 0);
}

TEST_CASE("OverrideResolver refuses a replacement that can be no host") {
  LoopFixture loop;
  OpenQuestions inner(loop);
  CHECK_THROWS_AS(OverrideResolver(inner, {.hosts = {{"a", ""}}}),
                  std::invalid_argument);
  CHECK_THROWS_AS(
      OverrideResolver(inner, {.endpoints = {{{"a", 1}, {"[b", 1}}}}),
      std::invalid_argument);
}

TEST_SUITE_END();
