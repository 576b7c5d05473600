// Makes streams of connections that a server has accepted.

#pragma once

#include <memory>

#include "waterspout/iostream.h"

#include "base/unique_fd.h"

namespace waterspout {

/// A stream on `fd`, which is connected, non-blocking and closed on exec
/// already: spares the system calls with which IOStream::create finds that out.
/// `companion` is let go of when the descriptor is closed.
/// Errors: throws as IOStream::create.
[[nodiscard]] std::shared_ptr<IOStream> adopt_accepted(
    IOLoop& loop, UniqueFd fd, IOStream::Options options,
    std::shared_ptr<void> companion);

}  // namespace waterspout
