#include "loop/handover.h"

#include <stdexcept>
#include <string_view>

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/bufferevent_struct.h>
#include <event2/event.h>

namespace waterspout {
namespace {

// libevent has no public question for the kind of a bufferevent, and to ask
// libevent_openssl would mean to link it. The operations of every kind begin
// with its name, in 2.0, 2.1 and 2.2.
std::string_view kind_of(const bufferevent* connection) {
  return *reinterpret_cast<const char* const*>(connection->be_ops);
}

// A bufferevent keeps others from the front of its output.
std::string copy_of(evbuffer* buffer) {
  constexpr int kFront = 1;
  std::string bytes(evbuffer_get_length(buffer), '\0');
  evbuffer_unfreeze(buffer, kFront);
  const auto copied = evbuffer_copyout(buffer, bytes.data(), bytes.size());
  if (copied != static_cast<ev_ssize_t>(bytes.size())) {
    throw std::logic_error("IOStream: bufferevent: cannot be read from");
  }
  return bytes;
}

}  // namespace

int check_bufferevent(bufferevent* connection) {
  if (connection == nullptr) {
    throw std::invalid_argument("IOStream: bufferevent: is null");
  }
  const std::string_view kind = kind_of(connection);
  if (kind != "socket") {
    throw std::invalid_argument(
        "IOStream: bufferevent: is of kind " + std::string(kind) +
        "; only a plain one on a socket can be taken over");
  }
  const int fd = bufferevent_getfd(connection);
  if (fd < 0) {
    throw std::invalid_argument("IOStream: bufferevent: has no descriptor");
  }
  return fd;
}

// bufferevent_free() frees in the base's next pass; without the descriptor it
// has nothing left to close or to report.
TakenConnection take_connection(bufferevent* connection) {
  TakenConnection taken;
  taken.input = copy_of(bufferevent_get_input(connection));
  taken.output = copy_of(bufferevent_get_output(connection));
  evbuffer_freeze(bufferevent_get_output(connection), 1);
  const int fd = bufferevent_getfd(connection);
  bufferevent_setcb(connection, nullptr, nullptr, nullptr, nullptr);
  bufferevent_disable(connection, EV_READ | EV_WRITE);
  bufferevent_setfd(connection, -1);
  bufferevent_free(connection);
  taken.fd.reset(fd);
  return taken;
}

}  // namespace waterspout
