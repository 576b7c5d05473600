#include <algorithm>
#include <cerrno>
#include <chrono>
#include <optional>
#include <stdexcept>
#include <string>

#include <sys/socket.h>

#include "waterspout/error.h"
#include "waterspout/netutil.h"

#include "base/throw_errno.h"
#include "loop/loop_core.h"
#include "net/listener.h"

namespace waterspout {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr int kAcceptsPerTurn = 128;
// With one connection each, until it is tried whether more wait.
constexpr int kTurnsBeforeMore = 8;
constexpr Duration kPauseWithoutRoom = milliseconds(100);
constexpr Duration kPauseAfterFailure = seconds(1);
constexpr Duration kBetweenWarnings = seconds(5);

/// What a failed accept(2) means for those behind it in the queue.
enum class Failure { drained, skip, no_room, other };

// accept(2): on Linux it also reports what became of the connection that it
// took from the queue.
Failure classify(int code) {
  switch (code) {
    case EAGAIN:
      return Failure::drained;
    case EINTR:
    case ECONNABORTED:
    case EPERM:
    case ENETDOWN:
    case EPROTO:
    case ENOPROTOOPT:
    case EHOSTDOWN:
    case ENONET:
    case EHOSTUNREACH:
    case EOPNOTSUPP:
    case ENETUNREACH:
      return Failure::skip;
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOMEM:
      return Failure::no_room;
    default:
      return Failure::other;
  }
}

}  // namespace

/// Held by the handler that the loop has for the descriptor, so it goes with
/// that.
struct AcceptHandler::State
    : public std::enable_shared_from_this<AcceptHandler::State> {
  State(IOLoop& loop, int fd, Callback<void(Socket, const Address&)> callback)
      : loop_(loop), fd_(fd), callback_(std::move(callback)) {}

  void remove() noexcept {
    removed_ = true;
    loop_.remove_timeout(retry_);
    loop_.remove_handler(fd_);  // Last: may destroy *this.
  }

  // To wait for nothing needs nothing of the kernel that it could refuse.
  void pause() noexcept {
    paused_ = true;
    loop_.remove_timeout(retry_);
    loop_.update_handler(fd_, 0);
  }

  void resume() {
    if (std::exchange(paused_, false)) {
      try_again();
    }
  }

  void accept_batch() {
    int accepted = 0;
    int failure = 0;
    for (int tries = 0; tries < kAcceptsPerTurn && accepted < at_once_ &&
                        !removed_ && !paused_;
         ++tries) {
      PeerName peer;
      Socket connection = accept_one(peer);
      if (connection) {
        ++accepted;
        failure = 0;
        if (!deliver(std::move(connection), peer.address())) {
          return;
        }
        continue;
      }
      failure = errno;
      if (classify(failure) != Failure::skip) {
        break;
      }
    }
    if (!removed_ && !paused_) {
      after_batch(accepted, failure);
    }
  }

 private:
  /// Filled by accept(2).
  // NOLINTNEXTLINE(cppcoreguidelines-pro-type-member-init): as it says
  struct PeerName {
    [[nodiscard]] sockaddr* data() noexcept {
      return reinterpret_cast<sockaddr*>(&name);
    }
    [[nodiscard]] Address address() noexcept {
      return Address::from_sockaddr(data(), size);
    }

    sockaddr_storage name;
    socklen_t size = sizeof name;
  };

  [[nodiscard]] Socket accept_one(PeerName& peer) const {
    return Socket(
        ::accept4(fd_, peer.data(), &peer.size, SOCK_NONBLOCK | SOCK_CLOEXEC));
  }

  // False where the callback threw, which ends the batch.
  bool deliver(Socket connection, const Address& peer) {
    detail::LoopCore& core = loop_.core();
    const auto exception = core.call<Socket, const Address&>(
        callback_, "add_accept_handler", std::move(connection), peer);
    if (exception) {
      core.report(exception, "add_accept_handler", callback_.origin(),
                  callback_.context());
    }
    return !exception;
  }

  void after_batch(int accepted, int failure) {
    if (failure == 0) {
      more_may_wait();
      return;
    }
    const Failure kind = classify(failure);
    if (kind == Failure::drained) {
      at_once_ = std::max(accepted, 1);
    } else if (kind == Failure::no_room) {
      warn(failure);
      pause_for(kPauseWithoutRoom);
    } else if (kind == Failure::other ||
               (kind == Failure::skip && accepted == 0)) {
      // A whole batch of failures would come again at once.
      log(LogLevel::error, failure, "");
      pause_for(kPauseAfterFailure);
    }
  }

  // The kernel makes a socket before it looks for a connection to give it, so
  // an accept(2) in vain costs as much as one that succeeds. So as many are
  // tried as waited the last time; and more only where that was too few, which
  // a single one does not say.
  void more_may_wait() noexcept {
    if (at_once_ > 1 || ++single_turns_ == kTurnsBeforeMore) {
      at_once_ = std::min(4 * at_once_, kAcceptsPerTurn);
      single_turns_ = 0;
    }
  }

  void warn(int failure) {
    const TimePoint now = loop_.time();
    if (!warned_ || now - *warned_ >= kBetweenWarnings) {
      warned_ = now;
      log(LogLevel::warning, failure, "; clients wait");
    }
  }

  void log(LogLevel level, int failure, const char* consequence) const {
    loop_.logger().log(level, LogCategory::general,
                       describe_error("accept", "fd " + std::to_string(fd_),
                                      errno_code(failure)) +
                           consequence);
  }

  void pause_for(Duration time) {
    loop_.update_handler(fd_, 0);
    const NullContext outside;
    retry_ = loop_.call_later(time, [weak = weak_from_this()] {
      if (const auto self = weak.lock()) {
        self->try_again();
      }
    });
  }

  // What the kernel refuses to poll now it may poll later.
  void try_again() {
    try {
      loop_.update_handler(fd_, IOLoop::READ);
    } catch (const std::system_error& error) {
      log(LogLevel::error, error.code().value(), "");
      pause_for(kPauseAfterFailure);
    }
  }

  IOLoop& loop_;
  const int fd_;
  Callback<void(Socket, const Address&)> callback_;
  bool removed_ = false;
  bool paused_ = false;
  int at_once_ = kAcceptsPerTurn;  // what is accepted in one turn
  int single_turns_ = 0;           // those in which that is 1
  TimeoutHandle retry_;
  std::optional<TimePoint> warned_;
};

AcceptHandler::AcceptHandler(std::weak_ptr<State> state) noexcept
    : state_(std::move(state)) {}

AcceptHandler& AcceptHandler::operator=(AcceptHandler&& other) noexcept {
  if (this != &other) {
    remove();
    state_ = std::move(other.state_);
  }
  return *this;
}

void AcceptHandler::remove() noexcept {
  if (const auto state = std::exchange(state_, {}).lock()) {
    state->remove();
  }
}

void AcceptHandler::pause() noexcept {
  if (const auto state = state_.lock()) {
    state->pause();
  }
}

void AcceptHandler::resume() noexcept {
  if (const auto state = state_.lock()) {
    state->resume();
  }
}

AcceptHandler add_accept_handler(
    IOLoop& loop, int fd, Callback<void(Socket, const Address&)> callback) {
  if (!callback) {
    throw std::invalid_argument("add_accept_handler: callback: is empty");
  }
  prepare_listener(fd, "add_accept_handler");
  callback.set_operation("add_accept_handler");
  const auto state =
      std::make_shared<AcceptHandler::State>(loop, fd, std::move(callback));
  const NullContext outside;  // the callback brings its own
  loop.add_handler(fd, IOLoop::READ, [state](int /*fd*/, IOLoop::Events) {
    state->accept_batch();
  });
  return AcceptHandler(state);
}

}  // namespace waterspout
