// The steps that take a process into the background.

#pragma once

#include <string>

#include <sys/types.h>

#include "waterspout/daemon.h"

namespace waterspout::detail {

/// `options` with the paths made absolute, as seen from where we are.
/// Errors: throws std::system_error if that is nowhere.
[[nodiscard]] Daemon::Options with_absolute_paths(Daemon::Options options);

/// Forks, with nothing left in a buffer that both processes would write.
/// Errors: throws std::system_error.
[[nodiscard]] pid_t fork_process();

/// Waits for the end of a child, however often a signal interrupts.
void reap_child(pid_t child) noexcept;

/// Replaces the working directory, the umask and the standard streams.
/// Errors: throws std::system_error that names the path.
void enter_background(const Daemon::Options& options);

}  // namespace waterspout::detail
