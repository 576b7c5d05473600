#include "base/block_pool.h"

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>
#include <vector>

#include <doctest/doctest.h>

using waterspout::BlockPool;

TEST_SUITE_BEGIN("block_pool");

TEST_CASE("a block that came back is the next of its size") {
  BlockPool pool;
  void* const first = pool.take(600);
  pool.give_back(first, 600);
  void* const again = pool.take(590);  // on the same shelf
  CHECK((again == first) == (BlockPool::kKept != 0));
  void* const other = pool.take(100);
  CHECK(other != first);
  pool.give_back(again, 590);
  pool.give_back(other, 100);
}

TEST_CASE("every block has room for what it was taken for, and is aligned") {
  BlockPool pool;
  for (int round = 0; round < 2; ++round) {
    for (std::size_t size = 0; size <= BlockPool::kLargest + 100; ++size) {
      void* const block = pool.take(size);
      CHECK(reinterpret_cast<std::uintptr_t>(block) %
                alignof(std::max_align_t) ==
            0);
      std::memset(block, 0xa5, size);
      CHECK(BlockPool::rounded(size) >= size);
      pool.give_back(block, size);
    }
  }
}

TEST_CASE("no more blocks are kept than were made, nor than kKept") {
  BlockPool pool;
  // Made elsewhere: kept for nobody, so a sanitizer or valgrind sees it freed.
  pool.give_back(::operator new(BlockPool::rounded(64)), 64);
  std::vector<void*> blocks;
  for (std::size_t i = 0; i < BlockPool::kKept + 10; ++i) {
    blocks.push_back(pool.take(64));
  }
  CHECK(pool.kept(64) == 0);
  for (void* const block : blocks) {
    pool.give_back(block, 64);
  }
  CHECK(pool.kept(64) == BlockPool::kKept);
  pool.give_back(::operator new(BlockPool::rounded(64)), 64);
  CHECK(pool.kept(64) == BlockPool::kKept);
}

TEST_SUITE_END();
