// Certificates, keys and trust, out of files and texts into a context.

#pragma once

#include "waterspout/ssl.h"

#include "tls/openssl_ptr.h"

namespace waterspout {

// Errors of all: as SSLContext::client.

/// Our certificate, its chain and its key, if the options have any.
void load_identity(SSL_CTX* context, const SSLOptions& options);

/// Whom the context trusts. Where `for_server`, it is told to clients too.
void load_trust(SSL_CTX* context, const SSLOptions& options, bool for_server);

/// Whether the options say whom to trust.
[[nodiscard]] bool names_trust(const SSLOptions& options);

/// What `certificate` says.
[[nodiscard]] SSLCertificate describe_certificate(X509* certificate);

}  // namespace waterspout
