// SSLIOStream: a stream whose bytes are protected by TLS.
//
//   auto context = waterspout::SSLContext::client();
//   auto stream = waterspout::SSLIOStream::create(
//       loop, context, {.server_hostname = "example.org"});
//   stream->connect(address, [stream] {  // when the handshake is done
//     stream->write("GET / HTTP/1.0\r\n\r\n");
//     stream->read_until_close([](std::string_view answer) { ... });
//   });
//
// Floor 4, stream. A stream belongs to its loop's thread.

#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>

#include "waterspout/ioloop.h"
#include "waterspout/iostream.h"
#include "waterspout/ssl.h"

namespace waterspout {

class TLSSession;

/// What belongs to one connection and not to its context.
struct SSLStreamOptions {
  /// Clients: whom we want to talk to, as a name or an IP address. The name is
  /// sent to the server, and its certificate must be for it.
  std::string server_hostname = {};
  /// False gives the check up: anybody with a certificate of an authority that
  /// the context trusts may then answer.
  bool verify_hostname = true;
  /// From the connection to the end of the handshake; zero is no limit.
  Duration handshake_timeout = std::chrono::seconds(60);
};

/// Reads, writes and closes as any stream, with these differences:
///
/// - The handshake starts by itself once there is a connection. Until it is
///   done, reads wait and writes are queued; nothing that arrived before it is
///   ever delivered. If it fails, the stream closes with an SSLErrc, and only
///   the close callback runs. A peer that has to give a certificate may learn
///   only after its own handshake that the other end refuses it.
/// - close() tells the peer so (TLS's close_notify), unless it was given an
///   error. A peer's end without that closes the stream with
///   SSLErrc::truncated; what arrived before stays readable.
/// - The handshake's failures are logged, a client's as warnings, a server's
///   at level info; a peer that goes away in a server's handshake, and a
///   truncation, are not.
/// - TCP_NODELAY is on: without it a handshake takes 40 ms.
///
/// Life: as IOStream's, with the handshake between connecting and open.
/// Tornado: SSLIOStream, which sends no close_notify.
class WATERSPOUT_API SSLIOStream : public IOStream {
 public:
  /// A stream without a socket; connect() makes one, and its callback runs when
  /// the handshake is done too.
  /// Errors: as IOStream::create; also std::invalid_argument for a client's
  ///   context that verifies, without a host name and with verify_hostname, and
  ///   for a host name that can be none.
  static std::shared_ptr<SSLIOStream> create(IOLoop& loop,
                                             const SSLContext& context,
                                             const SSLStreamOptions& tls = {},
                                             Options options = {});

  /// A stream on the socket `fd`, connected or not, which it owns from now on,
  /// also if this throws; otherwise as IOStream::create.
  static std::shared_ptr<SSLIOStream> create(IOLoop& loop, int fd,
                                             const SSLContext& context,
                                             const SSLStreamOptions& tls = {},
                                             Options options = {});

  using HandshakeCallback = Callback<void()>;

  /// `callback` runs when the handshake is done, also if it is done already; if
  /// it fails, only the close callback does. For servers, and after start_tls;
  /// a client's connect() says as much.
  ///
  /// Errors: throws std::logic_error while another waits, StreamClosedError on
  ///   a closed stream, std::invalid_argument for an empty callback.
  /// Tornado: wait_for_handshake(callback).
  void wait_for_handshake(HandshakeCallback callback);

  // What the handshake came to. Before it is done, and once the stream is
  // closed: nothing, empty or false.

  /// What the peer presented; verified, where the context does that.
  [[nodiscard]] std::optional<SSLCertificate> peer_certificate() const;

  /// What ALPN chose; empty if it chose nothing.
  [[nodiscard]] std::string alpn_protocol() const;

  /// "TLSv1.3".
  [[nodiscard]] std::string version() const;

  /// OpenSSL's name, "TLS_AES_256_GCM_SHA384".
  [[nodiscard]] std::string cipher() const;

  /// The host name that the client asked for.
  [[nodiscard]] std::string server_name() const;

  /// Whether an earlier session was resumed. Certificates were verified then.
  [[nodiscard]] bool session_reused() const;

 protected:
  explicit SSLIOStream(detail::StreamCore& core) noexcept : IOStream(core) {}

 private:
  [[nodiscard]] const TLSSession* session() const noexcept;
};

}  // namespace waterspout
