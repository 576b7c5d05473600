// From a host's name to its addresses.

#pragma once

#include <cstdint>
#include <deque>
#include <string>

#include "waterspout/address.h"

namespace http_fetch {

/// The addresses of `host`, a name or an IP literal, in the order in which to
/// try them; at least one.
///
/// This asks the C library and waits for the answer, and while it waits no loop
/// turns and no timeout fires. http_fetch resolves the names of the command
/// line before it starts the loop, where nothing is held up but the beginning;
/// the name in a redirect does hold up the other fetches.
///
/// Errors: throws std::runtime_error.
[[nodiscard]] std::deque<waterspout::Address> resolve(const std::string& host,
                                                      std::uint16_t port);

}  // namespace http_fetch
