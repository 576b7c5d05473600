// The text of an asynchronous backtrace.

#pragma once

#include <string>

#include "waterspout/callback.h"

namespace waterspout {

/// The registrations behind `link`, newest first: "read_until at fetch.cc:41,
/// from connect at fetch.cc:30"; empty if none were recorded.
[[nodiscard]] std::string describe_backtrace(const detail::ContextLink* link);

}  // namespace waterspout
