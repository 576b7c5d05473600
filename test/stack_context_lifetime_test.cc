// Switching contexts off, and how long they live.

#include <array>
#include <cstddef>
#include <exception>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <doctest/doctest.h>

#include "waterspout/stack_context.h"

#include "support/contexts.h"

using waterspout::Callback;
using waterspout::Deactivate;
using waterspout::ExceptionStackContext;
using waterspout::StackContext;
using waterspout::test::asks_for_contexts;
using waterspout::test::entered_contexts;
using waterspout::test::keeps;
using waterspout::test::named;
using waterspout::test::Names;
using waterspout::test::throws;

TEST_SUITE_BEGIN("stack_context_lifetime");

TEST_CASE(
    "Deactivate keeps callbacks that were made before out of the "
    "context (SC-5)") {
  for (const std::size_t off : {0U, 1U, 2U}) {
    const StackContext head(named("c0"));
    const StackContext middle(named("c1"));
    const StackContext tail(named("c2"));
    Callback<Names()> callback = asks_for_contexts();
    const std::array all{head.deactivate(), middle.deactivate(),
                         tail.deactivate()};
    const Names scopes = entered_contexts;
    Names expected = scopes;
    expected.insert(expected.end(), scopes.begin(), scopes.end());
    expected.erase(expected.begin() + 3 + static_cast<std::ptrdiff_t>(off));

    all.at(off)();
    CHECK(callback() == expected);
    CHECK(asks_for_contexts()() == expected);
    all.at(off)();  // twice is as once
    CHECK(callback() == expected);

    for (const Deactivate& deactivate : all) {
      deactivate();
    }
    CHECK(callback() == scopes);
    CHECK(asks_for_contexts()() == scopes);
  }
}

TEST_CASE(
    "Deactivate leaves the handlers at the head, in the middle and at "
    "the tail in order (test_deactivate_order)") {
  for (const std::size_t off : {0U, 1U, 2U}) {
    Names log;
    const ExceptionStackContext head(keeps(log, false, "0 "));
    const StackContext between(named("c"));
    const ExceptionStackContext middle(keeps(log, false, "1 "));
    const ExceptionStackContext tail(keeps(log, false, "2 "));
    Callback<void()> callback = throws("x");
    const std::array all{head.deactivate(), middle.deactivate(),
                         tail.deactivate()};

    all.at(off)();
    CHECK_THROWS_AS(callback(), std::out_of_range);
    Names expected;
    for (const std::size_t i : {2U, 1U, 0U}) {
      if (i != off) {
        expected.push_back(std::to_string(i) + " std::out_of_range: x");
      }
    }
    CHECK(log == expected);
  }
}

TEST_CASE(
    "Deactivate does not disturb the callback that is running inside "
    "(SC-5)") {
  Names log;
  std::optional<Deactivate> deactivate;
  Callback<void()> callback;
  {
    const ExceptionStackContext guard(keeps(log, true));
    deactivate = guard.deactivate();
    callback = [&deactivate] {
      (*deactivate)();
      throw std::out_of_range("still guarded");
    };
  }
  callback();
  CHECK(log == Names{"std::out_of_range: still guarded"});
  CHECK_THROWS_AS(callback(), std::out_of_range);
  CHECK(log.size() == 1);
}

TEST_CASE(
    "Deactivate may be copied, outlive the scope and be called on any "
    "thread") {
  Callback<Names()> callback;
  std::optional<Deactivate> deactivate;
  {
    const StackContext c1(named("c1"));
    callback = asks_for_contexts();
    deactivate = c1.deactivate();
  }
  std::thread([copy = *deactivate] { copy(); }).join();

  CHECK(callback().empty());
}

TEST_CASE("Contexts are released with the last callback made inside (SC-16)") {
  const auto alive = std::make_shared<int>();
  Callback<void()> first;
  Callback<void()> second;
  {
    const ExceptionStackContext guard(
        [alive](const std::exception_ptr&) { return true; });
    first = [] {};
    const StackContext context([alive] { return alive; });
    second = [] {};
  }
  first();
  second();
  CHECK(alive.use_count() > 1);
  second = nullptr;
  CHECK(alive.use_count() == 2);
  first = nullptr;
  CHECK(alive.use_count() == 1);
}

TEST_CASE(
    "Contexts hold no cycle when a context's handler holds a callback "
    "of an outer one (SC-16)") {
  const auto alive = std::make_shared<int>();
  {
    const ExceptionStackContext outer(
        [alive](const std::exception_ptr&) { return true; });
    auto report = std::make_shared<Callback<void()>>([alive] {});
    const ExceptionStackContext inner(
        [report](const std::exception_ptr&) { return false; });
    Callback<void()> callback = throws("x");
    callback();
  }
  CHECK(alive.use_count() == 1);
}

TEST_CASE("Contexts nested a million deep are released in constant stack") {
  constexpr std::size_t kDepth = 1'000'000;
  Callback<void()> callback;
  {
    std::vector<std::unique_ptr<StackContext>> scopes;
    scopes.reserve(kDepth);
    for (std::size_t i = 0; i < kDepth; ++i) {
      scopes.push_back(std::make_unique<StackContext>([] { return 0; }));
    }
    callback = [] {};
    while (!scopes.empty()) {
      scopes.pop_back();
    }
  }
  callback = nullptr;
  CHECK_FALSE(callback);
}

TEST_CASE("A callback runs in its contexts on whatever thread calls it") {
  Callback<Names()> callback;
  {
    const StackContext c1(named("c1"));
    callback = asks_for_contexts();
  }
  Names seen;
  Names after{"not empty"};
  std::thread([&] {
    seen = callback();
    after = asks_for_contexts()();
  }).join();
  CHECK(seen == Names{"c1"});
  CHECK(after.empty());
}

TEST_SUITE_END();
