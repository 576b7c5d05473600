// Certificates for users' tests.

#pragma once

#include <string>

namespace waterspout {

/// PEM.
struct CertificateAndKey {
  std::string certificate;
  std::string key;
};

/// For `host`, a name or an IP literal; vouches for itself, from an hour ago
/// until tomorrow. Errors: throws SSLError, std::invalid_argument for a host
/// that can be none, std::logic_error without the feature `tls`.
[[nodiscard]] CertificateAndKey make_test_certificate(const std::string& host);

}  // namespace waterspout
