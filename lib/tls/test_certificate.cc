#include "tls/test_certificate.h"

#include <stdexcept>

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>

#include "waterspout/address.h"
#include "waterspout/error.h"

#include "tls/memory_bio.h"
#include "tls/openssl_ptr.h"
#include "tls/tls_error.h"

namespace waterspout {
namespace {

constexpr const char* kMakeTestCertificate = "make_test_certificate";

constexpr long kHour = 3600;
constexpr long kDay = 24 * kHour;

void check(bool good) {
  if (!good) {
    throw_ssl_error(kMakeTestCertificate);
  }
}

// What openssl.cnf(5) calls it. A comma would begin another name.
std::string alternative_name(const std::string& host) {
  if (host.empty() ||
      host.find_first_of(std::string_view(",\n\0 ", 4)) != std::string::npos) {
    throw std::invalid_argument(std::string(kMakeTestCertificate) + ": \"" +
                                escape_bytes(host) + "\": can be no host");
  }
  try {
    return "IP:" + Address(host, 0).ip();
  } catch (const std::invalid_argument&) {
    return "DNS:" + host;
  }
}

void add_extension(X509* certificate, int kind, const std::string& value) {
  X509V3_CTX context{};
  X509V3_set_ctx(&context, certificate, certificate, nullptr, nullptr, 0);
  const std::unique_ptr<X509_EXTENSION, FreeWith<X509_EXTENSION_free>>
      extension(X509V3_EXT_conf_nid(nullptr, &context, kind, value.c_str()));
  check(extension != nullptr);
  check(X509_add_ext(certificate, extension.get(), -1) == 1);
}

CertificatePtr make_certificate(const std::string& host, EVP_PKEY* key) {
  const std::string name = alternative_name(host);
  CertificatePtr made(X509_new());
  check(made != nullptr);
  X509* const certificate = made.get();
  std::uint32_t serial = 0;
  check(RAND_bytes(reinterpret_cast<unsigned char*>(&serial), sizeof serial) ==
        1);
  X509_set_version(certificate, X509_VERSION_3);
  ASN1_INTEGER_set(X509_get_serialNumber(certificate), serial);
  X509_gmtime_adj(X509_getm_notBefore(certificate), -kHour);
  X509_gmtime_adj(X509_getm_notAfter(certificate), kDay);
  X509_NAME* const subject = X509_get_subject_name(certificate);
  check(X509_NAME_add_entry_by_txt(
            subject, "CN", MBSTRING_ASC,
            reinterpret_cast<const unsigned char*>("waterspout test"), -1, -1,
            0) == 1);
  X509_set_issuer_name(certificate, subject);
  X509_set_pubkey(certificate, key);
  add_extension(certificate, NID_subject_alt_name, name);
  add_extension(certificate, NID_basic_constraints, "critical,CA:TRUE");
  check(X509_sign(certificate, key, EVP_sha256()) > 0);
  return made;
}

}  // namespace

CertificateAndKey make_test_certificate(const std::string& host) {
  clear_openssl_errors();
  const KeyPtr key(EVP_PKEY_Q_keygen(nullptr, nullptr, "EC", "P-256"));
  check(key != nullptr);
  const CertificatePtr certificate = make_certificate(host, key.get());
  const BioPtr public_part = make_memory_bio();
  const BioPtr secret_part = make_memory_bio();
  check(PEM_write_bio_X509(public_part.get(), certificate.get()) == 1);
  check(PEM_write_bio_PrivateKey(secret_part.get(), key.get(), nullptr, nullptr,
                                 0, nullptr, nullptr) == 1);
  return {text_in(public_part.get()), text_in(secret_part.get())};
}

}  // namespace waterspout
