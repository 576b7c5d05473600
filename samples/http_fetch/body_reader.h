// Reads a response's body from a stream: a chain of callbacks for each way in
// which a body can end.

#pragma once

#include <functional>
#include <memory>
#include <string_view>

#include "waterspout/iostream.h"

#include "http_fetch/http_head.h"

namespace http_fetch {

using PieceCallback = std::function<void(std::string_view piece)>;
using EndCallback = std::function<void()>;

/// Reads the body that follows on `stream`, in pieces: there is never more in
/// memory than one piece and what the stream has buffered ahead, and while
/// `on_piece` is busy nothing is read, which in the end stops the server.
///
/// Callback: `on_piece` for every piece, `on_end` once, behind the last.
/// Neither
///   from inside this call. If the stream closes early neither is called any
///   more; but a body that ends with the connection ends by our own close()
///   too.
/// Errors: a body that breaks the rules is an exception in a callback of the
///   stream. One that is cut short is told by the stream's close callback.
void read_body(std::shared_ptr<waterspout::IOStream> stream,
               const Framing& framing, PieceCallback on_piece,
               EndCallback on_end);

}  // namespace http_fetch
