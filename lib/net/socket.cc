#include <unistd.h>

#include "waterspout/netutil.h"

namespace waterspout {

Socket& Socket::operator=(Socket&& other) noexcept {
  if (this != &other) {
    close();
    fd_ = other.release();
  }
  return *this;
}

// close(2) is not retried after EINTR: on Linux the descriptor is gone.
void Socket::close() noexcept {
  const int fd = release();
  if (fd >= 0) {
    ::close(fd);
  }
}

Address Socket::local_address() const { return Address::local_of(fd_); }

}  // namespace waterspout
