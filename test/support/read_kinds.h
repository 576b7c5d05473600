// Tables of every kind of read, for what holds for all of them.

#pragma once

#include <functional>
#include <vector>

#include "waterspout/iostream.h"

namespace waterspout::test {

struct ReadKind {
  const char* name;
  std::function<void(IOStream&, IOStream::ReadCallback)> start;
};

/// Every kind of read; "abc\n" and the end of the stream satisfy each.
[[nodiscard]] const std::vector<ReadKind>& read_kinds();

/// Reads that are wrong in themselves: std::invalid_argument.
[[nodiscard]] const std::vector<ReadKind>& wrong_reads();

}  // namespace waterspout::test
