// Processes: one server process for every core.
//
// Floor 5, service.

#pragma once

#include <optional>

#include "waterspout/export.h"
#include "waterspout/ioloop.h"
#include "waterspout/log.h"

namespace waterspout {

/// How many processors this process may run on (sched_getaffinity(2)); at
/// least 1. Thread: any. Tornado: cpu_count().
[[nodiscard]] WATERSPOUT_API int cpu_count() noexcept;

/// Which child of fork_processes this process is: 0 to count - 1; nothing in
/// any other process. Thread: any. Tornado: task_id().
[[nodiscard]] WATERSPOUT_API std::optional<int> task_id() noexcept;

struct ForkOptions {
  /// How often children may be started again, all together.
  int max_restarts = 100;
  /// What children that are told to end have, until they are killed.
  Duration stop_timeout = std::chrono::seconds(10);
  /// Where the parent logs, which has no loop.
  Logger logger = {};
};

/// Forks `count` children, 0 or less for one on every core, and watches over
/// them.
///
///   if (!fork_processes(0)) return 0;
///
/// Every child returns its task id. One that ends by a signal or with a status
/// other than 0 is logged, and started again with the same task id, at once if
/// it has lived for a second, else after a pause that grows from 10 ms to one
/// second; the new process returns from this same call. One that exits with 0
/// is done.
///
/// The parent returns when all children have ended, nothing. On SIGTERM,
/// SIGINT, SIGHUP or SIGQUIT (that it does not ignore) it passes the signal on
/// to the children, in the order of their ids, starts none again, and returns
/// when they have ended; it kills them after the stop_timeout, or at once when
/// a second such signal comes. Handlers of these signals and of SIGCHLD do not
/// run in the parent meanwhile; the children have them as before. Children get
/// SIGTERM when the parent dies. Other child processes are left alone.
///
/// Children start with a fresh seed of rand(3) and random(3).
///
/// Requires: the process has one thread.
/// Errors: throws std::logic_error if a loop is open in this process, which a
///   child could not use, or if this process is such a child itself;
///   std::invalid_argument for a negative max_restarts; std::system_error if
///   fork(2) fails, and std::runtime_error when a child would have to be
///   started again once too often: in the parent, after the other children
///   have been ended as above.
/// Tornado: fork_processes(num_processes, max_restarts), whose parent exits.
[[nodiscard]] WATERSPOUT_API std::optional<int> fork_processes(
    int count, ForkOptions options = {});

}  // namespace waterspout
