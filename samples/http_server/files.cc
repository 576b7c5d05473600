#include "http_server/files.h"

#include <cerrno>
#include <system_error>

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace http_server {

namespace {

using Kind = Directory::Entry::Kind;

[[noreturn]] void throw_errno(const std::string& operation) {
  throw std::system_error(errno, std::generic_category(), operation);
}

// Opening a pipe or a device does not wait for its other end. The C library has
// no openat2.
int open_beneath(int directory, const char* path) {
  // A rename somewhere in the path while it is walked through makes the kernel
  // give up; the next attempt rarely meets another.
  constexpr int kAttempts = 8;
  open_how how{};
  how.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS;
  long fd = -1;
  for (int i = 0; i < kAttempts && fd < 0; ++i) {
    fd = ::syscall(SYS_openat2, directory, path, &how, sizeof how);
    if (fd < 0 && errno != EAGAIN && errno != EINTR) {
      break;
    }
  }
  return static_cast<int>(fd);
}

Kind kind_of_failure(const std::string& path) {
  switch (errno) {
    case ENOENT:
    case ENOTDIR:
    case ENAMETOOLONG:
      return Kind::missing;
    case EXDEV:  // out of the directory
    case ELOOP:  // a link to itself
    case EACCES:
    case EPERM:
    case ENXIO:  // a socket, or a device that is not there
    case ENODEV:
      return Kind::forbidden;
    case EAGAIN:
    case EMFILE:
    case ENFILE:
    case ENOMEM:
      return Kind::unavailable;
    default:
      throw_errno("open: " + path);
  }
}

Kind kind_of(mode_t mode) {
  if (S_ISREG(mode)) {
    return Kind::file;
  }
  return S_ISDIR(mode) ? Kind::directory : Kind::forbidden;
}

}  // namespace

File& File::operator=(File&& other) noexcept {
  std::swap(fd_, other.fd_);
  size_ = other.size_;
  modified_ = other.modified_;
  return *this;
}

File::~File() {
  if (fd_ >= 0) {
    ::close(fd_);
  }
}

std::size_t File::read(char* to, std::size_t count,
                       std::uint64_t offset) const {
  std::size_t done = 0;
  while (done < count) {
    const ssize_t got = ::pread(fd_, to + done, count - done,
                                static_cast<off_t>(offset + done));
    if (got == 0) {
      break;
    }
    if (got > 0) {
      done += static_cast<std::size_t>(got);
    } else if (errno != EINTR) {
      throw_errno("pread");
    }
  }
  return done;
}

Directory::Directory(const std::string& path)
    : fd_(::open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC)) {
  if (fd_ < 0) {
    throw_errno(path);
  }
  const int itself = open_beneath(fd_, ".");
  if (itself < 0) {
    const int error = errno;
    ::close(fd_);
    throw std::system_error(error, std::generic_category(), "openat2: " + path);
  }
  ::close(itself);
}

Directory::~Directory() { ::close(fd_); }

Directory::Entry Directory::open(const std::string& path) const {
  Entry entry;
  entry.file.fd_ = open_beneath(fd_, path.empty() ? "." : path.c_str());
  if (!entry.file) {
    entry.kind = kind_of_failure(path);
    return entry;
  }
  struct stat status {};
  if (::fstat(entry.file.fd_, &status) != 0) {
    throw_errno("fstat: " + path);
  }
  entry.kind = kind_of(status.st_mode);
  entry.file.size_ = static_cast<std::uint64_t>(status.st_size);
  entry.file.modified_ =
      std::chrono::sys_seconds(std::chrono::seconds(status.st_mtim.tv_sec));
  if (entry.kind != Kind::file) {
    entry.file = File();
  }
  return entry;
}

}  // namespace http_server
