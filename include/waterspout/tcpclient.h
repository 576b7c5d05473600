// TCPClient: from a host's name to a stream that is connected to it.
//
//   waterspout::TCPClient client(loop);
//   client.connect("example.org", 80, {.timeout = 10s},
//                  [](const waterspout::ConnectError& error,
//                     std::shared_ptr<waterspout::IOStream> stream) {
//                    if (error) {
//                      std::puts(error.message.c_str());
//                      return;
//                    }
//                    stream->write("GET / HTTP/1.0\r\n\r\n");
//                    ...
//                  });
//
// Floor 5, service. A client belongs to its loop's thread.

#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "waterspout/address.h"
#include "waterspout/callback.h"
#include "waterspout/export.h"
#include "waterspout/ioloop.h"
#include "waterspout/iostream.h"
#include "waterspout/resolver.h"
#include "waterspout/ssl.h"
#include "waterspout/ssl_iostream.h"

namespace waterspout {

namespace detail {
class RequestSet;
}  // namespace detail

struct ConnectOptions {
  /// AF_INET or AF_INET6 (of <sys/socket.h>) for addresses of one family alone;
  /// AF_UNSPEC, which is 0, for both.
  int family = 0;
  /// The IP literal to connect from; empty for the system's choice. An address
  /// of the other family then counts as one that cannot be reached.
  std::string source_ip = {};
  /// The port to connect from; 0 for the system's choice.
  std::uint16_t source_port = 0;
  /// For the stream.
  IOStream::Options stream = {};
  /// With a client's context the stream is an SSLIOStream whose handshake is
  /// done.
  std::optional<SSLContext> tls = {};
  /// With `tls`. Without a server_hostname, it is the host.
  SSLStreamOptions tls_options = {};
  /// For everything together: resolving, connecting and the handshake. Zero is
  /// no limit of ours. (The handshake has its own, in `tls_options`, too.)
  Duration timeout = Duration::zero();
};

/// Why there is no connection.
struct ConnectError {
  enum class Step { none, resolve, connect, handshake };

  /// One address, and how connecting to it failed.
  struct Attempt {
    Address address;
    std::error_code error;
  };

  /// Where it ended; `none` if it did not fail.
  Step step = Step::none;
  /// Why: std::errc::timed_out if the time was up, else what the resolver says,
  /// the error of the last attempt to fail, or an SSLErrc.
  std::error_code code = {};
  /// The whole of it: "connect: example.org:80: 127.0.0.1:80: Connection
  /// refused; [::1]:80: Network is unreachable". Empty for ENOMEM where there
  /// was no memory for it either.
  std::string message = {};
  /// The attempts that failed, in the order in which they did.
  std::vector<Attempt> attempts = {};

  /// True if it failed.
  explicit operator bool() const noexcept { return step != Step::none; }
};

/// Makes connections. It may have any number under way at once.
///
/// Life: it needs to live until its callbacks have run. Destroying it, also
/// inside a callback of its own, drops those that have not, and closes what was
/// under way; the streams that it gave away live on. It may outlive its loop,
/// whose closing does the same.
/// Tornado: TCPClient(resolver).
class WATERSPOUT_API TCPClient {
 public:
  /// `stream` is null if there is an `error`. A stream that the callback
  /// neither keeps nor asks anything of closes.
  using ConnectCallback = Callback<void(const ConnectError& error,
                                        std::shared_ptr<IOStream> stream)>;

  /// With a ThreadedResolver of its own.
  /// Errors: throws std::logic_error on a closed loop.
  explicit TCPClient(IOLoop& loop);

  /// Lifetime: `resolver` outlives this.
  /// Errors: also std::invalid_argument if it is on another loop.
  TCPClient(IOLoop& loop, Resolver& resolver);

  ~TCPClient();

  TCPClient(const TCPClient&) = delete;
  TCPClient& operator=(const TCPClient&) = delete;

  /// Connects to `host`, a name or an IP literal (see Resolver::resolve).
  ///
  /// The addresses are tried as RFC 8305 has it ("happy eyeballs"): IPv6 and
  /// IPv4 in turn, beginning with the family of the first address; each when
  /// the one before has failed, or after a quarter of a second. The first
  /// connection that is made wins, and the others are closed. Of more than 64
  /// addresses the rest is left out. A connection of a socket with itself, as
  /// the kernel makes them to free ports of this machine, counts as refused.
  /// The handshake is made with the winner alone.
  ///
  /// Callback: once; never inside this call. No failure is logged.
  /// Errors: throws std::invalid_argument as Resolver::resolve, for a source_ip
  ///   that is no IP literal, and for options of the stream or of TLS that are
  ///   outside their bounds; std::logic_error once the loop is closed.
  /// Tornado: connect(host, port, af, ssl_options, max_buffer_size, source_ip,
  ///   source_port, timeout), whose source_port without a source_ip is one of
  ///   the loopback interface.
  RequestHandle connect(std::string_view host, std::uint16_t port,
                        ConnectCallback callback);
  RequestHandle connect(std::string_view host, std::uint16_t port,
                        ConnectOptions options, ConnectCallback callback);

  /// How many callbacks are still to come.
  [[nodiscard]] std::size_t pending() const noexcept;

  /// Throws std::logic_error once it is closed.
  [[nodiscard]] IOLoop& loop() const;

 private:
  std::shared_ptr<detail::RequestSet> requests_;
  std::unique_ptr<Resolver> own_resolver_;
  Resolver& resolver_;
};

}  // namespace waterspout
