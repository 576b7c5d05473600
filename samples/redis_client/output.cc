#include "redis_client/output.h"

#include <cerrno>
#include <cstddef>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

namespace redis_client {

namespace {

constexpr std::size_t kMuch = 65536;  // bytes, not worth gathering any more

void wait_writable(int fd) {
  pollfd entry{.fd = fd, .events = POLLOUT, .revents = 0};
  ::poll(&entry, 1, -1);
}

void write_all(int fd, std::string_view data) {
  while (!data.empty()) {
    const ssize_t size = ::write(fd, data.data(), data.size());
    if (size >= 0) {
      data.remove_prefix(static_cast<std::size_t>(size));
    } else if (errno == EAGAIN) {
      wait_writable(fd);  // somebody else has made it non-blocking
    } else if (errno != EINTR) {
      throw std::system_error(errno, std::generic_category(),
                              "standard output");
    }
  }
}

}  // namespace

void Output::write(std::string_view text) {
  if (gathered_.size() + text.size() > kMuch) {
    flush();
    write_all(STDOUT_FILENO, text);
    return;
  }
  gathered_.append(text);
  if (!std::exchange(flush_is_due_, true)) {
    loop_.add_callback([this] { flush(); });
  }
}

void Output::flush() {
  flush_is_due_ = false;
  write_all(STDOUT_FILENO, std::exchange(gathered_, std::string()));
}

// If nobody listens to what goes wrong, there is nobody to tell that either.
void complain(std::string_view text) {
  try {
    write_all(STDERR_FILENO, std::string(text).append("\n"));
  } catch (const std::system_error&) {
  }
}

void reserve_standard_streams() {
  for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (::fcntl(fd, F_GETFD) < 0) {
      // The lowest number that is free, which is this one. What cannot be read
      // takes the place of the input, and what cannot be written the others'.
      ::open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY);
    }
  }
}

}  // namespace redis_client
