// A blocking connection to the server that is measured, plain or over TLS.

#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "base/unique_fd.h"

struct ssl_st;      // OpenSSL's SSL
struct ssl_ctx_st;  // OpenSSL's SSL_CTX

namespace load {

/// Throws std::system_error that names `operation` for a negative result.
long checked(long result, const char* operation);

/// Connects to 127.0.0.1 with TCP_NODELAY. Every failure, also the server's end
/// of the connection where more was to come, is thrown as a
/// std::runtime_error.
class Connection {
 public:
  /// With TLS the certificate is not verified: the server is our own.
  Connection(std::uint16_t port, bool tls);

  void send(std::string_view data);

  /// Lets the kernel keep about twice as many bytes of what was sent.
  void set_send_buffer_size(int bytes);

  /// Fills `into`.
  void receive(std::span<char> into);

  /// Reads to the end of the stream; returns how many bytes came. `scratch` is
  /// read into.
  std::size_t receive_to_end(std::span<char> scratch);

  /// Ends our side; with TLS, with a close_notify.
  void end_output();

  [[nodiscard]] int fd() const noexcept { return fd_.get(); }

 private:
  struct FreeSession {
    void operator()(ssl_st* session) const noexcept;
  };

  std::size_t receive_some(std::span<char> into);

  waterspout::UniqueFd fd_;
  std::unique_ptr<ssl_st, FreeSession> session_;  // null: plain
};

}  // namespace load
