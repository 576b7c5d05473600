// Files for the bodies: owned descriptors and writing all of something.

#pragma once

#include <string>
#include <string_view>
#include <utility>

namespace http_fetch {

/// A descriptor that is closed with its owner. -1 is none.
class OwnedFd {
 public:
  OwnedFd() = default;
  explicit OwnedFd(int fd) noexcept : fd_(fd) {}
  OwnedFd(OwnedFd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  OwnedFd& operator=(OwnedFd&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~OwnedFd() { reset(); }

  [[nodiscard]] int get() const noexcept { return fd_; }
  explicit operator bool() const noexcept { return fd_ >= 0; }
  void reset() noexcept;

 private:
  int fd_ = -1;
};

/// Throws std::system_error for errno: "`name`: reason".
[[noreturn]] void throw_errno(const std::string& name);

/// Writes all of `data`, and waits for as long as `fd` does not take it: the
/// loop stands still meanwhile, so a slow pipe on standard output slows every
/// fetch. In a program that fetches for one user and then ends, that is
/// back-pressure at the price of nothing; a server would write by the loop.
///
/// Errors: throws std::system_error that names `name`.
void write_all(int fd, std::string_view data, const std::string& name);

/// Makes a file of a name that did not exist: `path` and six characters, which
/// are added to it.
/// Errors: throws std::system_error that names `name`.
[[nodiscard]] OwnedFd make_unique_file(std::string& path,
                                       const std::string& name);

/// Makes sure that no socket or file that is opened later gets the number of a
/// standard stream that we were started without. Writing to that stream goes on
/// to fail.
void reserve_standard_streams();

}  // namespace http_fetch
