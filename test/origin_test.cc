#include "waterspout/origin.h"

#include <string>
#include <type_traits>

#include <doctest/doctest.h>

using waterspout::Origin;

namespace {

Origin called_at(Origin origin = Origin::here()) { return origin; }

}  // namespace

TEST_SUITE_BEGIN("origin");

TEST_CASE("Origin is eight bytes and trivially copied") {
  static_assert(sizeof(Origin) == 8);
  static_assert(std::is_trivially_copyable_v<Origin>);
}

TEST_CASE("Origin names no place by default") {
  constexpr Origin kNowhere;

  CHECK_FALSE(kNowhere);
  CHECK(kNowhere.file().empty());
  CHECK(kNowhere.line() == 0);
  CHECK(kNowhere.to_string() == "unknown");
}

TEST_CASE("Origin::here as a default argument is the place of the call") {
  const Origin origin = called_at();
  const unsigned line = __LINE__ - 1;

  CHECK(origin);
  CHECK(origin.file() == __FILE__);
  CHECK(origin.line() == line);
  CHECK(origin.to_string() == "origin_test.cc:" + std::to_string(line));
}

TEST_CASE("Origin::to_string leaves the directories out") {
  CHECK(Origin("/a/b.d/fetch.cc", 41).to_string() == "fetch.cc:41");
  CHECK(Origin("fetch.cc", 41).to_string() == "fetch.cc:41");
  CHECK(Origin("/a/b.d/fetch.cc", 41).file() == "/a/b.d/fetch.cc");
}

TEST_CASE("Origin keeps lines past 65,535 as 65,535") {
  CHECK(Origin("x.cc", 65534).line() == 65534);
  CHECK(Origin("x.cc", 65535).line() == 65535);
  CHECK(Origin("x.cc", 65536).line() == 65535);
  CHECK(Origin("x.cc", 4'000'000'000).line() == 65535);
  CHECK(Origin("x.cc", 4'000'000'000).file() == "x.cc");
}

TEST_SUITE_END();
