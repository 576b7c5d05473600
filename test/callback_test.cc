#include "waterspout/callback.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <memory>
#include <new>
#include <optional>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>

#include <doctest/doctest.h>

#include "waterspout/origin.h"
#include "waterspout/stack_context.h"

#include "support/sanitizers.h"

using waterspout::Callback;
using waterspout::ExceptionStackContext;
using waterspout::NullContext;
using waterspout::Origin;
using waterspout::StackContext;
using waterspout::test::kSanitized;

namespace {

thread_local std::size_t allocations = 0;

// `function` allocates `expected` times. A sanitizer's allocator is not
// counted.
template <class Function>
void check_allocations(std::size_t expected, Function function) {
  const std::size_t before = allocations;
  function();
  if (!kSanitized) {
    CHECK(allocations - before == expected);
  }
}

// Counts the copies and moves, and knows whether it is alive.
struct Witness {
  explicit Witness(int& alive) : alive_(&alive) { ++*alive_; }
  Witness(const Witness& other) : alive_(other.alive_) { ++*alive_; }
  Witness(Witness&& other) noexcept : alive_(other.alive_) { ++*alive_; }
  Witness& operator=(const Witness&) = delete;
  Witness& operator=(Witness&&) = delete;
  ~Witness() { --*alive_; }
  void operator()() const {}

  int* alive_;
};

int doubled(int value) { return 2 * value; }

struct Adder {
  int base = 0;
  [[nodiscard]] int add(int value) const { return base + value; }
};

// The place of the conversion is that of the call which makes it.
Origin place_of(Callback<void()> callback) { return callback.origin(); }

}  // namespace

// A sanitizer brings its own, which must not be replaced.
#ifndef WATERSPOUT_TEST_SANITIZED

void* operator new(std::size_t size) {
  ++allocations;
  void* const memory = std::malloc(size == 0 ? 1 : size);
  if (memory == nullptr) {
    throw std::bad_alloc();
  }
  return memory;
}

void* operator new(std::size_t size, std::align_val_t alignment) {
  ++allocations;
  const auto align = static_cast<std::size_t>(alignment);
  void* const memory =
      std::aligned_alloc(align, (size + align - 1) & ~(align - 1));
  if (memory == nullptr) {
    throw std::bad_alloc();
  }
  return memory;
}

void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t /*size*/) noexcept {
  std::free(memory);
}
void operator delete(void* memory, std::align_val_t /*alignment*/) noexcept {
  std::free(memory);
}
void operator delete(void* memory, std::size_t /*size*/,
                     std::align_val_t /*alignment*/) noexcept {
  std::free(memory);
}

#endif

TEST_SUITE_BEGIN("callback");

TEST_CASE("Callback can be moved and not copied") {
  using C = Callback<void()>;
  static_assert(std::is_nothrow_move_constructible_v<C>);
  static_assert(std::is_nothrow_move_assignable_v<C>);
  static_assert(std::is_nothrow_default_constructible_v<C>);
  static_assert(!std::is_copy_constructible_v<C>);
  static_assert(!std::is_copy_assignable_v<C>);
}

TEST_CASE("Callback costs 64 bytes") {
  static_assert(sizeof(Callback<void()>) == 64);
  static_assert(sizeof(Callback<int(std::string, int)>) == 64);
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

TEST_CASE("Callback keeps 40 bytes without allocating") {
  const std::array<std::byte, 40> fits{};
  const std::array<std::byte, 41> too_large{};

  check_allocations(0, [&] { Callback<void()>([fits] { (void)fits; }); });
  check_allocations(
      1, [&] { Callback<void()>([too_large] { (void)too_large; }); });
}

TEST_CASE("Callback allocates for a callable whose move may throw") {
  struct Throwing {
    Throwing() = default;
    Throwing(const Throwing&) = default;
    // NOLINTNEXTLINE(performance-noexcept-move-constructor): the point
    Throwing(Throwing&& /*other*/) {}
    void operator()() const {}
  };
  check_allocations(1, [] { Callback<void()>{Throwing()}; });
}

TEST_CASE("Callback keeps an over-aligned callable aligned") {
  struct alignas(64) Aligned {
    std::uintptr_t operator()() const {
      return reinterpret_cast<std::uintptr_t>(this) % 64;
    }
  };
  Callback<std::uintptr_t()> callback = Aligned();
  Callback<std::uintptr_t()> moved = std::move(callback);

  CHECK(moved() == 0);
}

TEST_CASE(
    "Callback is moved and called without allocating, whatever it "
    "holds") {
  const std::array<std::byte, 400> large{};
  Callback<void()> callback = [large] { (void)large; };

  check_allocations(0, [&] {
    Callback<void()> moved = std::move(callback);
    moved();
    callback = std::move(moved);
    callback();
  });
}

TEST_CASE("Callback allocates nothing for a context that is in force") {
  const StackContext context([] { return 0; });

  check_allocations(0, [] { Callback<void()>([] {}); });
}

TEST_CASE("Callback destroys its callable once") {
  int alive = 0;
  SUBCASE("when it is destroyed") {
    { const Callback<void()> callback = Witness(alive); }
  }
  SUBCASE("when it was moved") {
    Callback<void()> first = Witness(alive);
    Callback<void()> second = std::move(first);
    CHECK(alive == 1);
    first = std::move(second);
    CHECK(alive == 1);
    first = nullptr;
  }
  SUBCASE("when another is assigned") {
    int other = 0;
    Callback<void()> callback = Witness(alive);
    callback = Witness(other);
    CHECK(alive == 0);
    CHECK(other == 1);
  }
  SUBCASE("when it does not fit inside") {
    const std::array<std::byte, 100> large{};
    Callback<void()> callback = [large, witness = Witness(alive)] {
      (void)large;
    };
    Callback<void()> moved = std::move(callback);
    CHECK(alive == 1);
    moved = nullptr;
  }
  CHECK(alive == 0);
}

TEST_CASE("Callback survives being moved to itself") {
  int alive = 0;
  Callback<void()> callback = Witness(alive);
  Callback<void()>& same = callback;

  callback = std::move(same);

  CHECK(callback);
  CHECK(alive == 1);
}

TEST_CASE(
    "Callback assigned to holds the new callable before the old one is "
    "destroyed") {
  Callback<int()> callback;
  std::optional<int> seen;
  struct Looks {
    Looks(Callback<int()>& watched, std::optional<int>& result)
        : watched_(&watched), seen_(&result) {}
    Looks(Looks&& other) noexcept
        : watched_(std::exchange(other.watched_, nullptr)),
          seen_(other.seen_) {}
    Looks(const Looks&) = delete;
    Looks& operator=(const Looks&) = delete;
    Looks& operator=(Looks&&) = delete;
    ~Looks() {
      if (watched_ != nullptr) {
        *seen_ = (*watched_)();
      }
    }
    int operator()() const { return 1; }
    Callback<int()>* watched_;
    std::optional<int>* seen_;
  };
  callback = Looks(callback, seen);

  callback = [] { return 2; };

  CHECK(seen == 2);
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

TEST_CASE("Callback that throws while it is converted leaves nothing behind") {
  struct Refuses {
    Refuses() = default;
    Refuses(const Refuses& /*other*/) { throw std::out_of_range("copy"); }
    void operator()() const {}
  };
  int alive = 0;
  const ExceptionStackContext guard(
      [witness = Witness(alive)](const std::exception_ptr&) { return true; });
  const Refuses refuses;

  CHECK_THROWS_AS(Callback<void()>{refuses}, std::out_of_range);
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

TEST_CASE("Callback that is called once dies when it has run, or has thrown") {
  for (const bool in_context : {false, true}) {
    CAPTURE(in_context);
    int alive = 0;
    std::optional<ExceptionStackContext> context;
    if (in_context) {
      context.emplace([](const std::exception_ptr&) { return false; });
    }
    Callback<void()> quiet = [witness = Witness(alive)] {};
    Callback<void()> loud = [witness = Witness(alive)] {
      throw std::out_of_range("x");
    };
    REQUIRE(alive == 2);

    quiet.call_once();
    CHECK(alive == 1);
    CHECK_THROWS_AS(loud.call_once(), std::out_of_range);
    CHECK(alive == 0);
    CHECK_FALSE(loud);
  }
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

TEST_CASE("Callback::make_in_place takes what is never empty and cannot fail") {
  using Plain = Callback<void()>;
  const auto small = [] {};
  const auto large = [bytes = std::array<char, 41>{}] { (void)bytes; };
  struct ThrowingCopy {
    ThrowingCopy() = default;
    ThrowingCopy(const ThrowingCopy& /*other*/) {}
    void operator()() const {}
  };
  static_assert(Plain::kMadeInPlace<decltype(small)>);
  static_assert(Plain::kMadeInPlace<decltype(small)&>);
  static_assert(!Plain::kMadeInPlace<decltype(large)>);
  static_assert(!Plain::kMadeInPlace<ThrowingCopy&>);
  static_assert(!Plain::kMadeInPlace<std::function<void()>>);
  static_assert(!Plain::kMadeInPlace<void (*)()>);
  static_assert(!Plain::kMadeInPlace<std::nullptr_t>);
  static_assert(!Plain::kMadeInPlace<Plain>);
  static_assert(!Callback<void(int)>::kMadeInPlace<decltype(small)>);
}

TEST_CASE("Callback::make_in_place makes what a conversion does") {
  int alive = 0;
  Callback<int(int)> callback;
  callback.make_in_place([witness = Witness(alive),
                          sum = 1](int more) mutable { return sum += more; },
                         Origin("a.cc", 7));
  CHECK(alive == 1);
  CHECK(callback.origin().line() == 7);
  CHECK(callback.context() == nullptr);
  Callback<int(int)> moved = std::move(callback);
  CHECK(moved(2) == 3);
  CHECK(moved(2) == 5);
  moved.reset();
  CHECK(alive == 0);
}

TEST_CASE("Callback::reset makes it empty and destroys what it held") {
  int alive = 0;
  Callback<void()> callback = [witness = Witness(alive)] {};
  callback.reset();
  CHECK(alive == 0);
  CHECK_FALSE(callback);
  callback.reset();
  CHECK_FALSE(callback);
}

TEST_SUITE_END();
