#include "tls/tls_error.h"

#include <algorithm>
#include <iterator>

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509_vfy.h>

#include "waterspout/ssl.h"

namespace waterspout {
namespace {

// A connection's queue is short; what a hostile one could add is cut.
constexpr int kReasonsInDetail = 3;

struct Mapping {
  int theirs;
  SSLErrc ours;
};

constexpr Mapping kReasons[] = {
    {SSL_R_HTTP_REQUEST, SSLErrc::http_request},
    {SSL_R_HTTPS_PROXY_REQUEST, SSLErrc::http_request},
    {SSL_R_UNSUPPORTED_PROTOCOL, SSLErrc::no_shared_version},
    {SSL_R_NO_PROTOCOLS_AVAILABLE, SSLErrc::no_shared_version},
    {SSL_R_VERSION_TOO_LOW, SSLErrc::no_shared_version},
    {SSL_R_UNKNOWN_PROTOCOL, SSLErrc::no_shared_version},
    {SSL_R_WRONG_SSL_VERSION, SSLErrc::no_shared_version},
    {SSL_R_NO_SHARED_CIPHER, SSLErrc::no_shared_cipher},
    {SSL_R_NO_CIPHERS_AVAILABLE, SSLErrc::no_shared_cipher},
    {SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM, SSLErrc::no_shared_cipher},
    {SSL_R_NO_SHARED_SIGNATURE_ALGORITHMS, SSLErrc::no_shared_cipher},
    {SSL_R_NO_SHARED_GROUPS, SSLErrc::no_shared_cipher},
    {SSL_R_NO_SUITABLE_GROUPS, SSLErrc::no_shared_cipher},
    {SSL_R_NO_APPLICATION_PROTOCOL, SSLErrc::no_shared_protocol},
    {SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE, SSLErrc::certificate_missing},
    {SSL_R_DH_KEY_TOO_SMALL, SSLErrc::certificate_too_weak},
    {SSL_R_EE_KEY_TOO_SMALL, SSLErrc::certificate_too_weak},
    {SSL_R_DECRYPTION_FAILED_OR_BAD_RECORD_MAC, SSLErrc::bad_record},
    {SSL_R_DECRYPTION_FAILED, SSLErrc::bad_record},
    {SSL_R_BAD_RECORD_TYPE, SSLErrc::bad_record},
    {SSL_R_PACKET_LENGTH_TOO_LONG, SSLErrc::bad_record},
    {SSL_R_ENCRYPTED_LENGTH_TOO_LONG, SSLErrc::bad_record},
    {SSL_R_DATA_LENGTH_TOO_LONG, SSLErrc::bad_record},
    {SSL_R_LENGTH_TOO_SHORT, SSLErrc::bad_record},
    {SSL_R_DIGEST_CHECK_FAILED, SSLErrc::bad_record},
};

constexpr Mapping kCertificates[] = {
    {X509_V_ERR_CERT_HAS_EXPIRED, SSLErrc::certificate_expired},
    {X509_V_ERR_CERT_NOT_YET_VALID, SSLErrc::certificate_not_yet_valid},
    {X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT, SSLErrc::certificate_self_signed},
    {X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN, SSLErrc::certificate_unknown_ca},
    {X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT, SSLErrc::certificate_unknown_ca},
    {X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY,
     SSLErrc::certificate_unknown_ca},
    {X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE,
     SSLErrc::certificate_unknown_ca},
    {X509_V_ERR_CERT_UNTRUSTED, SSLErrc::certificate_unknown_ca},
    {X509_V_ERR_CERT_REVOKED, SSLErrc::certificate_revoked},
    {X509_V_ERR_HOSTNAME_MISMATCH, SSLErrc::certificate_wrong_host},
    {X509_V_ERR_IP_ADDRESS_MISMATCH, SSLErrc::certificate_wrong_host},
    {X509_V_ERR_INVALID_PURPOSE, SSLErrc::certificate_wrong_purpose},
    {X509_V_ERR_INVALID_CA, SSLErrc::certificate_wrong_purpose},
    {X509_V_ERR_EE_KEY_TOO_SMALL, SSLErrc::certificate_too_weak},
    {X509_V_ERR_CA_KEY_TOO_SMALL, SSLErrc::certificate_too_weak},
    {X509_V_ERR_CA_MD_TOO_WEAK, SSLErrc::certificate_too_weak},
};

template <std::size_t Count>
SSLErrc look_up(const Mapping (&table)[Count], int theirs, SSLErrc otherwise) {
  const auto* const found =
      std::find_if(std::begin(table), std::end(table),
                   [&](const Mapping& row) { return row.theirs == theirs; });
  return found != std::end(table) ? found->ours : otherwise;
}

std::string reason_of(unsigned long error) {
  if (ERR_SYSTEM_ERROR(error)) {
    return std::generic_category().message(ERR_GET_REASON(error));
  }
  const char* const reason = ERR_reason_error_string(error);
  return reason != nullptr ? reason : "error " + std::to_string(error);
}

// The one that tells most: the first of the SSL library, else the first.
struct Drained {
  unsigned long error = 0;
  std::string reasons;
};

Drained drain_errors() {
  Drained drained;
  int count = 0;
  while (const unsigned long error = ERR_get_error()) {
    const bool better = ERR_GET_LIB(error) == ERR_LIB_SSL &&
                        ERR_GET_LIB(drained.error) != ERR_LIB_SSL;
    if (drained.error == 0 || better) {
      drained.error = error;
    }
    if (count++ < kReasonsInDetail) {
      drained.reasons += (drained.reasons.empty() ? "" : ", ");
      drained.reasons += reason_of(error);
    }
  }
  return drained;
}

SSLErrc code_of(const ssl_st* ssl, unsigned long error, bool established) {
  const int reason = ERR_GET_REASON(error);
  if (ERR_GET_LIB(error) != ERR_LIB_SSL) {
    return SSLErrc::protocol_error;
  }
  if (reason >= SSL_AD_REASON_OFFSET) {
    return static_cast<SSLErrc>(reason);  // our alerts begin there too
  }
  switch (reason) {
    case SSL_R_UNEXPECTED_EOF_WHILE_READING:
      return established ? SSLErrc::truncated : SSLErrc::closed_in_handshake;
    case SSL_R_WRONG_VERSION_NUMBER:
      return established ? SSLErrc::bad_record : SSLErrc::not_tls;
    case SSL_R_CERTIFICATE_VERIFY_FAILED:
      return look_up(kCertificates,
                     static_cast<int>(SSL_get_verify_result(ssl)),
                     SSLErrc::certificate_invalid);
    default:
      return look_up(kReasons, reason, SSLErrc::protocol_error);
  }
}

}  // namespace

static_assert(static_cast<int>(SSLErrc::alert_handshake_failure) ==
              SSL_AD_REASON_OFFSET + SSL_AD_HANDSHAKE_FAILURE);

// Peeking costs a third of clearing what is empty.
void clear_openssl_errors() noexcept {
  if (ERR_peek_error() != 0) {
    ERR_clear_error();
  }
}

TLSFailure take_tls_failure(const ssl_st* ssl, bool established) {
  Drained drained = drain_errors();
  if (drained.error == 0) {
    return {SSLErrc::protocol_error, {}};
  }
  const SSLErrc code = code_of(ssl, drained.error, established);
  if (ERR_GET_REASON(drained.error) == SSL_R_CERTIFICATE_VERIFY_FAILED) {
    drained.reasons += ": ";
    drained.reasons +=
        X509_verify_cert_error_string(SSL_get_verify_result(ssl));
  }
  return {code, std::move(drained.reasons)};
}

void throw_ssl_error(std::string_view what) {
  unsigned long error = ERR_get_error();
  ERR_clear_error();
  std::string text(what);
  throw SSLError(text + ": " +
                 (error != 0 ? reason_of(error) : "unknown reason"));
}

}  // namespace waterspout
