#include "tls/tls_session.h"

#include <algorithm>
#include <new>
#include <stdexcept>
#include <utility>

#include <openssl/x509v3.h>

#include "tls/credentials.h"
#include "tls/host_name.h"
#include "tls/openssl_ptr.h"
#include "tls/session_bio.h"
#include "tls/ssl_context_state.h"

namespace waterspout {
namespace {

// Where an SSL keeps the address of its TLSSession's inside.
int inside_index() {
  static const int index =
      SSL_get_ex_new_index(0, nullptr, nullptr, nullptr, nullptr);
  return index;
}

int bounded(std::size_t size) {
  constexpr std::size_t kMost = std::size_t{1} << 30;
  return static_cast<int>(std::min(size, kMost));
}

void check(bool good, std::string_view what) {
  if (!good) {
    throw_ssl_error(what);
  }
}

// RFC 6066: a name is sent, an address is not; both are verified.
void set_host(SSL* ssl, const TLSPeer& peer, bool verifies) {
  const bool checked = verifies && peer.verify_host;
  if (peer.host_name.empty()) {
    if (checked) {
      throw std::invalid_argument(
          "server_hostname: is empty, so nothing could be verified; give "
          "verify_hostname up to connect all the same");
    }
    return;
  }
  const HostName host = parse_host_name(peer.host_name);
  if (!host.is_address) {  // the macro for it has a C cast
    check(SSL_ctrl(ssl, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name,
                   const_cast<char*>(host.text.c_str())) == 1,
          "server_hostname");
  }
  if (!checked) {
    return;
  }
  X509_VERIFY_PARAM* const verification = SSL_get0_param(ssl);
  if (host.is_address) {
    check(X509_VERIFY_PARAM_set1_ip_asc(verification, host.text.c_str()) == 1,
          "server_hostname");
  } else {
    SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    check(SSL_set1_host(ssl, host.text.c_str()) == 1, "server_hostname");
  }
}

}  // namespace

struct TLSSession::Inside {
  Inside(const SSLContext& context, ChunkPool& pool)
      : state(context.state()), bio(pool), ssl(SSL_new(context.native())) {
    if (!ssl) {
      throw_ssl_error("TLSSession");
    }
  }

  [[nodiscard]] bool is_client() const noexcept {
    return state->role == SSLContext::Role::client;
  }

  const std::shared_ptr<detail::SSLContextState> state;
  SessionBio bio;
  const SslPtr ssl;  // its BIO has the address of `bio`
  std::string resumption_key;
  TLSFailure failure;
  // OpenSSL itself is in a handshake again with every ticket that comes in.
  bool established = false;
  bool ended = false;  // by the peer, in order
};

TLSSession::TLSSession(const SSLContext& context, const TLSPeer& peer,
                       ChunkPool& pool) {
  clear_openssl_errors();
  inside_ = std::make_unique<Inside>(context, pool);
  SSL* const ssl = inside_->ssl.get();
  BIO* const bio = inside_->bio.make_bio();
  SSL_set_bio(ssl, bio, bio);
  SSL_set_ex_data(ssl, inside_index(), inside_.get());
  SSL_set_mode(ssl, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_RELEASE_BUFFERS |
                        SSL_MODE_AUTO_RETRY);
  // What was to be written is presented again as it was, and OpenSSL is to say
  // so if it is not.
  SSL_clear_mode(ssl, SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  // What is not in the BIO any more, SSL_pending tells of.
  SSL_set_read_ahead(ssl, 0);
  SSL_set_options(ssl, SSL_OP_NO_RENEGOTIATION);
  if (inside_->is_client()) {
    SSL_set_connect_state(ssl);
    set_host(ssl, peer, context.verifies());
    inside_->resumption_key =
        (peer.verify_host ? "" : "anybody at ") + peer.host_name;
  } else {
    SSL_set_accept_state(ssl);
  }
}

// A session that has not failed stays good to resume.
TLSSession::~TLSSession() {
  if (!inside_->failure && established()) {
    SSL_set_shutdown(inside_->ssl.get(),
                     SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
  }
}

TLSSession::Result TLSSession::handshake() noexcept {
  if (inside_->failure) {
    return {Step::failed, 0};
  }
  clear_openssl_errors();
  inside_->bio.takes_output = true;
  const int result = SSL_do_handshake(inside_->ssl.get());
  if (result == 1) {
    inside_->established = true;
    return {Step::done, 0};
  }
  const Result unfinished = outcome(result);
  return unfinished.step == Step::ended
             ? fail({SSLErrc::closed_in_handshake, {}})
             : unfinished;
}

TLSSession::Result TLSSession::read(std::span<char> into) noexcept {
  if (inside_->failure) {
    return {Step::failed, 0};
  }
  if (inside_->ended) {
    return {Step::ended, 0};
  }
  clear_openssl_errors();
  // What it answers by itself does not wait until the kernel has room: or the
  // read would, and the descriptor be ready all the while.
  const bool took_output = std::exchange(inside_->bio.takes_output, true);
  const int result =
      SSL_read(inside_->ssl.get(), into.data(), bounded(into.size()));
  inside_->bio.takes_output = took_output;
  return outcome(result);
}

TLSSession::Result TLSSession::write(std::string_view data) noexcept {
  if (inside_->failure) {
    return {Step::failed, 0};
  }
  clear_openssl_errors();
  const int result =
      SSL_write(inside_->ssl.get(), data.data(), bounded(data.size()));
  return outcome(result);
}

// Not in the handshake, where OpenSSL takes it for a mistake, nor after a
// failure, whose alert says more; and once, since a second call would read.
TLSSession::Result TLSSession::close() noexcept {
  const bool closed =
      (SSL_get_shutdown(inside_->ssl.get()) & SSL_SENT_SHUTDOWN) != 0;
  if (inside_->failure || !established() || closed) {
    return {Step::done, 0};
  }
  clear_openssl_errors();
  inside_->bio.takes_output = true;
  const int result = SSL_shutdown(inside_->ssl.get());
  const Result closing = result < 0 ? outcome(result) : Result{Step::done, 0};
  clear_openssl_errors();
  return closing;
}

TLSSession::Result TLSSession::outcome(int result) noexcept {
  if (result > 0) {
    return {Step::done, static_cast<std::size_t>(result)};
  }
  switch (SSL_get_error(inside_->ssl.get(), result)) {
    case SSL_ERROR_WANT_READ:
      return {Step::wants_input, 0};
    case SSL_ERROR_WANT_WRITE:
      return {Step::output_full, 0};
    case SSL_ERROR_ZERO_RETURN:
      inside_->ended = true;
      return {Step::ended, 0};
    default:
      break;
  }
  const auto no_memory = std::make_error_code(std::errc::not_enough_memory);
  try {
    if (inside_->bio.trouble == SessionBio::Trouble::no_memory) {
      return fail({no_memory, {}});
    }
    if (inside_->bio.trouble == SessionBio::Trouble::flooded) {
      return fail({SSLErrc::protocol_error, "asks much and reads nothing"});
    }
    TLSFailure failure =
        take_tls_failure(inside_->ssl.get(), inside_->established);
    if (failure.code == SSLErrc::truncated &&
        inside_->state->accept_truncation) {
      inside_->ended = true;
      return {Step::ended, 0};
    }
    return fail(std::move(failure));
  } catch (const std::bad_alloc&) {
    return fail({no_memory, {}});
  }
}

TLSSession::Result TLSSession::fail(TLSFailure failure) noexcept {
  inside_->failure = std::move(failure);
  clear_openssl_errors();
  return {Step::failed, 0};
}

void TLSSession::feed(std::string_view ciphertext) noexcept {
  inside_->bio.feed(ciphertext);
}

void TLSSession::feed_end() noexcept { inside_->bio.feed_end(); }

void TLSSession::keep_input() { inside_->bio.keep_input(); }

ChunkDeque& TLSSession::output() noexcept { return inside_->bio.output; }

void TLSSession::let_write(bool value) noexcept {
  inside_->bio.takes_output = value;
}

bool TLSSession::has_input() const noexcept {
  return inside_->failure || inside_->ended || inside_->bio.has_input() ||
         inside_->bio.ended() || SSL_pending(inside_->ssl.get()) > 0;
}

bool TLSSession::is_client() const noexcept { return inside_->is_client(); }

bool TLSSession::established() const noexcept { return inside_->established; }

const TLSFailure& TLSSession::failure() const noexcept {
  return inside_->failure;
}

bool TLSSession::may_resume() const noexcept {
  return inside_->state->keeps_sessions;
}

// Resuming spares the verification: what was verified is part of the key. A
// session that cannot be had is no loss.
void TLSSession::set_peer_address(std::string_view address) noexcept {
  try {
    inside_->resumption_key.append(" ").append(address);
    const SessionPtr session =
        inside_->state->sessions.take(inside_->resumption_key);
    if (session) {
      SSL_set_session(inside_->ssl.get(), session.get());
    }
  } catch (const std::exception&) {
    inside_->resumption_key.clear();
  }
}

int TLSSession::keep_session(ssl_st* ssl, ssl_session_st* session) noexcept {
  auto* const inside =
      static_cast<Inside*>(SSL_get_ex_data(ssl, inside_index()));
  // None is kept of a connection without a key, nor of one of OpenSSL's own.
  if (inside == nullptr || inside->resumption_key.empty()) {
    return 0;
  }
  SessionPtr kept(session);
  try {
    inside->state->sessions.put(inside->resumption_key, std::move(kept));
    return 1;
  } catch (const std::exception&) {
    return 1;  // it was ours to let go of
  }
}

std::optional<SSLCertificate> TLSSession::peer_certificate() const {
  const CertificatePtr certificate(
      SSL_get1_peer_certificate(inside_->ssl.get()));
  if (!certificate) {
    return std::nullopt;
  }
  SSLCertificate described = describe_certificate(certificate.get());
  clear_openssl_errors();
  return described;
}

std::string TLSSession::alpn_protocol() const {
  const unsigned char* name = nullptr;
  unsigned int size = 0;
  SSL_get0_alpn_selected(inside_->ssl.get(), &name, &size);
  return {reinterpret_cast<const char*>(name), size};
}

std::string TLSSession::version() const {
  return SSL_get_version(inside_->ssl.get());
}

std::string TLSSession::cipher() const {
  return SSL_get_cipher_name(inside_->ssl.get());
}

std::string TLSSession::server_name() const {
  const char* const name =
      SSL_get_servername(inside_->ssl.get(), TLSEXT_NAMETYPE_host_name);
  return name != nullptr ? name : "";
}

bool TLSSession::session_reused() const noexcept {
  return SSL_session_reused(inside_->ssl.get()) == 1;
}

}  // namespace waterspout
