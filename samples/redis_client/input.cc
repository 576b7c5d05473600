#include "redis_client/input.h"

#include <array>
#include <cerrno>
#include <stdexcept>
#include <system_error>

#include <sys/epoll.h>
#include <unistd.h>

namespace redis_client {

using waterspout::IOLoop;

namespace {

// The kernel refuses to poll a file (EPERM), and libevent complains of it on
// standard error: so it is tried without the loop.
bool can_be_polled(int fd) {
  const int poller = ::epoll_create1(EPOLL_CLOEXEC);
  epoll_event event{};
  const bool can = ::epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event) == 0;
  ::close(poller);
  return can;
}

}  // namespace

void Input::resume() {
  flowing_ = true;
  schedule();
}

void Input::schedule() {
  if (!std::exchange(scheduled_, true)) {
    loop_.add_callback([this] {
      scheduled_ = false;
      go_on();
    });
  }
}

void Input::go_on() {
  while (flowing_ && give_line()) {
  }
  if (!flowing_) {
    stop_waiting();
  } else if (source_ == Source::ended) {
    give_end();
  } else if (source_ == Source::always_ready) {
    read();
    schedule();
  } else {
    wait();
  }
}

void Input::wait() {
  if (source_ == Source::pollable) {
    return;
  }
  if (!can_be_polled(fd_)) {
    source_ = Source::always_ready;
    schedule();
    return;
  }
  loop_.add_handler(fd_, IOLoop::READ, [this](int, IOLoop::Events) {
    read();
    go_on();
  });
  source_ = Source::pollable;
}

void Input::stop_waiting() {
  if (source_ == Source::pollable) {
    loop_.remove_handler(fd_);
    source_ = Source::unknown;
  }
}

void Input::read() {
  std::array<char, 65536> piece{};
  const ssize_t size = ::read(fd_, piece.data(), piece.size());
  if (size > 0) {
    bytes_.append(piece.data(), static_cast<std::size_t>(size));
  } else if (size == 0) {
    stop_waiting();
    source_ = Source::ended;
  } else if (errno != EAGAIN && errno != EINTR) {
    const int error = errno;
    stop_waiting();
    throw std::system_error(error, std::generic_category(), "standard input");
  }
}

// Gives the first line, if there is a whole one.
bool Input::give_line() {
  const std::size_t end = bytes_.find('\n', searched_);
  if (end == std::string::npos) {
    searched_ = bytes_.size();
    if (searched_ > kLongestLine) {
      stop_waiting();
      throw std::runtime_error("standard input: a line of more than " +
                               std::to_string(kLongestLine) + " bytes");
    }
    return false;
  }
  const std::string line = bytes_.substr(0, end);
  bytes_.erase(0, end + 1);
  searched_ = 0;
  handlers_.on_line(line);
  return true;
}

// What stands behind the last line's end counts as a line.
void Input::give_end() {
  flowing_ = false;
  if (!bytes_.empty()) {
    const std::string line = std::exchange(bytes_, std::string());
    handlers_.on_line(line);
  }
  handlers_.on_end();
}

}  // namespace redis_client
