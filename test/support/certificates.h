// Certificates for one test, made while it runs: nothing secret lies in the
// repository, and none expires there.

#pragma once

#include <memory>
#include <string>

namespace waterspout::test {

/// PEM.
struct Identity {
  std::string certificate;
  std::string key;
};

/// What a certificate is to be like.
struct CertificateRequest {
  enum class Key { ecdsa, rsa, rsa_1024 };

  std::string common_name = "localhost";
  /// As in openssl.cnf(5): "DNS:localhost,IP:127.0.0.1"; "" for none.
  std::string names = "DNS:localhost,IP:127.0.0.1";
  /// "serverAuth" or "clientAuth"; "" for both.
  std::string purpose = "";
  Key key = Key::ecdsa;
  int valid_from_days = -1;  ///< from now
  int valid_to_days = 30;
};

/// An authority that issues certificates, of its own root.
class Authority {
 public:
  explicit Authority(const std::string& name = "Test Authority");
  ~Authority();

  /// Its own certificate, PEM: what is to be trusted.
  [[nodiscard]] const std::string& certificate() const { return certificate_; }

  [[nodiscard]] Identity issue(const CertificateRequest& request = {}) const;

  /// The authority that the tests of one program share.
  static const Authority& shared();

 private:
  struct Signer;

  std::unique_ptr<Signer> signer_;
  std::string certificate_;
};

[[nodiscard]] Identity make_self_signed(const CertificateRequest& request = {});

/// `key`, encrypted with `password`.
[[nodiscard]] std::string encrypt_key(const std::string& key,
                                      const std::string& password);

}  // namespace waterspout::test
