#include "stream/pipe_transport.h"

#include <cerrno>
#include <utility>

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/throw_errno.h"
#include "stream/pipe_sigpipe.h"

namespace waterspout {
namespace {

Transfer failed(int code) { return Transfer::failure(errno_code(code)); }

Transfer moved(ssize_t bytes) {
  return {Transfer::Outcome::done, static_cast<std::size_t>(bytes)};
}

std::size_t size_of(std::span<const iovec> pieces) {
  std::size_t size = 0;
  for (const iovec& piece : pieces) {
    size += piece.iov_len;
  }
  return size;
}

// The result, or minus errno.
ssize_t write_once(int fd, std::span<const iovec> pieces) {
  ssize_t bytes = 0;
  do {
    bytes = pieces.size() == 1
                ? ::write(fd, pieces[0].iov_base, pieces[0].iov_len)
                : ::writev(fd, pieces.data(), static_cast<int>(pieces.size()));
  } while (bytes < 0 && errno == EINTR);
  return bytes < 0 ? -errno : bytes;
}

ssize_t write_quietly(int fd, std::span<const iovec> pieces) {
  const SigpipeHeld held;
  const ssize_t result = write_once(fd, pieces);
  if (result == -EPIPE) {
    held.drop_raised();
  }
  return result;
}

}  // namespace

PipeTransport::PipeTransport(UniqueFd fd, std::unique_ptr<NonBlockingMode> mode)
    : fd_(std::move(fd)), mode_(std::move(mode)) {
  struct stat file {};
  is_device_ = ::fstat(fd_.get(), &file) == 0 && S_ISCHR(file.st_mode);
  const int flags = ::fcntl(fd_.get(), F_GETFL);
  only_writes_ = flags >= 0 && (flags & O_ACCMODE) == O_WRONLY;
}

Transfer PipeTransport::read_otherwise(std::span<char> into) noexcept {
  if (only_writes_) {
    return look_for_reader();
  }
  ssize_t bytes = 0;
  do {
    bytes = ::read(fd_.get(), into.data(), into.size());
  } while (bytes < 0 && errno == EINTR);
  if (bytes > 0) {
    return moved(bytes);
  }
  const int code = bytes < 0 ? errno : 0;
  if (code == EAGAIN) {
    return {};
  }
  // A pseudo-terminal whose other side is closed says EIO for the end; so does
  // a terminal that we may not read in the background.
  if (code == 0 || (code == EIO && has(POLLHUP))) {
    return Transfer::Outcome::end;
  }
  return failed(code);
}

// Nothing can be read, but the descriptor was ready: its readers may have gone.
Transfer PipeTransport::look_for_reader() const noexcept {
  if (!has(POLLERR | POLLHUP)) {
    return {};
  }
  return output_waits_ ? failed(EPIPE) : Transfer{Transfer::Outcome::end};
}

bool PipeTransport::has(short condition) const noexcept {
  pollfd state{fd_.get(), 0, 0};
  return ::poll(&state, 1, 0) == 1 && (state.revents & condition) != 0;
}

Transfer PipeTransport::write(std::span<const iovec> pieces) noexcept {
  const ssize_t result = is_device_ ? write_once(fd_.get(), pieces)
                                    : write_quietly(fd_.get(), pieces);
  if (result >= 0) {
    output_waits_ = static_cast<std::size_t>(result) < size_of(pieces);
    return moved(result);
  }
  if (result == -EAGAIN) {
    output_waits_ = true;
    return {};
  }
  const bool hung_up = result == -EIO && has(POLLHUP);
  return failed(hung_up ? EPIPE : static_cast<int>(-result));
}

Transfer PipeTransport::connect(const Address& /*address*/) noexcept {
  return failed(EOPNOTSUPP);
}

std::error_code PipeTransport::connect_result() noexcept {
  return errno_code(EOPNOTSUPP);
}

}  // namespace waterspout
