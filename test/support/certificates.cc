#include "support/certificates.h"

#include <cstdint>
#include <stdexcept>

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

namespace waterspout::test {

namespace {

struct Free {
  void operator()(X509* object) const noexcept { X509_free(object); }
  void operator()(EVP_PKEY* object) const noexcept { EVP_PKEY_free(object); }
  void operator()(BIO* object) const noexcept { BIO_free(object); }
};

using CertificatePtr = std::unique_ptr<X509, Free>;
using KeyPtr = std::unique_ptr<EVP_PKEY, Free>;
using BioPtr = std::unique_ptr<BIO, Free>;

void check(bool good, const char* what) {
  if (!good) {
    throw std::runtime_error(std::string("certificates: ") + what);
  }
}

KeyPtr make_key(CertificateRequest::Key kind) {
  EVP_PKEY* key = nullptr;
  switch (kind) {
    case CertificateRequest::Key::ecdsa:
      key = EVP_PKEY_Q_keygen(nullptr, nullptr, "EC", "P-256");
      break;
    case CertificateRequest::Key::rsa:
      key = EVP_PKEY_Q_keygen(nullptr, nullptr, "RSA", std::size_t{2048});
      break;
    case CertificateRequest::Key::rsa_1024:
      key = EVP_PKEY_Q_keygen(nullptr, nullptr, "RSA", std::size_t{1024});
      break;
  }
  check(key != nullptr, "making a key");
  return KeyPtr(key);
}

void add_extension(X509* certificate, X509* issuer, int kind,
                   const std::string& value) {
  X509V3_CTX context{};
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  X509_EXTENSION* const extension =
      X509V3_EXT_conf_nid(nullptr, &context, kind, value.c_str());
  check(extension != nullptr, "making an extension");
  X509_add_ext(certificate, extension, -1);
  X509_EXTENSION_free(extension);
}

void set_name(X509_NAME* name, const std::string& common_name) {
  const auto* const bytes =
      reinterpret_cast<const unsigned char*>(common_name.c_str());
  check(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, bytes, -1, -1,
                                   0) == 1,
        "setting a name");
}

CertificatePtr make_unsigned(const CertificateRequest& request, EVP_PKEY* key) {
  CertificatePtr certificate(X509_new());
  check(certificate != nullptr, "making a certificate");
  X509* const x509 = certificate.get();
  constexpr long kDay = 24 * 60 * 60;
  std::uint32_t serial = 0;
  RAND_bytes(reinterpret_cast<unsigned char*>(&serial), sizeof serial);
  X509_set_version(x509, 2);
  ASN1_INTEGER_set(X509_get_serialNumber(x509), serial);
  X509_gmtime_adj(X509_getm_notBefore(x509), request.valid_from_days * kDay);
  X509_gmtime_adj(X509_getm_notAfter(x509), request.valid_to_days * kDay);
  set_name(X509_get_subject_name(x509), request.common_name);
  X509_set_pubkey(x509, key);
  return certificate;
}

void sign(X509* certificate, const X509* issuer, EVP_PKEY* key) {
  X509_set_issuer_name(certificate, X509_get_subject_name(issuer));
  check(X509_sign(certificate, key, EVP_sha256()) > 0, "signing");
}

std::string text_in(BIO* bio) {
  char* text = nullptr;
  const long size = BIO_get_mem_data(bio, &text);
  return {text, static_cast<std::size_t>(size)};
}

std::string pem_of(X509* certificate) {
  const BioPtr bio(BIO_new(BIO_s_mem()));
  PEM_write_bio_X509(bio.get(), certificate);
  return text_in(bio.get());
}

std::string pem_of(EVP_PKEY* key) {
  const BioPtr bio(BIO_new(BIO_s_mem()));
  PEM_write_bio_PrivateKey(bio.get(), key, nullptr, nullptr, 0, nullptr,
                           nullptr);
  return text_in(bio.get());
}

void add_request(X509* certificate, X509* issuer,
                 const CertificateRequest& request) {
  if (!request.names.empty()) {
    add_extension(certificate, issuer, NID_subject_alt_name, request.names);
  }
  if (!request.purpose.empty()) {
    add_extension(certificate, issuer, NID_ext_key_usage, request.purpose);
  }
}

}  // namespace

struct Authority::Signer {
  KeyPtr key;
  CertificatePtr certificate;
};

Authority::Authority(const std::string& name)
    : signer_(std::make_unique<Signer>()) {
  signer_->key = make_key(CertificateRequest::Key::ecdsa);
  signer_->certificate =
      make_unsigned({.common_name = name, .names = ""}, signer_->key.get());
  X509* const x509 = signer_->certificate.get();
  add_extension(x509, x509, NID_basic_constraints, "critical,CA:TRUE");
  add_extension(x509, x509, NID_key_usage, "critical,keyCertSign,cRLSign");
  add_extension(x509, x509, NID_subject_key_identifier, "hash");
  sign(x509, x509, signer_->key.get());
  certificate_ = pem_of(x509);
}

Authority::~Authority() = default;

Identity Authority::issue(const CertificateRequest& request) const {
  const KeyPtr key = make_key(request.key);
  const CertificatePtr certificate = make_unsigned(request, key.get());
  X509* const x509 = certificate.get();
  add_request(x509, signer_->certificate.get(), request);
  sign(x509, signer_->certificate.get(), signer_->key.get());
  return {pem_of(x509), pem_of(key.get())};
}

const Authority& Authority::shared() {
  static const Authority authority;
  return authority;
}

Identity make_self_signed(const CertificateRequest& request) {
  const KeyPtr key = make_key(request.key);
  const CertificatePtr certificate = make_unsigned(request, key.get());
  X509* const x509 = certificate.get();
  add_request(x509, x509, request);
  sign(x509, x509, key.get());
  return {pem_of(x509), pem_of(key.get())};
}

std::string encrypt_key(const std::string& key, const std::string& password) {
  const BioPtr in(BIO_new_mem_buf(key.data(), static_cast<int>(key.size())));
  const KeyPtr parsed(
      PEM_read_bio_PrivateKey(in.get(), nullptr, nullptr, nullptr));
  check(parsed != nullptr, "reading a key");
  const BioPtr out(BIO_new(BIO_s_mem()));
  PEM_write_bio_PrivateKey(
      out.get(), parsed.get(), EVP_aes_128_cbc(),
      reinterpret_cast<const unsigned char*>(password.data()),
      static_cast<int>(password.size()), nullptr, nullptr);
  return text_in(out.get());
}

}  // namespace waterspout::test
