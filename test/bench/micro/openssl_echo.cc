#include "openssl_echo.h"

#include <array>
#include <stdexcept>

#include <sys/epoll.h>

#include <openssl/pem.h>

#include "waterspout/testing.h"

namespace micro {
namespace {

using waterspout::BioPtr;
using waterspout::CertificatePtr;
using waterspout::ContextPtr;
using waterspout::KeyPtr;

void check(bool good, const char* operation) {
  if (!good) {
    throw std::runtime_error(std::string(operation) + " failed");
  }
}

BioPtr bio_of(const std::string& text) {
  return BioPtr(::BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

// For both ends; the client does not look at the certificate.
ContextPtr make_context() {
  const auto made = waterspout::testing::make_certificate();
  const CertificatePtr certificate(::PEM_read_bio_X509(
      bio_of(made.certificate).get(), nullptr, nullptr, nullptr));
  const KeyPtr key(::PEM_read_bio_PrivateKey(bio_of(made.key).get(), nullptr,
                                             nullptr, nullptr));
  ContextPtr context(::SSL_CTX_new(::TLS_method()));
  check(context != nullptr, "SSL_CTX_new");
  check(::SSL_CTX_use_certificate(context.get(), certificate.get()) == 1,
        "SSL_CTX_use_certificate");
  check(::SSL_CTX_use_PrivateKey(context.get(), key.get()) == 1,
        "SSL_CTX_use_PrivateKey");
  return context;
}

}  // namespace

OpensslEcho::Endpoint::Endpoint(int fd, SSL_CTX* context, bool client)
    : fd_(fd), ssl_(::SSL_new(context)) {
  check(ssl_ && ::SSL_set_fd(ssl_.get(), fd) == 1, "SSL_set_fd");
  if (client) {
    ::SSL_set_connect_state(ssl_.get());
  } else {
    ::SSL_set_accept_state(ssl_.get());
  }
}

bool OpensslEcho::Endpoint::shake_hands() {
  const int result = ::SSL_do_handshake(ssl_.get());
  check(
      result == 1 || ::SSL_get_error(ssl_.get(), result) == SSL_ERROR_WANT_READ,
      "SSL_do_handshake");
  return result == 1;
}

// The kernel takes a message whole: the other end has read the one before.
void OpensslEcho::Endpoint::send(const std::string& message) {
  const int size = static_cast<int>(message.size());
  check(::SSL_write(ssl_.get(), message.data(), size) == size, "SSL_write");
}

bool OpensslEcho::Endpoint::receive(std::size_t message_size) {
  received_.resize(message_size + 1);  // room to find that there is no more
  for (;;) {
    const int got = ::SSL_read(ssl_.get(), received_.data() + count_,
                               static_cast<int>(received_.size() - count_));
    if (got <= 0) {
      check(::SSL_get_error(ssl_.get(), got) == SSL_ERROR_WANT_READ,
            "SSL_read");
      break;
    }
    count_ += static_cast<std::size_t>(got);
    check(count_ <= message_size, "echo");
  }
  const bool complete = count_ == message_size;
  count_ = complete ? 0 : count_;
  return complete;
}

OpensslEcho::OpensslEcho(std::size_t message_size)
    : message_(message_size, 'x'), epoll_fd_(::epoll_create1(EPOLL_CLOEXEC)) {
  check(static_cast<bool>(epoll_fd_), "epoll_create1");
  waterspout::IOLoop loop;
  const auto streams = waterspout::testing::make_stream_pair(loop);
  streams.client->set_nodelay(true);
  streams.server->set_nodelay(true);
  const ContextPtr context = make_context();
  client_.emplace(streams.client->release().fd, context.get(), true);
  server_.emplace(streams.server->release().fd, context.get(), false);
  for (bool done = false; !done;) {
    const bool client_done = client_->shake_hands();
    done = server_->shake_hands() && client_done;
  }
  watch(*client_);
  watch(*server_);
}

void OpensslEcho::watch(Endpoint& endpoint) {
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.ptr = &endpoint;
  check(::epoll_ctl(epoll_fd_.get(), EPOLL_CTL_ADD, endpoint.fd(), &event) == 0,
        "epoll_ctl");
}

void OpensslEcho::run(std::size_t messages) {
  std::size_t done = 0;
  client_->send(message_);
  while (done < messages) {
    std::array<epoll_event, 2> events{};
    const int ready = ::epoll_wait(epoll_fd_.get(), events.data(),
                                   static_cast<int>(events.size()), -1);
    check(ready >= 0, "epoll_wait");
    for (int i = 0; i < ready; ++i) {
      auto& endpoint =
          *static_cast<Endpoint*>(events[static_cast<std::size_t>(i)].data.ptr);
      if (!endpoint.receive(message_.size())) {
        continue;
      }
      done += &endpoint == &*client_ ? 1 : 0;
      if (done < messages) {
        endpoint.send(message_);
      }
    }
  }
}

}  // namespace micro
