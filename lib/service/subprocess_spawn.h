// Starts a program with posix_spawn(3).
//
// Not fork(2): what a fork may do before it has become the program is little in
// a process with threads, it copies the page tables of a large process, and it
// doubles what is written to memory meanwhile. posix_spawn shares the memory
// until then, with all signals held back, and tells why the program could not
// be started.

#pragma once

#include <array>
#include <string>
#include <vector>

#include <sys/types.h>

#include "waterspout/subprocess.h"

#include "base/unique_fd.h"

namespace waterspout {

/// What becomes descriptor 0, 1 and 2 of the child; none: as in this process.
/// All are above these numbers, so that none is in the way of another.
using ChildFds = std::array<UniqueFd, 3>;

struct SpawnRequest {
  const std::vector<std::string>& command;
  const SubprocessOptions& options;
  const ChildFds& fds;
};

/// Errors: throws std::invalid_argument for what can be no argument or
/// variable.
void check_spawn(const std::vector<std::string>& command,
                 const SubprocessOptions& options);

/// The child's process id.
/// Errors: throws std::system_error; there is no child then.
[[nodiscard]] pid_t spawn(const SpawnRequest& request);

}  // namespace waterspout
