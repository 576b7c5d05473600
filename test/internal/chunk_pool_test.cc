#include "base/chunk_pool.h"

#include <cstddef>
#include <string>

#include <doctest/doctest.h>

#include "base/chunk_deque.h"

using waterspout::Chunk;
using waterspout::ChunkDeque;
using waterspout::ChunkPool;

TEST_SUITE_BEGIN("chunk_pool");

TEST_CASE(
    "ChunkPool keeps returned chunks up to its bound and gives them out "
    "again") {
  ChunkPool pool;
  {
    ChunkDeque deque(pool);
    for (int i = 0; i < 1000; ++i) {
      deque.append_chunk(std::string(3000, 'x'));
    }
    CHECK(pool.kept_bytes() == 0);
  }
  CHECK(pool.kept_bytes() > 0);
  CHECK(pool.kept_bytes() <= ChunkPool::kKeptBytes);

  const std::size_t kept = pool.kept_bytes();
  Chunk* const again = pool.take(3000);
  CHECK(again->size() == 0);
  CHECK(again->capacity >= 3000);
  CHECK(pool.kept_bytes() < kept);
  pool.give_back(again);
  CHECK(pool.kept_bytes() == kept);
}

TEST_CASE("ChunkPool keeps one chunk of each size that a large message has") {
  for (std::size_t size = 1024; size <= std::size_t{512} * 1024; size *= 2) {
    CAPTURE(size);
    ChunkPool pool;
    Chunk* const chunk = pool.take(size);
    pool.give_back(chunk);
    CHECK(pool.kept_bytes() == size);
    Chunk* const again = pool.take(size - size / 4);
    CHECK(again == chunk);
    CHECK(pool.kept_bytes() == 0);
    pool.give_back(again);
  }
}

TEST_CASE("ChunkPool does not keep chunks that were made to measure") {
  ChunkPool pool;
  pool.give_back(pool.take(512));
  for (const std::size_t size :
       {(std::size_t{512} << 10U) + 1, ChunkPool::kKeptBytes,
        std::size_t{1} << 20U}) {
    pool.give_back(pool.take(size));
    CHECK(pool.kept_bytes() == 512);
  }
}

TEST_CASE("ChunkPool keeps chunks of the sizes that are used now") {
  ChunkPool pool;
  const auto use = [&](std::size_t size, std::size_t count) {
    ChunkDeque deque(pool);
    for (std::size_t i = 0; i < count; ++i) {
      deque.append_chunk(std::string(size, 'x'));
    }
  };
  const auto keeps = [&](std::size_t size) {
    const std::size_t kept = pool.kept_bytes();
    Chunk* const chunk = pool.take(size);
    const bool kept_one = pool.kept_bytes() < kept;
    pool.give_back(chunk);
    return kept_one;
  };
  use(1024, 10'000);
  CHECK(pool.kept_bytes() == ChunkPool::kKeptBytes);
  use(512 * 1024, 1);
  CHECK(keeps(512 * 1024));
  CHECK(keeps(1024));
  use(4096, 1000);
  CHECK(keeps(4096));
  CHECK(pool.kept_bytes() <= ChunkPool::kKeptBytes);
}

TEST_CASE("ChunkPool lets go of the size that was wanted longest ago") {
  ChunkPool pool;
  pool.give_back(pool.take(256 * 1024));
  pool.give_back(pool.take(512 * 1024));
  Chunk* const small = pool.take(512);
  Chunk* const middle = pool.take(256 * 1024);
  pool.give_back(middle);
  pool.give_back(small);  // the one of 512 KiB makes room for it
  CHECK(pool.kept_bytes() == 512 + 256 * 1024);
}

TEST_CASE("ChunkPool lets nothing go for a chunk that finds no room anyway") {
  ChunkPool pool;
  Chunk* const first = pool.take(512 * 1024);
  Chunk* const second = pool.take(512 * 1024);
  pool.give_back(pool.take(256 * 1024));
  pool.give_back(first);
  pool.give_back(second);
  CHECK(pool.kept_bytes() == (512 + 256) * 1024);
}

TEST_SUITE_END();
