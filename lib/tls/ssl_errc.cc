#include <string>

#include "waterspout/ssl.h"

namespace waterspout {
namespace {

constexpr int kAlerts = static_cast<int>(SSLErrc::alert_handshake_failure) - 40;
constexpr int kMostAlerts = 255;

const char* alert_text(SSLErrc code) {
  switch (code) {
    case SSLErrc::alert_handshake_failure:
      return "the peer refused the handshake";
    case SSLErrc::alert_bad_certificate:
      return "the peer refused our certificate as bad";
    case SSLErrc::alert_certificate_revoked:
      return "the peer refused our certificate as revoked";
    case SSLErrc::alert_certificate_expired:
      return "the peer refused our certificate as expired";
    case SSLErrc::alert_certificate_unknown:
      return "the peer refused our certificate";
    case SSLErrc::alert_unknown_ca:
      return "the peer does not know the authority of our certificate";
    case SSLErrc::alert_protocol_version:
      return "the peer refused our version of TLS";
    case SSLErrc::alert_internal_error:
      return "the peer had an internal error";
    case SSLErrc::alert_unrecognized_name:
      return "the peer does not know the host name";
    case SSLErrc::alert_certificate_required:
      return "the peer wants a certificate of ours";
    case SSLErrc::alert_no_application_protocol:
      return "the peer refused our application protocols";
    default:
      return nullptr;
  }
}

const char* certificate_text(SSLErrc code) {
  switch (code) {
    case SSLErrc::certificate_expired:
      return "the certificate has expired";
    case SSLErrc::certificate_not_yet_valid:
      return "the certificate is not yet valid";
    case SSLErrc::certificate_self_signed:
      return "the certificate is self-signed";
    case SSLErrc::certificate_unknown_ca:
      return "the certificate is of no known authority";
    case SSLErrc::certificate_revoked:
      return "the certificate was revoked";
    case SSLErrc::certificate_wrong_host:
      return "the certificate is for another host";
    case SSLErrc::certificate_wrong_purpose:
      return "the certificate is for another purpose";
    case SSLErrc::certificate_too_weak:
      return "the certificate is too weak";
    case SSLErrc::certificate_invalid:
      return "the certificate is not valid";
    case SSLErrc::certificate_missing:
      return "the peer gave no certificate";
    default:
      return nullptr;
  }
}

const char* connection_text(SSLErrc code) {
  switch (code) {
    case SSLErrc::no_shared_version:
      return "no version of TLS in common";
    case SSLErrc::no_shared_cipher:
      return "no cipher in common";
    case SSLErrc::no_shared_protocol:
      return "no application protocol in common";
    case SSLErrc::http_request:
      return "plain HTTP on a TLS port";
    case SSLErrc::not_tls:
      return "what the peer sent is not TLS";
    case SSLErrc::bad_record:
      return "a record was damaged or altered";
    case SSLErrc::protocol_error:
      return "the peer broke the protocol";
    case SSLErrc::truncated:
      return "the stream ended without TLS's end";
    case SSLErrc::closed_in_handshake:
      return "the peer closed during the handshake";
    case SSLErrc::handshake_timeout:
      return "the handshake took too long";
    default:
      return nullptr;
  }
}

class SSLCategory final : public std::error_category {
 public:
  [[nodiscard]] const char* name() const noexcept override {
    return "waterspout.tls";
  }

  [[nodiscard]] std::string message(int value) const override {
    const auto code = static_cast<SSLErrc>(value);
    for (const auto text_of : {certificate_text, connection_text, alert_text}) {
      if (const char* const text = text_of(code)) {
        return text;
      }
    }
    if (value >= kAlerts && value <= kAlerts + kMostAlerts) {
      return "the peer sent alert " + std::to_string(value - kAlerts);
    }
    return "unknown TLS error " + std::to_string(value);
  }
};

}  // namespace

const std::error_category& ssl_category() noexcept {
  static const SSLCategory category;
  return category;
}

std::error_code make_error_code(SSLErrc code) noexcept {
  return {static_cast<int>(code), ssl_category()};
}

}  // namespace waterspout
