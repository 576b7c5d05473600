// A stream against its model on random operations; test/fuzz/stream_model.cc
// has the model.
//
// WATERSPOUT_MODEL_SEEDS=100000 tries more, WATERSPOUT_MODEL_FIRST=7 begins
// with another seed.

#include "fuzz/stream_model.h"

#include <cstdint>
#include <cstdlib>
#include <random>
#include <string>
#include <vector>

#include <doctest/doctest.h>

using waterspout::test::run_stream_model;

namespace {

std::uint64_t number_from(const char* variable, std::uint64_t otherwise) {
  const char* const text = std::getenv(variable);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

std::vector<std::uint8_t> random_bytes(std::uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<std::uint8_t> bytes(20 + random() % 1500);
  for (std::uint8_t& byte : bytes) {
    byte = static_cast<std::uint8_t>(random());
  }
  return bytes;
}

}  // namespace

TEST_SUITE_BEGIN("stream_model");

TEST_CASE("A stream does what its model does, whatever the operations") {
  const std::uint64_t seeds = number_from("WATERSPOUT_MODEL_SEEDS", 2000);
  const std::uint64_t first = number_from("WATERSPOUT_MODEL_FIRST", 1);
  for (std::uint64_t seed = first; seed < first + seeds; ++seed) {
    CAPTURE(seed);
    CHECK(run_stream_model(random_bytes(seed)) == "");
  }
}

TEST_SUITE_END();
