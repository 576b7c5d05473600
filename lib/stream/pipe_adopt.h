// Makes a stream of a pipe's end that is ours alone.

#pragma once

#include <memory>

#include "waterspout/pipe_iostream.h"

#include "base/unique_fd.h"

namespace waterspout {

/// A stream on `fd`, which is non-blocking for good and closed on exec already.
/// Errors: throws as PipeIOStream::create.
[[nodiscard]] std::shared_ptr<PipeIOStream> adopt_pipe(
    IOLoop& loop, UniqueFd fd, BaseIOStream::Options options);

/// Errors: throws std::invalid_argument for options that a PipeIOStream cannot
/// have.
void check_pipe_options(const BaseIOStream::Options& options);

}  // namespace waterspout
