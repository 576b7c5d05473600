#include "waterspout/iostream.h"

#include <utility>

#include "loop/handover.h"
#include "stream/adopt.h"
#include "stream/owned_stream.h"
#include "stream/socket_transport.h"
#include "stream/stream_core.h"

namespace waterspout {
namespace {

using Start = detail::StreamCore::Start;

Address name_or_none(int fd, Address (*name_of)(int)) {
  try {
    return fd < 0 ? Address() : name_of(fd);
  } catch (const std::system_error&) {
    return {};
  }
}

}  // namespace

std::shared_ptr<IOStream> IOStream::create(IOLoop& loop, Options options) {
  return make_owned<OwnedStream<IOStream>>(loop.core(),
                                           std::make_unique<SocketTransport>(),
                                           Start::unconnected, options);
}

std::shared_ptr<IOStream> IOStream::create(IOLoop& loop, int fd,
                                           Options options) {
  AdoptedSocket adopted = adopt_socket(fd);
  const Start start = adopted.connected ? Start::open : Start::unconnected;
  return make_owned<OwnedStream<IOStream>>(
      loop.core(), std::move(adopted.transport), start, options);
}

std::shared_ptr<IOStream> adopt_accepted(IOLoop& loop, UniqueFd fd,
                                         const IOStream::Options& options,
                                         Acceptor* acceptor, FirstInput input) {
  auto transport = std::make_unique<SocketTransport>(std::move(fd));
  transport->count_for(acceptor);
  const Start start =
      input == FirstInput::likely_there ? Start::open_with_input : Start::open;
  return make_owned<OwnedStream<IOStream>>(loop.core(), std::move(transport),
                                           start, options);
}

// Everything that can fail comes before the bufferevent is taken apart.
std::shared_ptr<IOStream> IOStream::adopt(IOLoop& loop, bufferevent* connection,
                                          Options options) {
  if (!is_connected(check_bufferevent(connection))) {
    throw std::invalid_argument("IOStream: bufferevent: is not connected");
  }
  detail::check_stream_options(options);
  if (loop.core().closed()) {
    throw std::logic_error("IOStream: the loop is closed");
  }
  TakenConnection taken = take_connection(connection);
  std::shared_ptr<IOStream> stream = create(loop, taken.fd.release(), options);
  stream->core().take_in(taken.input);
  if (!taken.output.empty()) {
    stream->write(taken.output);
  }
  return stream;
}

IOStream::Released IOStream::release() {
  core().check_nothing_pending("release");
  if (dynamic_cast<SocketTransport*>(core().transport()) == nullptr) {
    throw std::logic_error("release: the stream is protected by TLS");
  }
  Released released;
  released.unread = core().take_all_unread();
  const CloseCallback dropped = core().take_close_callback();
  const std::unique_ptr<Transport> transport = core().let_go();
  released.fd = static_cast<SocketTransport&>(*transport).take_fd().release();
  return released;
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
