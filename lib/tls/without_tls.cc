// The room as it is built without the feature `tls`: nothing can be made, so
// the rest is never reached.

#include <stdexcept>

#include "waterspout/ssl.h"

#include "tls/test_certificate.h"
#include "tls/tls_session.h"

namespace waterspout {
namespace detail {

struct SSLContextState {};

}  // namespace detail

namespace {

[[noreturn]] void refuse() {
  throw std::logic_error("SSLContext: built without TLS");
}

}  // namespace

SSLContext::SSLContext(std::shared_ptr<detail::SSLContextState> state) noexcept
    : state_(std::move(state)) {}

SSLContext SSLContext::client() { refuse(); }
SSLContext SSLContext::client(const SSLOptions& /*options*/) { refuse(); }
SSLContext SSLContext::server(const SSLOptions& /*options*/) { refuse(); }
SSLContext SSLContext::adopt(ssl_ctx_st* /*context*/, Role /*role*/) {
  refuse();
}
SSLContext::Role SSLContext::role() const noexcept { return Role::client; }
bool SSLContext::verifies() const noexcept { return true; }
ssl_ctx_st* SSLContext::native() const noexcept { return nullptr; }

struct TLSSession::Inside {
  TLSFailure failure;
};

TLSSession::TLSSession(const SSLContext& /*context*/, const TLSPeer& /*peer*/,
                       ChunkPool& /*pool*/) {
  refuse();
}
TLSSession::~TLSSession() = default;

TLSSession::Result TLSSession::handshake() noexcept {
  return {Step::failed, 0};
}
TLSSession::Result TLSSession::read(std::span<char> /*into*/) noexcept {
  return {Step::failed, 0};
}
TLSSession::Result TLSSession::write(std::string_view /*data*/) noexcept {
  return {Step::failed, 0};
}
TLSSession::Result TLSSession::close() noexcept { return {}; }
void TLSSession::feed(std::string_view /*ciphertext*/) noexcept {}
void TLSSession::feed_end() noexcept {}
void TLSSession::keep_input() {}
ChunkDeque& TLSSession::output() noexcept { std::terminate(); }
void TLSSession::let_write(bool /*value*/) noexcept {}
bool TLSSession::has_input() const noexcept { return false; }
bool TLSSession::is_client() const noexcept { return false; }
bool TLSSession::established() const noexcept { return false; }
const TLSFailure& TLSSession::failure() const noexcept {
  return inside_->failure;
}
bool TLSSession::may_resume() const noexcept { return false; }
void TLSSession::set_peer_address(std::string_view /*address*/) noexcept {}
std::optional<SSLCertificate> TLSSession::peer_certificate() const {
  return std::nullopt;
}
std::string TLSSession::alpn_protocol() const { return {}; }
std::string TLSSession::version() const { return {}; }
std::string TLSSession::cipher() const { return {}; }
std::string TLSSession::server_name() const { return {}; }
bool TLSSession::session_reused() const noexcept { return false; }

CertificateAndKey make_test_certificate(const std::string& /*host*/) {
  throw std::logic_error("make_test_certificate: built without TLS");
}

}  // namespace waterspout
