// What an SSLContext holds.

#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "waterspout/ssl.h"

#include "tls/openssl_ptr.h"
#include "tls/session_cache.h"

namespace waterspout::detail {

/// Constant once made, but for the sessions. OpenSSL's callbacks have its
/// address: it outlives its SSL_CTX, and every connection holds it.
struct SSLContextState {
  SSLContext::Role role = SSLContext::Role::client;
  bool accept_truncation = false;
  bool keeps_sessions = false;                // a client's, in `sessions`
  std::vector<unsigned char> alpn_protocols;  // as they stand on the wire
  std::map<std::string, SSLContext> by_name;  // in lower case
  SessionCache sessions;
  ContextPtr context;
};

}  // namespace waterspout::detail
