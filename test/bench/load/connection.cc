#include "load/connection.h"

#include <cerrno>
#include <stdexcept>
#include <string>
#include <system_error>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

namespace load {
namespace {

// The client's context, made when the first connection wants it.
SSL_CTX& client_context() {
  static SSL_CTX& context = *[] {
    SSL_CTX* const made = ::SSL_CTX_new(::TLS_client_method());
    if (made == nullptr) {
      throw std::runtime_error("SSL_CTX_new failed");
    }
    ::SSL_CTX_set_verify(made, SSL_VERIFY_NONE, nullptr);
    ::SSL_CTX_set_read_ahead(made, 1);
    return made;
  }();
  return context;
}

int checked_tls(int result, const char* operation) {
  if (result <= 0) {
    throw std::runtime_error(std::string(operation) + ": TLS failed");
  }
  return result;
}

}  // namespace

long checked(long result, const char* operation) {
  if (result < 0) {
    throw std::system_error(errno, std::generic_category(), operation);
  }
  return result;
}

void Connection::FreeSession::operator()(ssl_st* session) const noexcept {
  ::SSL_free(session);
}

Connection::Connection(std::uint16_t port, bool tls)
    : fd_(static_cast<int>(checked(
          ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket"))) {
  sockaddr_in server{};
  server.sin_family = AF_INET;
  server.sin_port = htons(port);
  server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  checked(::connect(fd_.get(), reinterpret_cast<const sockaddr*>(&server),
                    sizeof server),
          "connect");
  const int on = 1;
  checked(::setsockopt(fd_.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on),
          "setsockopt");
  if (tls) {
    session_.reset(::SSL_new(&client_context()));
    checked_tls(::SSL_set_fd(session_.get(), fd_.get()), "SSL_set_fd");
    checked_tls(::SSL_connect(session_.get()), "SSL_connect");
  }
}

void Connection::send(std::string_view data) {
  while (!data.empty()) {
    const long sent =
        session_
            ? checked_tls(::SSL_write(session_.get(), data.data(),
                                      static_cast<int>(data.size())),
                          "SSL_write")
            : checked(::send(fd_.get(), data.data(), data.size(), MSG_NOSIGNAL),
                      "send");
    data.remove_prefix(static_cast<std::size_t>(sent));
  }
}

void Connection::set_send_buffer_size(int bytes) {
  checked(::setsockopt(fd_.get(), SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes),
          "setsockopt");
}

// 0 at the end of the stream.
std::size_t Connection::receive_some(std::span<char> into) {
  if (!session_) {
    return static_cast<std::size_t>(
        checked(::recv(fd_.get(), into.data(), into.size(), 0), "recv"));
  }
  const int got =
      ::SSL_read(session_.get(), into.data(), static_cast<int>(into.size()));
  const bool ended =
      got <= 0 && ::SSL_get_error(session_.get(), got) == SSL_ERROR_ZERO_RETURN;
  return ended ? 0 : static_cast<std::size_t>(checked_tls(got, "SSL_read"));
}

void Connection::receive(std::span<char> into) {
  while (!into.empty()) {
    const std::size_t got = receive_some(into);
    if (got == 0) {
      throw std::runtime_error("the server closed the connection");
    }
    into = into.subspan(got);
  }
}

std::size_t Connection::receive_to_end(std::span<char> scratch) {
  std::size_t total = 0;
  while (const std::size_t got = receive_some(scratch)) {
    total += got;
  }
  return total;
}

void Connection::end_output() {
  if (session_) {
    ::SSL_shutdown(session_.get());
  }
  checked(::shutdown(fd_.get(), SHUT_WR), "shutdown");
}

}  // namespace load
