// Where a Callback keeps its callable, and when that dies.

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <functional>
#include <new>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>

#include <doctest/doctest.h>

#include "waterspout/callback.h"
#include "waterspout/origin.h"
#include "waterspout/stack_context.h"

#include "support/sanitizers.h"

using waterspout::Callback;
using waterspout::ExceptionStackContext;
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

TEST_SUITE_BEGIN("callback_storage");

TEST_CASE("Callback costs 64 bytes") {
  static_assert(sizeof(Callback<void()>) == 64);
  static_assert(sizeof(Callback<int(std::string, int)>) == 64);
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
