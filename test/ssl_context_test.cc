#include <cerrno>
#include <functional>
#include <ostream>
#include <stdexcept>
#include <string>
#include <system_error>

#include <doctest/doctest.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include "waterspout/ssl.h"

#include "support/certificates.h"
#include "support/temp_dir.h"
#include "support/tls_streams.h"

using waterspout::SSLContext;
using waterspout::SSLErrc;
using waterspout::SSLError;
using waterspout::SSLOptions;
using waterspout::SSLVerify;
using waterspout::SSLVersion;
using waterspout::test::Authority;
using waterspout::test::CertificateRequest;
using waterspout::test::encrypt_key;
using waterspout::test::good_identity;
using waterspout::test::Identity;
using waterspout::test::TempDir;

namespace {

SSLOptions good_options() {
  return {.certificate = good_identity().certificate,
          .key = good_identity().key};
}

/// What making a context throws; "" for nothing. OpenSSL's queue is left empty.
template <class Error>
std::string refusal_of(const std::function<void()>& make) {
  std::string what;
  try {
    make();
  } catch (const Error& error) {
    what = error.what();
  }
  CHECK(ERR_peek_error() == 0);
  return what;
}

std::string server_refusal(const SSLOptions& options) {
  return refusal_of<SSLError>(
      [&] { static_cast<void>(SSLContext::server(options)); });
}

}  // namespace

TEST_SUITE_BEGIN("ssl_context");

TEST_CASE("SSLContext takes certificates and keys from files and from memory") {
  const TempDir dir;
  const std::string certificate =
      dir.write("a.pem", good_identity().certificate);
  const std::string key = dir.write("a.key", good_identity().key);
  const std::string both =
      dir.write("both.pem", good_identity().key + good_identity().certificate);
  CHECK_NOTHROW(static_cast<void>(SSLContext::server(good_options())));
  CHECK_NOTHROW(static_cast<void>(
      SSLContext::server({.certificate_file = certificate, .key_file = key})));
  CHECK_NOTHROW(
      static_cast<void>(SSLContext::server({.certificate_file = both})));
  CHECK_NOTHROW(static_cast<void>(SSLContext::server(
      {.certificate_file = certificate, .key = good_identity().key})));
}

TEST_CASE("SSLContext names the option, the file and the reason of a refusal") {
  const TempDir dir;
  const std::string garbage = dir.write("garbage.pem", "garbage");
  const std::string certificate =
      dir.write("a.pem", good_identity().certificate);
  SSLOptions options = good_options();

  SUBCASE("a file that is no certificate") {
    CHECK(server_refusal({.certificate_file = garbage}) ==
          "certificate_file: " + garbage + ": no start line");
  }
  SUBCASE("a file without a key") {
    CHECK(server_refusal({.certificate_file = certificate})
              .find("certificate_file: " + certificate + ": ") == 0);
  }
  SUBCASE("a key of another certificate") {
    options.key = Authority::shared().issue().key;
    CHECK(server_refusal(options) == "key: key values mismatch");
  }
  SUBCASE("a certificate whose key is too weak") {
    const Identity weak =
        Authority::shared().issue({.key = CertificateRequest::Key::rsa_1024});
    options.certificate = weak.certificate;
    options.key = weak.key;
    CHECK(server_refusal(options) == "certificate: ee key too small");
  }
  SUBCASE("a certificate that is cut off") {
    options.certificate.resize(options.certificate.size() / 2);
    CHECK(server_refusal(options).find("certificate: ") == 0);
  }
  SUBCASE("ciphers that nobody knows") {
    options.ciphers = "ROT13";
    CHECK(server_refusal(options) == "ciphers: ROT13: no cipher match");
    options.ciphers.clear();
    options.ciphersuites = "TLS_ROT13";
    CHECK(server_refusal(options).find("ciphersuites: TLS_ROT13: ") == 0);
  }
  SUBCASE("an authority that is none") {
    options.ca_file = garbage;
    options.verify = SSLVerify::required;
    CHECK(server_refusal(options) == "ca_file: " + garbage + ": no start line");
  }
}

TEST_CASE("SSLContext throws the system's error for a file it cannot read") {
  auto code_of = [](const SSLOptions& options) {
    try {
      static_cast<void>(SSLContext::client(options));
    } catch (const std::system_error& error) {
      CHECK(std::string(error.what()).find("/nowhere") != std::string::npos);
      return error.code().value();
    }
    return 0;
  };
  CHECK(code_of({.certificate_file = "/nowhere/a.pem"}) == ENOENT);
  CHECK(code_of({.ca_file = "/nowhere/ca.pem"}) == ENOENT);
  CHECK(code_of({.ca_directory = "/nowhere"}) == ENOENT);
}

TEST_CASE("SSLContext refuses options that make no sense") {
  auto refuses = [](const std::function<void()>& make) {
    return !refusal_of<std::invalid_argument>(make).empty();
  };
  auto server_with = [](const std::function<void(SSLOptions&)>& change) {
    return [change] {
      SSLOptions options = good_options();
      change(options);
      static_cast<void>(SSLContext::server(options));
    };
  };
  CHECK(refuses([] { static_cast<void>(SSLContext::server({})); }));
  CHECK(
      refuses([] { static_cast<void>(SSLContext::client({.key = "a key"})); }));
  CHECK(refuses(server_with([](auto& o) { o.certificate_file = "b"; })));
  CHECK(refuses(server_with([](auto& o) { o.ktls = true; })));
  CHECK(refuses(server_with([](auto& o) { o.verify = SSLVerify::required; })));
  CHECK(refuses(server_with([](auto& o) { o.alpn_protocols = {""}; })));
  CHECK(refuses(server_with(
      [](auto& o) { o.alpn_protocols = {std::string(256, 'x')}; })));
  CHECK(refuses(server_with([](auto& o) {
    o.minimum_version = SSLVersion::tls1_3;
    o.maximum_version = SSLVersion::tls1_2;
  })));
  CHECK(refuses(server_with(
      [](auto& o) { o.sni_contexts.emplace("a", SSLContext::client()); })));
  CHECK(refuses([] {
    static_cast<void>(SSLContext::client(
        {.sni_contexts = {{"a", SSLContext::server(good_options())}}}));
  }));
  CHECK(refuses([] {
    static_cast<void>(SSLContext::adopt(nullptr, SSLContext::Role::client));
  }));
}

TEST_CASE("SSLOptions::password opens an encrypted key") {
  SSLOptions options = good_options();
  options.key = encrypt_key(options.key, "secret");

  options.password = [] { return std::string("secret"); };
  CHECK_NOTHROW(static_cast<void>(SSLContext::server(options)));
  options.password = [] { return std::string("wrong"); };
  CHECK(server_refusal(options).find("key: ") == 0);
  options.password = [] { return std::string(5000, 'x'); };
  CHECK(server_refusal(options).find("key: ") == 0);
  options.password = {};
  CHECK(server_refusal(options).find("key: ") == 0);  // and asks nobody
}

TEST_CASE("what SSLOptions::password throws reaches who makes the context") {
  SSLOptions options = good_options();
  options.key = encrypt_key(options.key, "secret");
  options.password = []() -> std::string { throw std::out_of_range("vault"); };
  CHECK(refusal_of<std::out_of_range>([&] {
          static_cast<void>(SSLContext::server(options));
        }) == "vault");
}

TEST_CASE("SSLContext verifies as a client and not as a server") {
  CHECK(SSLContext::client().verifies());
  CHECK(SSLContext::client().role() == SSLContext::Role::client);
  CHECK_FALSE(SSLContext::server(good_options()).verifies());
  CHECK_FALSE(SSLContext::client({.verify = SSLVerify::none}).verifies());
}

TEST_CASE("SSLContext shares the system's store among clients") {
  const SSLContext first = SSLContext::client();
  const SSLContext second = SSLContext::client();
  CHECK(SSL_CTX_get_cert_store(first.native()) ==
        SSL_CTX_get_cert_store(second.native()));
  const SSLContext both = SSLContext::client(
      {.ca = Authority::shared().certificate(), .system_ca = true});
  CHECK(SSL_CTX_get_cert_store(both.native()) !=
        SSL_CTX_get_cert_store(first.native()));
}

TEST_CASE("SSLContext speaks nothing older than TLS 1.2") {
  CHECK(SSL_CTX_get_min_proto_version(SSLContext::client().native()) ==
        TLS1_2_VERSION);
}

TEST_CASE("SSLContext::adopt shares the application's context") {
  SSL_CTX* const native = SSL_CTX_new(TLS_client_method());
  SSL_CTX_set_verify(native, SSL_VERIFY_PEER, nullptr);
  {
    const SSLContext adopted =
        SSLContext::adopt(native, SSLContext::Role::client);
    CHECK(adopted.native() == native);
    CHECK(adopted.verifies());
  }
  CHECK(SSL_CTX_get_verify_mode(native) == SSL_VERIFY_PEER);
  SSL_CTX_free(native);
}

TEST_CASE("ssl_category has a text for every code") {
  CHECK(std::string(waterspout::ssl_category().name()) == "waterspout.tls");
  CHECK(std::error_code(SSLErrc::certificate_expired).message() ==
        "the certificate has expired");
  CHECK(std::error_code(1051, waterspout::ssl_category()).message() ==
        "the peer sent alert 51");
  CHECK(std::error_code(999, waterspout::ssl_category()).message() ==
        "unknown TLS error 999");
  CHECK(std::error_code(SSLErrc::truncated) != std::errc::interrupted);
}

TEST_SUITE_END();
