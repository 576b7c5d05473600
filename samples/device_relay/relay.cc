#include "device_relay/relay.h"

#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "waterspout/error.h"

#include "device_relay/consumer.h"
#include "device_relay/session.h"
#include "device_relay/source.h"

namespace device_relay {

using waterspout::IOStream;

namespace {

/// A connection of which it is not known yet what it is.
class Newcomer final : public Session {
 public:
  Newcomer(std::shared_ptr<IOStream> stream, std::shared_ptr<Devices> devices)
      : Session(std::move(stream)), devices_(std::move(devices)) {}

 private:
  void begin() override {
    stream()->read_bytes(1, [self = self<Newcomer>()](std::string_view byte) {
      self->on_kind(byte);
    });
  }

  // The next session takes over the stream, its close callback with it, and
  // this one goes with its own last callback.
  void on_kind(std::string_view byte) {
    if (byte == "\x0a") {
      end_handshake();
      std::make_shared<Source>(stream(), devices_)->start();
    } else if (byte == "\x0b") {
      end_handshake();
      std::make_shared<Consumer>(stream(), devices_)->start();
    } else {
      drop("first byte: " + waterspout::escape_bytes(byte) +
           " is neither a source's nor a consumer's");
    }
  }

  const std::shared_ptr<Devices> devices_;
};

// A device whose network is gone says nothing, and would keep its uuid for
// ever: the kernel asks after half a minute of silence whether it is there.
void ask_when_silent(int fd) {
  constexpr int kOn = 1;
  constexpr int kSilence = 30;  // seconds
  constexpr int kInterval = 10;
  constexpr int kQuestions = 3;
  ::setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &kOn, sizeof kOn);
  ::setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &kSilence, sizeof kSilence);
  ::setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &kInterval, sizeof kInterval);
  ::setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &kQuestions, sizeof kQuestions);
}

waterspout::TCPServer::Options limited(std::size_t max_unsent) {
  if (max_unsent < Relay::kLeastMaxUnsent) {
    throw std::invalid_argument("Relay: max_unsent: is less than " +
                                std::to_string(Relay::kLeastMaxUnsent));
  }
  waterspout::TCPServer::Options options;
  options.stream.max_write_buffer_size = max_unsent;
  return options;
}

}  // namespace

Relay::Relay(waterspout::IOLoop& loop, std::size_t max_unsent)
    : TCPServer(loop, limited(max_unsent)),
      devices_(std::make_shared<Devices>()) {}

void Relay::handle_stream(std::shared_ptr<IOStream> stream,
                          const waterspout::Address& /*address*/) {
  ask_when_silent(stream->fileno());
  std::make_shared<Newcomer>(std::move(stream), devices_)->start();
}

void Relay::handle_drain(IOStream& stream) { stream.close_after_writing(); }

}  // namespace device_relay
