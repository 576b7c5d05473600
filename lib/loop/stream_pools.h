// StreamPools: what the streams of a loop take memory from.

#pragma once

#include "base/chunk_pool.h"
#include "loop/completion_pool.h"

namespace waterspout {

/// One for each loop. Outlives what is taken from it.
struct StreamPools {
  ChunkPool chunks;
  CompletionPool completions;
};

}  // namespace waterspout
