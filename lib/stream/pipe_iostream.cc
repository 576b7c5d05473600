#include "waterspout/pipe_iostream.h"

#include <cerrno>
#include <stdexcept>
#include <string>
#include <utility>

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/throw_errno.h"
#include "base/unique_fd.h"
#include "stream/owned_stream.h"
#include "stream/pipe_adopt.h"
#include "stream/pipe_mode.h"
#include "stream/pipe_transport.h"

namespace waterspout {
namespace {

std::shared_ptr<PipeIOStream> make_stream(IOLoop& loop,
                                          std::unique_ptr<Transport> transport,
                                          BaseIOStream::Options options) {
  check_pipe_options(options);
  return make_owned<OwnedStream<PipeIOStream>>(
      loop.core(), std::move(transport), detail::StreamCore::Start::open,
      options);
}

[[noreturn]] void refuse(int fd, int code, const std::string& why = {}) {
  throw_errno(code, "PipeIOStream", "fd " + std::to_string(fd) + why);
}

const char* describe_kind(mode_t mode) {
  if (S_ISREG(mode)) {
    return "a regular file";
  }
  if (S_ISDIR(mode)) {
    return "a directory";
  }
  return S_ISCHR(mode) ? "a device that is always ready" : "always ready";
}

// The loop's own epoll would find out too, but only when the first operation is
// under way.
void check_can_be_polled(int fd) {
  struct stat file {};
  if (::fstat(fd, &file) != 0) {
    refuse(fd, errno);
  }
  if (S_ISFIFO(file.st_mode) || S_ISSOCK(file.st_mode)) {
    return;
  }
  const UniqueFd probe(::epoll_create1(EPOLL_CLOEXEC));
  epoll_event nothing{};
  if (!probe || ::epoll_ctl(probe.get(), EPOLL_CTL_ADD, fd, &nothing) != 0) {
    const int code = errno;
    refuse(fd, code,
           code != EPERM ? ""
                         : std::string(" is ") + describe_kind(file.st_mode) +
                               ", which cannot be waited for");
  }
}

void close_on_exec(int fd) {
  if (fd > STDERR_FILENO && ::fcntl(fd, F_SETFD, FD_CLOEXEC) != 0) {
    refuse(fd, errno);
  }
}

}  // namespace

std::shared_ptr<PipeIOStream> PipeIOStream::create(IOLoop& loop, int fd,
                                                   Options options) {
  UniqueFd owned(fd);
  check_can_be_polled(fd);
  close_on_exec(fd);
  auto mode = std::make_unique<NonBlockingMode>(fd);
  return make_stream(
      loop, std::make_unique<PipeTransport>(std::move(owned), std::move(mode)),
      options);
}

std::shared_ptr<PipeIOStream> adopt_pipe(IOLoop& loop, UniqueFd fd,
                                         BaseIOStream::Options options) {
  return make_stream(loop, std::make_unique<PipeTransport>(std::move(fd)),
                     options);
}

void check_pipe_options(const BaseIOStream::Options& options) {
  detail::check_stream_options(options);
  if (options.half_close) {
    throw std::invalid_argument(
        "PipeIOStream: half_close: a pipe has one direction; close it");
  }
}

}  // namespace waterspout
