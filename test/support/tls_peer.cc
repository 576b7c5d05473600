#include "support/tls_peer.h"

#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

#include <sys/socket.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

#include "waterspout/ssl_iostream.h"

#include "support/tls_streams.h"

namespace waterspout::test {

namespace {

class TLSPeerProtection final : public PeerProtection {
 public:
  explicit TLSPeerProtection(const SSLContext& context)
      : ssl_(SSL_new(context.native())),
        in_(BIO_new(BIO_s_mem())),
        out_(BIO_new(BIO_s_mem())) {
    SSL_set_bio(ssl_.get(), in_, out_);
    SSL_set_accept_state(ssl_.get());
  }

  /// The answer to a part of the handshake.
  [[nodiscard]] std::string answer(std::string_view bytes) {
    feed(bytes);
    SSL_do_handshake(ssl_.get());
    ERR_clear_error();
    return take_output();
  }

  [[nodiscard]] bool done() const noexcept {
    return SSL_is_init_finished(ssl_.get()) == 1;
  }

  [[nodiscard]] std::string wrap(std::string_view data) override {
    if (!data.empty() &&
        SSL_write(ssl_.get(), data.data(), static_cast<int>(data.size())) < 0) {
      throw std::runtime_error("the peer cannot write any more");
    }
    return take_output();
  }

  [[nodiscard]] std::string unwrap(std::string_view bytes) override {
    feed(bytes);
    std::string data;
    std::string room(16'384, '\0');
    for (;;) {
      const int size =
          SSL_read(ssl_.get(), room.data(), static_cast<int>(room.size()));
      if (size <= 0) {
        ERR_clear_error();
        return data;
      }
      data.append(room, 0, static_cast<std::size_t>(size));
    }
  }

  [[nodiscard]] std::string wrap_end() override {
    SSL_shutdown(ssl_.get());
    ERR_clear_error();
    return take_output();
  }

 private:
  struct Free {
    void operator()(SSL* ssl) const noexcept { SSL_free(ssl); }
  };

  void feed(std::string_view bytes) {
    BIO_write(in_, bytes.data(), static_cast<int>(bytes.size()));
  }

  [[nodiscard]] std::string take_output() {
    std::string bytes(BIO_ctrl_pending(out_), '\0');
    BIO_read(out_, bytes.data(), static_cast<int>(bytes.size()));
    return bytes;
  }

  const std::unique_ptr<SSL, Free> ssl_;
  BIO* const in_;  // both the SSL's
  BIO* const out_;
};

void answer_ready(TLSPeerProtection& peer, const UniquePeerFd& socket) {
  socket.send(peer.answer(socket.recv_ready()));
}

}  // namespace

std::shared_ptr<IOStream> protect_pair(IOLoop& loop, UniquePeerFd client,
                                       UniquePeerFd& server,
                                       const IOStream::Options& options) {
  // Without tickets, what the peer sends is what the test has it send.
  static const SSLContext client_context = make_client_context();
  static const SSLContext server_context =
      make_server_context({.resumption = false});
  auto peer = std::make_unique<TLSPeerProtection>(server_context);
  const auto stream = SSLIOStream::create(
      loop, client.release(), client_context,
      {.server_hostname = "localhost", .handshake_timeout = Duration::zero()},
      options);
  stream->wait_for_handshake([&loop] { loop.stop(); });
  loop.add_handler(server.get(), IOLoop::READ,
                   [&](int, IOLoop::Events) { answer_ready(*peer, server); });
  loop.start();
  loop.remove_handler(server.get());
  while (!peer->done()) {
    server.send(peer->answer(server.recv()));
  }
  server.protect(std::move(peer));
  return stream;
}

}  // namespace waterspout::test
