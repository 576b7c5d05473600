// What https needs besides http: whom to trust, and what to present.

#pragma once

#include <optional>

#include "waterspout/ssl.h"

#include "http_fetch/options.h"

namespace http_fetch {

/// The one TLS context of a run.
///
/// Lifetime: `options` outlives it.
class Trust {
 public:
  explicit Trust(const Options& options) : options_(options) {}

  /// Makes the context when it is asked for first: whoever fetches by http
  /// alone loads no authorities.
  ///
  /// Errors: throws std::runtime_error for files that are no good, and where
  ///   the library was built without TLS; a second call tries again.
  [[nodiscard]] const waterspout::SSLContext& context();

 private:
  const Options& options_;
  std::optional<waterspout::SSLContext> context_;
};

}  // namespace http_fetch
