#include "http_fetch/file.h"

#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <system_error>

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

namespace http_fetch {

namespace {

// Standard output may be non-blocking: the flag belongs to the open file, which
// we share with whoever gave it to us.
void wait_until_writable(int fd) {
  pollfd wanted{fd, POLLOUT, 0};
  ::poll(&wanted, 1, -1);
}

}  // namespace

void OwnedFd::reset() noexcept {
  if (fd_ >= 0) {
    ::close(std::exchange(fd_, -1));
  }
}

void throw_errno(const std::string& name) {
  throw std::system_error(errno, std::generic_category(), name);
}

void write_all(int fd, std::string_view data, const std::string& name) {
  while (!data.empty()) {
    const ssize_t written = ::write(fd, data.data(), data.size());
    if (written >= 0) {
      data.remove_prefix(static_cast<std::size_t>(written));
    } else if (errno == EAGAIN) {
      wait_until_writable(fd);
    } else if (errno != EINTR) {
      throw_errno(name);
    }
  }
}

OwnedFd make_unique_file(std::string& path, const std::string& name) {
  path += "XXXXXX";
  OwnedFd fd(::mkostemp(path.data(), O_CLOEXEC));
  if (!fd) {
    throw_errno(name);
  }
  return fd;
}

void reserve_standard_streams() {
  int fd = 0;
  do {
    fd = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  } while (fd >= 0 && fd <= STDERR_FILENO);
  ::close(fd);
}

}  // namespace http_fetch
