// How many loops this process has open: who forks must know.

#pragma once

#include <string_view>

namespace waterspout {

/// Counted by every loop from its construction to its close.
void count_open_loop(bool opened) noexcept;

/// For operations that fork: a child shares its parent's epoll instance and
/// could not use the loop. Errors: throws std::logic_error that names
/// `operation` if a loop is open in this process, on whatever thread.
void check_no_open_loop(std::string_view operation);

}  // namespace waterspout
