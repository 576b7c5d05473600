#include "service/pid_file.h"

#include <array>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstddef>
#include <ctime>
#include <memory>
#include <stdexcept>
#include <system_error>
#include <utility>

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/throw_errno.h"
#include "service/high_fd.h"

namespace waterspout::detail {
namespace {

// More than a pid file ever has: 10 digits and a newline.
constexpr std::size_t kMaxText = 16;  // bytes

// Nothing tells when a lock becomes free, so it is asked for so often.
constexpr long kPollInterval = 2'000'000;  // nanoseconds

// For how long a lock that is held by nobody in particular is waited for.
constexpr std::chrono::milliseconds kPatience{100};

struct CloseDirectory {
  void operator()(DIR* directory) const noexcept { ::closedir(directory); }
};

void pause_a_moment() noexcept {
  const timespec interval{0, kPollInterval};
  ::nanosleep(&interval, nullptr);
}

bool same_file(const struct stat& a, const struct stat& b) noexcept {
  return a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

// Without waiting; false if somebody has a lock in the way.
bool lock_now(int fd, int kind, const std::string& path) {
  while (::flock(fd, kind | LOCK_NB) != 0) {
    const int error = errno;
    if (error == EWOULDBLOCK) {
      return false;
    }
    if (error != EINTR) {
      throw_errno(error, "lock", path);
    }
  }
  return true;
}

// Whether `process` has the file `fd` open. It is believed to where that cannot
// be seen: of another user's processes, or without /proc.
bool has_open(pid_t process, int fd) {
  struct stat file {};
  const std::string fds = "/proc/" + std::to_string(process) + "/fd";
  const std::unique_ptr<DIR, CloseDirectory> directory(::opendir(fds.c_str()));
  if (directory == nullptr || ::fstat(fd, &file) != 0) {
    return true;
  }
  while (const dirent* entry = ::readdir(directory.get())) {
    struct stat other {};
    if (::fstatat(::dirfd(directory.get()), entry->d_name, &other, 0) == 0 &&
        same_file(file, other)) {
      return true;
    }
  }
  return false;
}

// Never 1 or less: these are init, and whole groups of processes.
std::optional<pid_t> parse_pid(std::string_view text) {
  pid_t pid = 0;
  const auto [end, error] =
      std::from_chars(text.data(), text.data() + text.size(), pid);
  const bool alone = end == text.data() + text.size() || *end == '\n';
  if (error != std::errc() || !alone || pid <= 1) {
    return std::nullopt;
  }
  return pid;
}

}  // namespace

PidFile::PidFile(std::string path, UniqueFd fd) noexcept
    : path_(std::move(path)), fd_(std::move(fd)) {}

PidFile PidFile::make(const std::string& path) {
  constexpr mode_t kMode = 0644;
  PidFile file(
      path, above_standard_streams(UniqueFd(::open(
                path.c_str(),
                O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY, kMode))));
  if (!file.fd_) {
    throw_errno(errno, "open", path);
  }
  file.check_kind();
  return file;
}

std::optional<PidFile> PidFile::find(const std::string& path) {
  // Not to wait for a writer, if it is a FIFO.
  PidFile file(path,
               UniqueFd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW |
                                                 O_NOCTTY | O_NONBLOCK)));
  if (!file.fd_) {
    const int error = errno;
    if (error == ENOENT) {
      return std::nullopt;
    }
    throw_errno(error, "open", path);
  }
  file.check_kind();
  return file;
}

// A crash of the machine may leave a file of null bytes.
void PidFile::check_kind() const {
  struct stat status {};
  if (::fstat(fd_.get(), &status) != 0) {
    throw_errno(errno, "stat", path_);
  }
  constexpr std::string_view kAllowed("0123456789\n\0", 12);
  if (!S_ISREG(status.st_mode) ||
      status.st_size > static_cast<off_t>(kMaxText) ||
      read_text().find_first_not_of(kAllowed) != std::string::npos) {
    throw std::runtime_error("open: " + path_ + ": is no pid file");
  }
}

std::string PidFile::read_text() const {
  std::array<char, kMaxText> text{};
  const ssize_t size = ::pread(fd_.get(), text.data(), text.size(), 0);
  if (size < 0) {
    throw_errno(errno, "read", path_);
  }
  return {text.data(), static_cast<std::size_t>(size)};
}

bool PidFile::try_lock() {
  if (!lock_now(fd_.get(), LOCK_EX, path_)) {
    return false;
  }
  owner_ = ::getpid();
  return true;
}

bool PidFile::wait_for_lock(Duration timeout) {
  const auto start = std::chrono::steady_clock::now();
  while (!try_lock()) {
    if (std::chrono::steady_clock::now() - start >= timeout) {
      return false;
    }
    pause_a_moment();
  }
  return true;
}

bool PidFile::in_place() const noexcept {
  struct stat named {};
  struct stat opened {};
  return ::lstat(path_.c_str(), &named) == 0 &&
         ::fstat(fd_.get(), &opened) == 0 && same_file(named, opened);
}

std::optional<pid_t> PidFile::holder() const {
  // Shared, so that those who only ask do not see one another.
  if (lock_now(fd_.get(), LOCK_SH, path_)) {
    ::flock(fd_.get(), LOCK_UN);
    return std::nullopt;
  }
  const std::optional<pid_t> pid = parse_pid(read_text());
  return pid && has_open(*pid, fd_.get()) ? pid : std::nullopt;
}

void PidFile::clear() {
  if (::ftruncate(fd_.get(), 0) != 0) {
    throw_errno(errno, "write", path_);
  }
}

void PidFile::write_pid() {
  const std::string text = std::to_string(::getpid()) + "\n";
  const ssize_t written = ::pwrite(fd_.get(), text.data(), text.size(), 0);
  if (written != static_cast<ssize_t>(text.size())) {
    throw_errno(written < 0 ? errno : ENOSPC, "write", path_);
  }
  owner_ = ::getpid();
}

bool PidFile::ours() const noexcept {
  return static_cast<bool>(fd_) && owner_ == ::getpid();
}

void PidFile::remove() noexcept {
  if (ours() && in_place()) {
    ::unlink(path_.c_str());
  }
}

// Closing does not unlock as long as the child has its copy.
void PidFile::give_away() noexcept {
  owner_ = 0;
  fd_.reset();
}

PidFile lock_pid_file(const std::string& operation, const std::string& path) {
  const std::string what = operation + ": " + path;
  const auto start = std::chrono::steady_clock::now();
  for (;;) {
    PidFile file = PidFile::make(path);
    if (file.try_lock()) {
      if (file.in_place()) {
        file.clear();
        return file;
      }
      continue;  // removed before it was locked
    }
    if (const std::optional<pid_t> pid = file.holder()) {
      throw std::runtime_error(what + ": runs already, as process " +
                               std::to_string(*pid));
    }
    if (std::chrono::steady_clock::now() - start >= kPatience) {
      throw std::runtime_error(what + ": locked, as by another start");
    }
    pause_a_moment();
  }
}

}  // namespace waterspout::detail
