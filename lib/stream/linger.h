// Lingering output: what a closed stream has reported as written and the kernel
// had no room for yet.

#pragma once

#include <memory>

#include "loop/loop_core.h"
#include "stream/transport.h"
#include "stream/write_queue.h"

namespace waterspout {

/// Sends `rest` through `transport` in the background and then closes it: when
/// all is sent, when sending fails, after ten seconds, or when the loop closes,
/// whichever is first. `orderly`: the peer is told that this is the end. Throws
/// std::bad_alloc or std::system_error and has then closed it at once.
void send_in_background(detail::LoopCore& core,
                        std::unique_ptr<Transport> transport, WriteQueue rest,
                        bool orderly);

}  // namespace waterspout
