// Children that no loop watches any more.

#pragma once

#include "base/unique_fd.h"

namespace waterspout {

/// Keeps the pidfd of a child that runs on, for reap_orphans. Thread: any.
void leave_orphan(UniqueFd pid_fd) noexcept;

/// Waits for those orphans that have ended: a look at each, no more. Thread:
/// any.
void reap_orphans() noexcept;

}  // namespace waterspout
