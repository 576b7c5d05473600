#include "peers/tls.h"

#include <array>
#include <stdexcept>
#include <string>

#include <openssl/err.h>

namespace peers {

TlsContext make_tls_context(const Setup& setup) {
  if (setup.certificate == nullptr) {
    return nullptr;
  }
  TlsContext context(::SSL_CTX_new(::TLS_server_method()));
  if (!context) {
    throw_tls_error("SSL_CTX_new");
  }
  ::SSL_CTX_set_mode(context.get(), SSL_MODE_ENABLE_PARTIAL_WRITE |
                                        SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                        SSL_MODE_RELEASE_BUFFERS);
  if (::SSL_CTX_use_certificate_chain_file(context.get(), setup.certificate) !=
      1) {
    throw_tls_error(setup.certificate);
  }
  if (::SSL_CTX_use_PrivateKey_file(context.get(), setup.key,
                                    SSL_FILETYPE_PEM) != 1 ||
      ::SSL_CTX_check_private_key(context.get()) != 1) {
    throw_tls_error(setup.key);
  }
  return context;
}

SSL* make_tls_session(SSL_CTX* context) {
  SSL* const session = ::SSL_new(context);
  if (session == nullptr) {
    throw_tls_error("SSL_new");
  }
  ::SSL_set_accept_state(session);
  return session;
}

void throw_tls_error(const char* operation) {
  std::array<char, 256> reason{};
  ::ERR_error_string_n(::ERR_get_error(), reason.data(), reason.size());
  throw std::runtime_error(std::string(operation) + ": " + reason.data());
}

void end_tls_output(SSL* session) noexcept {
  if (::SSL_is_init_finished(session) != 0 && ::SSL_shutdown(session) < 0) {
    ::ERR_clear_error();
  }
}

void give_up_tls(SSL* session) noexcept {
  ::ERR_clear_error();
  ::SSL_set_shutdown(session, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
}

}  // namespace peers
