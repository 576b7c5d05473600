#include "net/connector.h"

#include <cerrno>
#include <new>
#include <utility>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "waterspout/stack_context.h"

#include "base/throw_errno.h"
#include "loop/time_math.h"

namespace waterspout {
namespace {

void switch_on(int fd, int level, int option) {
  const int on = 1;
  // Each of those below is a help where it is to be had.
  static_cast<void>(::setsockopt(fd, level, option, &on, sizeof on));
}

// Two ends that are one: the kernel gives a socket that connects to a free port
// of its own range that very port now and then.
bool is_connected_to_itself(int fd) {
  return Address::local_of(fd) == Address::peer_of(fd);
}

std::error_code result_of(int fd) {
  int code = 0;
  socklen_t size = sizeof code;
  if (::getsockopt(fd, SOL_SOCKET, SO_ERROR, &code, &size) != 0) {
    code = errno;
  }
  if (code != 0) {
    return errno_code(code);
  }
  try {
    return is_connected_to_itself(fd) ? errno_code(ECONNREFUSED)
                                      : std::error_code();
  } catch (const std::system_error& error) {
    return error.code();  // it is gone already
  }
}

}  // namespace

Connector::Connector(detail::LoopCore& core,
                     const std::vector<Address>& addresses,
                     const ConnectSource& source, Owner& owner)
    : core_(core),
      addresses_(interleave_families(addresses, kMostAttempts)),
      source_(source),
      owner_(owner),
      race_(*this, addresses_.size()) {
  attempts_.resize(addresses_.size());
  failures_.reserve(addresses_.size());
}

Connector::~Connector() { core_.remove_timeout(delay_); }

void Connector::give_up(std::error_code error) {
  for (const std::unique_ptr<Attempt>& attempt : attempts_) {
    if (attempt && attempt->fd) {
      failures_.push_back({addresses_[attempt->index], error});
    }
  }
}

bool Connector::begin(std::size_t index) {
  std::unique_ptr<Attempt>& attempt = attempts_[index];
  attempt = std::make_unique<Attempt>();
  attempt->connector = this;
  attempt->index = index;
  const std::error_code error = try_to_begin(*attempt);
  if (error) {
    attempt.reset();
    failures_.push_back({addresses_[index], error});
  }
  return !error;
}

std::error_code Connector::try_to_begin(Attempt& attempt) {
  const Address& address = addresses_[attempt.index];
  attempt.fd = UniqueFd(::socket(
      address.family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  const int fd = attempt.fd.get();
  if (fd < 0) {
    return errno_code(errno);
  }
  if (const std::error_code error = bind_source(fd, address.family())) {
    return error;
  }
  switch_on(fd, IPPROTO_TCP, TCP_NODELAY);
  // An interrupted connect(2) goes on in the background. One that is done at
  // once is told by the loop as any other.
  if (::connect(fd, address.data(), static_cast<socklen_t>(address.size())) !=
          0 &&
      errno != EINPROGRESS && errno != EINTR) {
    return errno_code(errno);
  }
  attempt.writable.emplace(core_, fd, IOLoop::WRITE,
                           Event::calling<&Attempt::on_writable>(attempt));
  return attempt.writable->add();
}

std::error_code Connector::bind_source(int fd, int family) const {
  const bool has_ip = source_.ip.family() != AF_UNSPEC;
  if (!has_ip && source_.port == 0) {
    return {};
  }
  if (has_ip && source_.ip.family() != family) {
    return errno_code(EAFNOSUPPORT);
  }
  const char* const any = family == AF_INET ? "0.0.0.0" : "::";
  const Address source(has_ip ? source_.ip.ip() : any, source_.port);
  if (source_.port != 0) {
    // Or an earlier connection from that port would be in the way for a minute.
    switch_on(fd, SOL_SOCKET, SO_REUSEADDR);
  } else {
    // A port that is chosen while connecting is shared with other peers.
    switch_on(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT);
  }
  if (::bind(fd, source.data(), static_cast<socklen_t>(source.size())) != 0) {
    return errno_code(errno);
  }
  return {};
}

// What the loop calls. All may be gone afterwards.
template <class Step>
void Connector::guarded(Step step) noexcept {
  Owner& owner = owner_;
  try {
    step();
  } catch (const std::bad_alloc&) {
    owner.out_of_memory();
  }
}

void Connector::Attempt::on_writable(IOLoop::Events /*ready*/) noexcept {
  connector->guarded([this] { connector->decided(*this); });
}

void Connector::decided(Attempt& attempt) {
  const std::size_t index = attempt.index;
  if (const std::error_code error = result_of(attempt.fd.get())) {
    attempts_[index].reset();
    failures_.push_back({addresses_[index], error});
    race_.failed();  // Last: *this may be gone.
  } else {
    race_.succeeded(index);  // Last: *this may be gone.
  }
}

void Connector::start_timer() {
  stop_timer();
  const NullContext outside;
  delay_ = core_.call_at(
      later(core_.time(), ConnectRace::kDelay),
      Callback<void()>([this] { guarded([this] { race_.delay_passed(); }); },
                       Origin()));
}

void Connector::stop_timer() { core_.remove_timeout(delay_); }

void Connector::lost() { owner_.not_connected(); }

void Connector::won(std::size_t index) {
  Attempt& winner = *attempts_[index];
  winner.writable.reset();
  UniqueFd fd = std::move(winner.fd);
  attempts_.clear();  // the losers are closed now
  const Address peer = addresses_[index];
  owner_.connected(std::move(fd), peer);  // Last: *this may be gone.
}

}  // namespace waterspout
