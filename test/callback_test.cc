// What a Callback is made from, what it passes on, and where it was made.

#include "waterspout/callback.h"

#include <array>
#include <exception>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>

#include <doctest/doctest.h>

#include "waterspout/origin.h"
#include "waterspout/stack_context.h"

using waterspout::Callback;
using waterspout::ExceptionStackContext;
using waterspout::NullContext;
using waterspout::Origin;
using waterspout::StackContext;

namespace {

int doubled(int value) { return 2 * value; }

struct Adder {
  int base = 0;
  [[nodiscard]] int add(int value) const { return base + value; }
};

// The place of the conversion is that of the call which makes it.
Origin place_of(Callback<void()> callback) { return callback.origin(); }

}  // namespace

TEST_SUITE_BEGIN("callback");

TEST_CASE("Callback can be moved and not copied") {
  using C = Callback<void()>;
  static_assert(std::is_nothrow_move_constructible_v<C>);
  static_assert(std::is_nothrow_move_assignable_v<C>);
  static_assert(std::is_nothrow_default_constructible_v<C>);
  static_assert(!std::is_copy_constructible_v<C>);
  static_assert(!std::is_copy_assignable_v<C>);
}

TEST_CASE("Callback converts only from what can be called that way") {
  static_assert(!std::is_convertible_v<int, Callback<void()>>);
  static_assert(!std::is_convertible_v<void (*)(int), Callback<void()>>);
  static_assert(!std::is_convertible_v<void (*)(), Callback<int()>>);
  static_assert(std::is_convertible_v<int (*)(), Callback<void()>>);
  static_assert(std::is_convertible_v<short (*)(long), Callback<int(int)>>);
}

TEST_CASE("Callback tests false when it is empty") {
  CHECK_FALSE(Callback<void()>());
  CHECK_FALSE(Callback<void()>(nullptr));
  CHECK_FALSE(Callback<void()>(std::function<void()>()));
  CHECK_FALSE(Callback<int(int)>(static_cast<int (*)(int)>(nullptr)));
  CHECK_FALSE(Callback<int(const Adder&, int)>(
      static_cast<int (Adder::*)(int) const>(nullptr)));
  CHECK(Callback<void()>([] {}));
}

TEST_CASE("Callback made empty captures no context") {
  const ExceptionStackContext guard(
      [](const std::exception_ptr&) { return true; });

  CHECK(Callback<void()>(std::function<void()>()).context() == nullptr);
  CHECK(Callback<void()>([] {}).context() != nullptr);
}

TEST_CASE("Callback passes arguments and the result on") {
  Callback<int(int)> function = doubled;
  Callback<int(const Adder&, int)> member = &Adder::add;
  Callback<std::string(std::string, const std::string&)> joined =
      [](std::string a, const std::string& b) { return std::move(a) + b; };

  CHECK(function(21) == 42);
  CHECK(member(Adder{40}, 2) == 42);
  CHECK(joined("a", "b") == "ab");
}

TEST_CASE("Callback passes references and what can only be moved") {
  int target = 0;
  Callback<int*(int&)> place = [](int& value) { return &value; };
  Callback<std::unique_ptr<int>(std::unique_ptr<int>)> through =
      [](std::unique_ptr<int> value) { return value; };

  CHECK(place(target) == &target);
  CHECK(*through(std::make_unique<int>(7)) == 7);
}

TEST_CASE("Callback takes a callable that can only be moved") {
  Callback<int()> callback = [value = std::make_unique<int>(7)] {
    return *value;
  };
  Callback<int()> moved = std::move(callback);

  CHECK_FALSE(callback);
  CHECK(moved() == 7);
}

TEST_CASE(
    "Callback may be called more than once and keeps the callable's "
    "state") {
  Callback<int()> count = [n = 0]() mutable { return ++n; };

  CHECK(count() == 1);
  CHECK(count() == 2);
}

TEST_CASE("Callback remembers where it was made") {
  const Callback<void()> callback = [] {};
  const unsigned line = __LINE__ - 1;

  CHECK(callback.origin().line() == line);
  CHECK(callback.origin().file() == __FILE__);
  CHECK_FALSE(Callback<void()>().origin());
}

TEST_CASE("Callback that a call converts to remembers the place of the call") {
  const Origin origin = place_of([] {});
  const unsigned line = __LINE__ - 1;

  CHECK(origin.line() == line);
}

TEST_CASE("Callback keeps its origin and its context when it is moved") {
  Callback<void()> callback;
  const void* context = nullptr;
  {
    const StackContext scope([] { return 0; });
    callback = [] {};
    context = callback.context();
  }
  const unsigned line = callback.origin().line();
  Callback<void()> moved = std::move(callback);

  CHECK(moved.origin().line() == line);
  CHECK(moved.context() == context);
  CHECK(context != nullptr);
}

TEST_CASE("Callback lets an exception through that no context handles") {
  Callback<void()> plain = [] { throw std::out_of_range("plain"); };
  CHECK_THROWS_AS(plain(), std::out_of_range);

  const StackContext context([] { return 0; });
  Callback<int()> inside = []() -> int { throw std::out_of_range("inside"); };
  CHECK_THROWS_AS(inside(), std::out_of_range);
}

TEST_CASE("Callback gives R{} where the exception was handled") {
  const ExceptionStackContext guard(
      [](const std::exception_ptr&) { return true; });
  Callback<int()> number = []() -> int { throw std::out_of_range("x"); };
  Callback<std::string()> text = []() -> std::string { throw 7; };

  CHECK(number() == 0);
  CHECK(text().empty());
}

TEST_CASE("Callback gives its result through a context") {
  const StackContext context([] { return 0; });
  Callback<int(int)> number = doubled;
  Callback<std::unique_ptr<int>()> pointer = [] {
    return std::make_unique<int>(7);
  };

  CHECK(number(21) == 42);
  CHECK(*pointer() == 7);
}

TEST_CASE("Callback restores the caller's context, also when it throws") {
  const StackContext context([] { return 0; });
  const Callback<void()> before = [] {};
  Callback<void()> outside;
  {
    const NullContext none;
    outside = [] { throw std::out_of_range("x"); };
  }
  CHECK_THROWS_AS(outside(), std::out_of_range);
  const Callback<void()> after = [] {};

  CHECK(after.context() == before.context());
}

TEST_CASE(
    "Callback that is called once is empty while it runs, and takes the next") {
  std::string log;
  Callback<void()> callback;
  callback = [&] {
    log += callback ? "full" : "empty";
    callback = [&log] { log += ", next"; };
    log += callback ? ", full" : ", empty";
  };

  callback.call_once();
  callback.call_once();

  CHECK(log == "empty, full, next");
  CHECK_FALSE(callback);
}

TEST_CASE("Callback that is called once gives its result") {
  Callback<int(int)> small = doubled;
  std::array<int, 64> table{};
  table.back() = 7;
  Callback<int(int)> large = [table](int add) { return table.back() + add; };

  CHECK(small.call_once(21) == 42);
  CHECK(large.call_once(1) == 8);
  CHECK_FALSE(small);
  CHECK_FALSE(large);
}

TEST_CASE("Callback that is called once runs inside its own context") {
  std::string log;
  Callback<void()> inside;
  {
    const ExceptionStackContext context([&](const std::exception_ptr&) {
      log += "handled";
      return true;
    });
    inside = [] { throw std::out_of_range("x"); };
  }
  const ExceptionStackContext other([&](const std::exception_ptr&) {
    log += "other";
    return true;
  });

  inside.call_once();

  CHECK(log == "handled");
}

TEST_SUITE_END();
