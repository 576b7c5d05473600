// The server's side of TLS, for those peers who call OpenSSL.

#pragma once

#include <memory>

#include <openssl/ssl.h>

#include "peers/common.h"

namespace peers {

struct FreeTlsContext {
  void operator()(SSL_CTX* context) const noexcept { ::SSL_CTX_free(context); }
};

using TlsContext = std::unique_ptr<SSL_CTX, FreeTlsContext>;

/// Null without a certificate.
TlsContext make_tls_context(const Setup& setup);

/// A session that waits for its client's hello.
SSL* make_tls_session(SSL_CTX* context);

/// Throws std::runtime_error that names `operation` and OpenSSL's reason.
[[noreturn]] void throw_tls_error(const char* operation);

/// Tells the client that this is the end of what we send, if it can still hear
/// it, and without waiting.
void end_tls_output(SSL* session) noexcept;

/// After this the session is over: nothing more is sent in it.
void give_up_tls(SSL* session) noexcept;

}  // namespace peers
