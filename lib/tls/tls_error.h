// OpenSSL's errors as ours. OpenSSL keeps them in a queue of the thread:
// whoever handles one empties it, so that none is taken for another
// connection's.

#pragma once

#include <string>
#include <string_view>
#include <system_error>

struct ssl_st;

namespace waterspout {

struct TLSFailure {
  std::error_code code;
  std::string detail;  ///< in OpenSSL's words

  explicit operator bool() const noexcept { return static_cast<bool>(code); }
};

/// Forgets what others have left in the queue.
void clear_openssl_errors() noexcept;

/// Why a step of `ssl` has failed; empties the queue. `established`: its
/// handshake was done before.
[[nodiscard]] TLSFailure take_tls_failure(const ssl_st* ssl, bool established);

/// Throws SSLError "what: reason" with the first error of the queue, and
/// empties it.
[[noreturn]] void throw_ssl_error(std::string_view what);

}  // namespace waterspout
