// TLS: what a connection presents, whom it trusts, and how it fails.
//
//   auto context = waterspout::SSLContext::server(
//       {.certificate_file = "server.pem", .key_file = "server.key"});
//   auto trusting = waterspout::SSLContext::client();  // the system's store
//
// ssl_iostream.h makes streams of a context.
//
// Floor 1, tls. A context is a value for any thread.
//
// Safe by default: a client verifies the certificate and, in ssl_iostream.h,
// the host name; nothing older than TLS 1.2 is spoken; an end of the stream
// without TLS's own end is an error. Whatever is wrong with the options is
// thrown when the context is made.

#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "waterspout/export.h"

struct ssl_ctx_st;  // OpenSSL's SSL_CTX

namespace waterspout {

namespace detail {
struct SSLContextState;
}  // namespace detail

/// Why a TLS connection was not made, or ended. BaseIOStream::error_message()
/// adds OpenSSL's own words.
enum class SSLErrc {
  // What is wrong with the peer's certificate.
  certificate_expired = 1,
  certificate_not_yet_valid,
  /// It vouches for itself, and nobody told us to trust it.
  certificate_self_signed,
  /// It leads to no authority that we trust.
  certificate_unknown_ca,
  certificate_revoked,
  /// It is for another host.
  certificate_wrong_host,
  /// A client's used by a server, or the like.
  certificate_wrong_purpose,
  /// Its key or its signature is too weak to mean anything.
  certificate_too_weak,
  /// Anything else.
  certificate_invalid,
  /// The peer gave none, and had to.
  certificate_missing,

  // What the two ends do not have in common.
  no_shared_version = 20,
  no_shared_cipher,
  no_shared_protocol,  ///< ALPN

  // What came is not what TLS says.
  http_request = 30,  ///< plain HTTP on a TLS port
  not_tls,
  bad_record,  ///< damaged or altered on the way
  protocol_error,

  // How it ended.
  /// The stream ended without TLS's own end: bytes may be missing.
  truncated = 40,
  closed_in_handshake,
  handshake_timeout,

  /// The peer refused, with TLS's alert of this number less 1000; these are the
  /// usual ones.
  alert_handshake_failure = 1040,
  alert_bad_certificate = 1042,
  alert_certificate_revoked = 1044,
  alert_certificate_expired = 1045,
  alert_certificate_unknown = 1046,
  alert_unknown_ca = 1048,
  alert_protocol_version = 1070,
  alert_internal_error = 1080,
  alert_unrecognized_name = 1112,
  alert_certificate_required = 1116,
  alert_no_application_protocol = 1120,
};

/// The category of SSLErrc; its name() is "waterspout.tls".
WATERSPOUT_API const std::error_category& ssl_category() noexcept;

WATERSPOUT_API std::error_code make_error_code(SSLErrc code) noexcept;

/// What is wrong with the options of a context: "certificate_file: a.pem: no
/// start line", in OpenSSL's words. (A file that cannot be read is a
/// std::system_error.)
class WATERSPOUT_API SSLError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

enum class SSLVersion { tls1_2, tls1_3 };

/// What becomes of the peer's certificate.
enum class SSLVerify {
  /// There must be one, and it must be good.
  required,
  /// For servers: there need be none; one that there is must be good.
  optional,
  /// Anybody may be at the other end. A client without verification is at the
  /// mercy of whoever sits in between.
  none,
};

struct SSLOptions;

/// Certificates, trust and settings for any number of connections, of one role.
/// A cheap handle: copies share one context.
class WATERSPOUT_API SSLContext {
 public:
  enum class Role { client, server };

  /// Errors of both: SSLError, with the option and OpenSSL's reason;
  ///   std::system_error for a file that cannot be read; std::invalid_argument
  ///   for options that exclude each other or lack something; std::logic_error
  ///   if the library was built without the feature `tls`.
  [[nodiscard]] static SSLContext client();
  [[nodiscard]] static SSLContext client(const SSLOptions& options);
  [[nodiscard]] static SSLContext server(const SSLOptions& options);

  /// A context of OpenSSL's that the application has set up. Nothing is
  /// changed in it; of ours, only what belongs to a single connection comes on
  /// top. Where it verifies, host names are checked too.
  ///
  /// Lifetime: shared with the caller, by OpenSSL's count of references.
  /// Errors: std::invalid_argument for null; std::logic_error as above.
  [[nodiscard]] static SSLContext adopt(ssl_ctx_st* context, Role role);

  [[nodiscard]] Role role() const noexcept;

  /// Whether peers are verified at all.
  [[nodiscard]] bool verifies() const noexcept;

  /// OpenSSL's own. To be set up before the first connection, not after.
  [[nodiscard]] ssl_ctx_st* native() const noexcept;

  /// For the rooms above.
  [[nodiscard]] const std::shared_ptr<detail::SSLContextState>& state()
      const noexcept {
    return state_;
  }

 private:
  explicit SSLContext(std::shared_ptr<detail::SSLContextState> state) noexcept;

  std::shared_ptr<detail::SSLContextState> state_;
};

/// How a context is to be. Files and texts are PEM; where there may be a file
/// or a text, give one of them.
struct SSLOptions {
  /// Our certificate, and behind it those that lead to the authority. Servers
  /// need one (unless every name in `sni_contexts` has its own).
  std::string certificate_file = {};
  std::string certificate = {};
  /// Its key. Without one, it is looked for where the certificate is.
  std::string key_file = {};
  std::string key = {};
  /// Asked for the password of an encrypted key, while the context is made. It
  /// may throw: whoever makes the context gets that.
  std::function<std::string()> password = {};

  /// What we trust. A client that names nothing trusts the system's store,
  /// which is loaded once for the process; that blocks for some 20 ms.
  std::string ca_file = {};
  std::string ca_directory = {};  ///< names are hashes: openssl-rehash(1)
  std::string ca = {};
  /// The system's store, also beside others.
  bool system_ca = false;

  /// Without a value: clients `required`, servers `none`. A server that
  /// verifies its clients has to say whom it trusts.
  std::optional<SSLVerify> verify = {};

  SSLVersion minimum_version = SSLVersion::tls1_2;
  SSLVersion maximum_version = SSLVersion::tls1_3;
  /// OpenSSL's lists, for TLS 1.2 and for TLS 1.3; empty for its defaults.
  std::string ciphers = {};
  std::string ciphersuites = {};

  /// What may be spoken inside, best first: {"h2", "http/1.1"}. A server
  /// chooses, and refuses a client that asks and has none of them. A client's
  /// peer may choose none: see SSLIOStream::alpn_protocol.
  std::vector<std::string> alpn_protocols = {};

  /// Servers: issue tickets, so that a client's next handshake is cheap.
  /// Clients: keep and use them; for one connection each, up to 256 servers.
  bool resumption = true;

  /// Servers: the context for each host name that a client may ask for,
  /// without regard to case. It brings its certificate, verification and ALPN;
  /// versions and ciphers are this one's, and other names get this one. Where
  /// any of them verifies clients, sessions are not resumed.
  std::map<std::string, SSLContext> sni_contexts = {};

  /// An end without TLS's own end counts as orderly. Only for what tells its
  /// length itself: anybody on the way can cut the connection.
  bool accept_truncation = false;

  /// Asks for encryption in the kernel, which needs OpenSSL to hold the socket;
  /// here the streams hold it. Refused with std::invalid_argument.
  bool ktls = false;
};

/// What a certificate says.
struct SSLCertificate {
  std::string subject;  ///< RFC 2253: "CN=example.org,O=Example"
  std::string issuer;
  std::vector<std::string> dns_names;     ///< subjectAltName
  std::vector<std::string> ip_addresses;  ///< subjectAltName
  std::string der;
  std::string pem;
};

}  // namespace waterspout

template <>
struct std::is_error_code_enum<waterspout::SSLErrc> : std::true_type {};
