#include "waterspout/iostream.h"

#include <cerrno>
#include <utility>

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>

#include "base/throw_errno.h"
#include "base/unique_fd.h"
#include "stream/adopt.h"
#include "stream/socket_transport.h"
#include "stream/stream_core.h"

namespace waterspout {
namespace {

using Start = detail::StreamCore::Start;

/// What the constructor's protection would keep from std::make_shared.
class OwnedStream final : public IOStream {
 public:
  explicit OwnedStream(std::unique_ptr<detail::StreamCore> core) noexcept
      : IOStream(std::move(core)) {}
};

void set_flag(int fd, int get, int set, int flag) {
  const int flags = ::fcntl(fd, get);
  const bool done = flags >= 0 && ((flags & flag) != 0 ||
                                   ::fcntl(fd, set, flags | flag) == 0);
  if (!done) {
    throw_errno(errno, "IOStream", "fd " + std::to_string(fd));
  }
}

void check_is_socket(int fd) {
  int type = 0;
  socklen_t size = sizeof type;
  if (::getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) != 0) {
    throw_errno(errno, "IOStream", "fd " + std::to_string(fd));
  }
}

// A socket without a peer was never connected, or its peer has reset it
// already: then an error waits for the first read.
Start start_of(int fd) {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  if (::getpeername(fd, reinterpret_cast<sockaddr*>(&address), &size) == 0) {
    return Start::open;
  }
  pollfd state{fd, 0, 0};
  const bool reset =
      ::poll(&state, 1, 0) == 1 && (state.revents & POLLERR) != 0;
  return reset ? Start::open : Start::unconnected;
}

Address name_or_none(int fd, Address (*name_of)(int)) {
  try {
    return fd < 0 ? Address() : name_of(fd);
  } catch (const std::system_error&) {
    return {};
  }
}

}  // namespace

IOStream::IOStream(std::unique_ptr<detail::StreamCore> core) noexcept
    : BaseIOStream(std::move(core)) {}

std::shared_ptr<IOStream> IOStream::create(IOLoop& loop, Options options) {
  auto core = std::make_unique<detail::StreamCore>(
      loop.core(), std::make_unique<SocketTransport>(), Start::unconnected,
      options);
  return std::make_shared<OwnedStream>(std::move(core));
}

std::shared_ptr<IOStream> IOStream::create(IOLoop& loop, int fd,
                                           Options options) {
  UniqueFd owned(fd);
  check_is_socket(fd);
  set_flag(fd, F_GETFL, F_SETFL, O_NONBLOCK);
  set_flag(fd, F_GETFD, F_SETFD, FD_CLOEXEC);
  const Start start = start_of(fd);
  auto core = std::make_unique<detail::StreamCore>(
      loop.core(), std::make_unique<SocketTransport>(std::move(owned)), start,
      options);
  return std::make_shared<OwnedStream>(std::move(core));
}

std::shared_ptr<IOStream> adopt_accepted(IOLoop& loop, UniqueFd fd,
                                         IOStream::Options options,
                                         std::shared_ptr<void> companion) {
  auto transport = std::make_unique<SocketTransport>(std::move(fd));
  transport->keep_while_open(std::move(companion));
  auto core = std::make_unique<detail::StreamCore>(
      loop.core(), std::move(transport), Start::open, options);
  return std::make_shared<OwnedStream>(std::move(core));
}

void IOStream::connect(const Address& address, ConnectCallback callback) {
  core().connect(address, std::move(callback));
}

Address IOStream::local_address() const {
  return name_or_none(fileno(), Address::local_of);
}

Address IOStream::peer_address() const {
  return name_or_none(fileno(), Address::peer_of);
}

}  // namespace waterspout
