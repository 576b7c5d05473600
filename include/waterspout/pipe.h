// Connects streams: what one reads, the other writes. For proxies and copies.
// (Streams on the pipes of pipe(7) are in pipe_iostream.h.)
//
//   pipe_both(client, upstream, [](PipeResult sent, PipeResult received) {
//     ...
//   });
//
// Floor 5, service.

#pragma once

#include <cstdint>
#include <memory>
#include <system_error>

#include "waterspout/callback.h"
#include "waterspout/export.h"
#include "waterspout/iostream.h"

namespace waterspout {

/// What has gone one way.
struct PipeResult {
  std::uint64_t bytes = 0;  ///< taken by the stream that writes
  /// Why it ended before the end of the data: the error() of the stream that
  /// read, or of that which wrote; StreamErrc::closed where that was closed
  /// without one; ENOMEM. None at the end of the data.
  std::error_code error = {};
};

/// Writes to `to` everything that `from` reads, until its end, which it carries
/// over: `to` gets a shutdown_write() if it was made with half_close, else a
/// close_after_writing(). Then calls `callback`, never inside this call.
///
/// No more than 64 KiB are on their way, so a slow reader slows the other side.
/// Bytes that `from` had received before it failed or was closed still arrive,
/// unless memory runs out (ENOMEM).
/// At an error both streams are left as they are, `from` perhaps with a read
/// whose data is dropped: closing them is the caller's.
///
/// Until the callback runs, the pipe has the reading of `from` and the writing
/// of `to`, the close callbacks of both and the read-end callback of `from`,
/// which it replaces, and takes back at its end. To end it, close a stream.
/// Lifetime: the loop holds it and the streams as long as these are open. If
/// their loop closes, the callback is dropped.
/// Errors: throws std::invalid_argument for no stream, twice the same one, or
///   an empty callback; std::logic_error if `from` has a pending read, or the
///   two are on different loops.
WATERSPOUT_API void pipe(std::shared_ptr<BaseIOStream> from,
                         std::shared_ptr<BaseIOStream> to,
                         Callback<void(PipeResult)> callback);

/// The same in both directions at once, each of which ends by itself; the
/// streams should be half_close, or the end of one direction is that of both.
/// Where one stream fails or is closed, the other is closed after what is under
/// way for it has been written. Calls `callback` when both directions have
/// ended, and leaves both streams closed, or about to.
WATERSPOUT_API void pipe_both(
    std::shared_ptr<BaseIOStream> a, std::shared_ptr<BaseIOStream> b,
    Callback<void(PipeResult a_to_b, PipeResult b_to_a)> callback);

}  // namespace waterspout
