#include "peers/socket.h"

namespace peers {

Socket::Socket(UniqueFd fd, SSL_CTX* context) : fd_(std::move(fd)) {
  if (context != nullptr) {
    session_.reset(make_tls_session(context));
    if (::SSL_set_fd(session_.get(), fd_.get()) != 1) {
      throw_tls_error("SSL_set_fd");
    }
  }
}

// Begins a record only where all of it has room, so nothing stays inside
// OpenSSL, where epoll does not see it.
Socket::Received Socket::receive_tls(std::span<char> into) {
  std::size_t size = 0;
  while (into.size() - size >= SSL3_RT_MAX_PLAIN_LENGTH) {
    const int got = ::SSL_read(session_.get(), into.data() + size,
                               static_cast<int>(into.size() - size));
    if (got <= 0) {
      return {size, next_after(got)};
    }
    size += static_cast<std::size_t>(got);
  }
  return {size, Next::more};
}

std::optional<std::size_t> Socket::send_tls(std::string_view data) {
  std::size_t size = 0;
  while (size < data.size()) {
    const int sent = ::SSL_write(session_.get(), data.data() + size,
                                 static_cast<int>(data.size() - size));
    if (sent <= 0) {
      return next_after(sent) == Next::wait_for_output ? std::optional(size)
                                                       : std::nullopt;
    }
    size += static_cast<std::size_t>(sent);
  }
  return size;
}

Socket::Next Socket::next_after(int result) {
  switch (::SSL_get_error(session_.get(), result)) {
    case SSL_ERROR_WANT_READ:
      return Next::wait;
    case SSL_ERROR_WANT_WRITE:
      return Next::wait_for_output;
    case SSL_ERROR_ZERO_RETURN:
      return Next::end;
    default:
      give_up_tls(session_.get());
      return Next::end;
  }
}

}  // namespace peers
