#include "tls/credentials.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <utility>

#include <openssl/err.h>
#include <openssl/pem.h>

#include "base/throw_errno.h"
#include "tls/tls_error.h"

namespace waterspout {
namespace {

/// PEM, and what to call it when it is no good.
struct Pem {
  std::string label;  // "ca_file: a.pem"
  std::string text;
};

std::string read_file(const std::string& option, const std::string& path) {
  std::error_code failed;
  if (std::filesystem::is_directory(path, failed)) {
    throw_errno(EISDIR, option, path);
  }
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  std::string text{std::istreambuf_iterator<char>(file), {}};
  if (!file.is_open() || file.bad()) {
    throw_errno(errno != 0 ? errno : EIO, option, path);
  }
  return text;
}

Pem pem_of(const std::string& option, const std::string& path,
           const std::string& text) {
  if (!path.empty() && !text.empty()) {
    throw std::invalid_argument(option + ": given as a file and as a text");
  }
  const std::string file_option = option + "_file";
  return path.empty()
             ? Pem{option, text}
             : Pem{file_option + ": " + path, read_file(file_option, path)};
}

BioPtr reader_of(const std::string& text) {
  BioPtr bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
  if (!bio) {
    throw std::bad_alloc();
  }
  return bio;
}

// The first one must be there; behind the last one there may be anything that
// is no certificate.
std::vector<CertificatePtr> certificates_of(const Pem& pem) {
  clear_openssl_errors();
  const BioPtr bio = reader_of(pem.text);
  std::vector<CertificatePtr> certificates;
  for (;;) {
    CertificatePtr next(
        PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr));
    if (!next) {
      break;
    }
    certificates.push_back(std::move(next));
  }
  const bool at_end =
      ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
  if (certificates.empty() || !at_end) {
    throw_ssl_error(pem.label);
  }
  clear_openssl_errors();
  return certificates;
}

/// Carries what the password's callback throws past OpenSSL's frames.
struct PasswordRequest {
  const std::function<std::string()>& ask;
  std::exception_ptr exception;
};

// Without a callback it gives none: OpenSSL's own would ask at the terminal.
int give_password(char* into, int room, int /*writing*/,
                  void* request) noexcept {
  auto& asked = *static_cast<PasswordRequest*>(request);
  if (!asked.ask) {
    return -1;
  }
  try {
    const std::string password = asked.ask();
    if (password.size() > static_cast<std::size_t>(room)) {
      return -1;
    }
    std::copy(password.begin(), password.end(), into);
    return static_cast<int>(password.size());
  } catch (...) {
    asked.exception = std::current_exception();
    return -1;
  }
}

KeyPtr key_of(const Pem& pem, const std::function<std::string()>& password) {
  clear_openssl_errors();
  const BioPtr bio = reader_of(pem.text);
  PasswordRequest request{password, nullptr};
  KeyPtr key(
      PEM_read_bio_PrivateKey(bio.get(), nullptr, &give_password, &request));
  if (request.exception) {
    ERR_clear_error();
    std::rethrow_exception(request.exception);
  }
  if (!key) {
    // OpenSSL says "unsupported" of a text in which there is no key at all.
    if (pem.text.find("PRIVATE KEY-----") == std::string_view::npos) {
      ERR_clear_error();
      throw SSLError(pem.label + ": holds no private key");
    }
    throw_ssl_error(pem.label);
  }
  return key;
}

// A context's own store, or the process's, which must not be changed.
X509_STORE* system_store() {
  static X509_STORE* const store = [] {
    std::unique_ptr<X509_STORE, FreeWith<X509_STORE_free>> made(
        X509_STORE_new());
    if (!made || X509_STORE_set_default_paths(made.get()) != 1) {
      throw_ssl_error("system_ca");
    }
    return made.release();  // for the life of the process
  }();
  return store;
}

void trust_file(SSL_CTX* context, const Pem& pem, bool for_server) {
  X509_STORE* const store = SSL_CTX_get_cert_store(context);
  for (const CertificatePtr& certificate : certificates_of(pem)) {
    if (X509_STORE_add_cert(store, certificate.get()) != 1) {
      throw_ssl_error(pem.label);
    }
    if (for_server && SSL_CTX_add_client_CA(context, certificate.get()) != 1) {
      throw_ssl_error(pem.label);
    }
  }
}

void trust_directory(SSL_CTX* context, const std::string& path) {
  std::error_code failed;
  if (!std::filesystem::is_directory(path, failed)) {
    throw_errno(failed ? failed.value() : ENOTDIR, "ca_directory", path);
  }
  if (X509_STORE_load_path(SSL_CTX_get_cert_store(context), path.c_str()) !=
      1) {
    throw_ssl_error("ca_directory: " + path);
  }
}

}  // namespace

void load_identity(SSL_CTX* context, const SSLOptions& options) {
  if (options.certificate_file.empty() && options.certificate.empty()) {
    if (!options.key_file.empty() || !options.key.empty()) {
      throw std::invalid_argument("key: given without a certificate");
    }
    return;
  }
  const Pem pem =
      pem_of("certificate", options.certificate_file, options.certificate);
  const std::vector<CertificatePtr> chain = certificates_of(pem);
  if (SSL_CTX_use_certificate(context, chain.front().get()) != 1) {
    throw_ssl_error(pem.label);
  }
  for (std::size_t i = 1; i < chain.size(); ++i) {
    if (SSL_CTX_add1_chain_cert(context, chain[i].get()) != 1) {
      throw_ssl_error(pem.label);
    }
  }
  const bool own_key = !options.key_file.empty() || !options.key.empty();
  const Pem key_pem =
      own_key ? pem_of("key", options.key_file, options.key) : pem;
  const KeyPtr key = key_of(key_pem, options.password);
  if (SSL_CTX_use_PrivateKey(context, key.get()) != 1) {
    throw_ssl_error(key_pem.label);
  }
}

bool names_trust(const SSLOptions& options) {
  return !options.ca_file.empty() || !options.ca_directory.empty() ||
         !options.ca.empty();
}

void load_trust(SSL_CTX* context, const SSLOptions& options, bool for_server) {
  if (!names_trust(options)) {
    SSL_CTX_set1_cert_store(context, system_store());
    return;
  }
  if (options.system_ca &&
      X509_STORE_set_default_paths(SSL_CTX_get_cert_store(context)) != 1) {
    throw_ssl_error("system_ca");
  }
  if (!options.ca_file.empty() || !options.ca.empty()) {
    trust_file(context, pem_of("ca", options.ca_file, options.ca), for_server);
  }
  if (!options.ca_directory.empty()) {
    trust_directory(context, options.ca_directory);
  }
}

}  // namespace waterspout
