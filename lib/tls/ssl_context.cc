#include <stdexcept>
#include <utility>

#include <openssl/err.h>

#include "waterspout/ssl.h"

#include "tls/credentials.h"
#include "tls/host_name.h"
#include "tls/ssl_context_state.h"
#include "tls/tls_error.h"
#include "tls/tls_session.h"

namespace waterspout {
namespace {

using detail::SSLContextState;

constexpr std::string_view kSessionContext = "waterspout";
constexpr std::size_t kLongestProtocol = 255;

SSLVerify verify_of(const SSLOptions& options, SSLContext::Role role) {
  return options.verify.value_or(
      role == SSLContext::Role::client ? SSLVerify::required : SSLVerify::none);
}

void check_options(const SSLOptions& options, SSLContext::Role role) {
  const bool server = role == SSLContext::Role::server;
  const bool nameless =
      options.certificate_file.empty() && options.certificate.empty();
  if (options.ktls) {
    throw std::invalid_argument(
        "ktls: is not to be had: OpenSSL would have to hold the socket");
  }
  if (server && nameless && options.sni_contexts.empty()) {
    throw std::invalid_argument("certificate: a server needs one");
  }
  if (!server && !options.sni_contexts.empty()) {
    throw std::invalid_argument("sni_contexts: are for servers");
  }
  if (options.maximum_version < options.minimum_version) {
    throw std::invalid_argument(
        "maximum_version: is below the minimum_version");
  }
  if (server && verify_of(options, role) != SSLVerify::none &&
      !names_trust(options) && !options.system_ca) {
    throw std::invalid_argument(
        "verify: a server that verifies clients needs a ca");
  }
}

std::vector<unsigned char> wire_form(const std::vector<std::string>& names) {
  std::vector<unsigned char> wire;
  for (const std::string& name : names) {
    if (name.empty() || name.size() > kLongestProtocol) {
      throw std::invalid_argument("alpn_protocols: a name has 1 to 255 bytes");
    }
    wire.push_back(static_cast<unsigned char>(name.size()));
    wire.insert(wire.end(), name.begin(), name.end());
  }
  return wire;
}

int version_number(SSLVersion version) {
  return version == SSLVersion::tls1_2 ? TLS1_2_VERSION : TLS1_3_VERSION;
}

void set_versions_and_ciphers(SSL_CTX* context, const SSLOptions& options) {
  SSL_CTX_set_min_proto_version(context,
                                version_number(options.minimum_version));
  SSL_CTX_set_max_proto_version(context,
                                version_number(options.maximum_version));
  if (!options.ciphers.empty() &&
      SSL_CTX_set_cipher_list(context, options.ciphers.c_str()) != 1) {
    throw_ssl_error("ciphers: " + options.ciphers);
  }
  if (!options.ciphersuites.empty() &&
      SSL_CTX_set_ciphersuites(context, options.ciphersuites.c_str()) != 1) {
    throw_ssl_error("ciphersuites: " + options.ciphersuites);
  }
}

void set_verification(SSL_CTX* context, const SSLOptions& options,
                      SSLContext::Role role) {
  const SSLVerify verify = verify_of(options, role);
  const bool server = role == SSLContext::Role::server;
  int mode = SSL_VERIFY_NONE;
  if (verify == SSLVerify::required) {
    mode = SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
  } else if (verify == SSLVerify::optional) {
    mode = SSL_VERIFY_PEER;
  }
  SSL_CTX_set_verify(context, mode, nullptr);
  const bool trusts = verify != SSLVerify::none || names_trust(options);
  if (trusts) {
    load_trust(context, options, server);
  }
}

// Sessions of a name are not resumed under another that verifies more.
bool may_resume(const SSLOptions& options, const SSLContextState& state) {
  bool resumes = options.resumption;
  for (const auto& named : state.by_name) {
    const bool verifies =
        named.second.verifies() ||
        SSL_CTX_get_verify_mode(state.context.get()) != SSL_VERIFY_NONE;
    resumes = resumes && !verifies;
  }
  return resumes;
}

// --- What OpenSSL calls. No exception may leave these.

// NOLINTNEXTLINE(readability-function-size): OpenSSL says what it gets
int choose_protocol(SSL* /*ssl*/, const unsigned char** chosen,
                    unsigned char* size, const unsigned char* offered,
                    unsigned int offered_size, void* object) noexcept {
  const auto& wire = static_cast<SSLContextState*>(object)->alpn_protocols;
  unsigned char* choice = nullptr;
  const int result = SSL_select_next_proto(
      &choice, size, wire.data(), static_cast<unsigned int>(wire.size()),
      offered, offered_size);
  *chosen = choice;
  return result == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK
                                          : SSL_TLSEXT_ERR_ALERT_FATAL;
}

// Switching takes over the certificate; who is verified has to follow.
int choose_context(SSL* ssl, int* /*alert*/, void* object) noexcept {
  const auto& by_name = static_cast<SSLContextState*>(object)->by_name;
  const char* const name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
  if (name == nullptr) {
    return SSL_TLSEXT_ERR_NOACK;
  }
  try {
    const auto found = by_name.find(lower_case(name));
    if (found != by_name.end()) {
      SSL_CTX* const context = found->second.native();
      if (SSL_set_SSL_CTX(ssl, context) == nullptr) {
        return SSL_TLSEXT_ERR_ALERT_FATAL;
      }
      SSL_set_verify(ssl, SSL_CTX_get_verify_mode(context), nullptr);
    }
    return SSL_TLSEXT_ERR_OK;
  } catch (...) {
    return SSL_TLSEXT_ERR_ALERT_FATAL;
  }
}

// --- Setting up the two roles

void set_up_client(SSLContextState& state, const SSLOptions& options) {
  SSL_CTX* const context = state.context.get();
  // This one answers 0 when it is content.
  if (!state.alpn_protocols.empty() &&
      SSL_CTX_set_alpn_protos(
          context, state.alpn_protocols.data(),
          static_cast<unsigned int>(state.alpn_protocols.size())) != 0) {
    throw_ssl_error("alpn_protocols");
  }
  state.keeps_sessions = options.resumption;
  if (options.resumption) {
    SSL_CTX_set_session_cache_mode(
        context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(context, &TLSSession::keep_session);
  }
}

// Sessions live in the tickets alone: nothing is kept for clients that may
// never come back.
void set_up_server(SSLContextState& state, const SSLOptions& options) {
  SSL_CTX* const context = state.context.get();
  for (const auto& [name, named] : options.sni_contexts) {
    if (named.role() != SSLContext::Role::server) {
      throw std::invalid_argument("sni_contexts: " + name +
                                  ": is a client's context");
    }
    state.by_name.emplace(lower_case(parse_host_name(name).text), named);
  }
  if (!state.by_name.empty()) {
    // The macro for it has a C cast.
    SSL_CTX_callback_ctrl(context, SSL_CTRL_SET_TLSEXT_SERVERNAME_CB,
                          reinterpret_cast<void (*)()>(&choose_context));
    SSL_CTX_set_tlsext_servername_arg(context, &state);
  }
  if (!state.alpn_protocols.empty()) {
    SSL_CTX_set_alpn_select_cb(context, &choose_protocol, &state);
  }
  SSL_CTX_set_options(context, SSL_OP_CIPHER_SERVER_PREFERENCE);
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_session_id_context(
      context, reinterpret_cast<const unsigned char*>(kSessionContext.data()),
      static_cast<unsigned int>(kSessionContext.size()));
  const bool resumes = may_resume(options, state);
  // One ticket: it costs 20 us, and a client that opens two connections at once
  // can do without.
  SSL_CTX_set_num_tickets(context, resumes ? 1 : 0);
  if (!resumes) {
    SSL_CTX_set_options(context, SSL_OP_NO_TICKET);
  }
}

std::shared_ptr<SSLContextState> make_state(const SSLOptions& options,
                                            SSLContext::Role role) {
  check_options(options, role);
  clear_openssl_errors();
  auto state = std::make_shared<SSLContextState>();
  state->role = role;
  state->accept_truncation = options.accept_truncation;
  state->alpn_protocols = wire_form(options.alpn_protocols);
  const bool server = role == SSLContext::Role::server;
  state->context.reset(
      SSL_CTX_new(server ? TLS_server_method() : TLS_client_method()));
  if (!state->context) {
    throw_ssl_error("SSLContext");
  }
  set_versions_and_ciphers(state->context.get(), options);
  load_identity(state->context.get(), options);
  set_verification(state->context.get(), options, role);
  if (server) {
    set_up_server(*state, options);
  } else {
    set_up_client(*state, options);
  }
  return state;
}

}  // namespace

SSLContext::SSLContext(std::shared_ptr<SSLContextState> state) noexcept
    : state_(std::move(state)) {}

SSLContext SSLContext::client() { return client(SSLOptions()); }

SSLContext SSLContext::client(const SSLOptions& options) {
  return SSLContext(make_state(options, Role::client));
}

SSLContext SSLContext::server(const SSLOptions& options) {
  return SSLContext(make_state(options, Role::server));
}

SSLContext SSLContext::adopt(ssl_ctx_st* context, Role role) {
  if (context == nullptr) {
    throw std::invalid_argument("SSLContext::adopt: context: is null");
  }
  auto state = std::make_shared<SSLContextState>();
  state->role = role;
  SSL_CTX_up_ref(context);
  state->context.reset(context);
  return SSLContext(std::move(state));
}

SSLContext::Role SSLContext::role() const noexcept { return state_->role; }

bool SSLContext::verifies() const noexcept {
  return SSL_CTX_get_verify_mode(native()) != SSL_VERIFY_NONE;
}

ssl_ctx_st* SSLContext::native() const noexcept {
  return state_->context.get();
}

}  // namespace waterspout
