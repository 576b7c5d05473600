// StreamPools: the memory that the streams of a loop share.

#pragma once

#include "base/chunk_pool.h"
#include "loop/completion_pool.h"
#include "loop/scratch.h"

namespace waterspout {

/// One for each loop. Outlives what is taken from it.
struct StreamPools {
  ChunkPool chunks;
  CompletionPool completions;
  Scratch scratch;
};

}  // namespace waterspout
