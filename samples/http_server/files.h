// The files below one directory, and nothing else.

#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

namespace http_server {

/// A regular file that is open for reading, or none.
class File {
 public:
  File() noexcept = default;
  File(File&& other) noexcept
      : fd_(std::exchange(other.fd_, -1)),
        size_(other.size_),
        modified_(other.modified_) {}
  File& operator=(File&& other) noexcept;
  ~File();

  explicit operator bool() const noexcept { return fd_ >= 0; }

  /// As they were when it was opened.
  [[nodiscard]] std::uint64_t size() const noexcept { return size_; }  // bytes
  [[nodiscard]] std::chrono::sys_seconds modified() const noexcept {
    return modified_;
  }

  /// Reads up to `count` bytes from `offset` on; fewer only at the end. The
  /// loop waits for the disk meanwhile, as it has to: a regular file cannot be
  /// polled, it is always ready.
  /// Errors: throws std::system_error.
  [[nodiscard]] std::size_t read(char* to, std::size_t count,
                                 std::uint64_t offset) const;

 private:
  friend class Directory;

  int fd_ = -1;
  std::uint64_t size_ = 0;
  std::chrono::sys_seconds modified_{};
};

/// A directory that is served. It goes on to be the same one, whatever its path
/// comes to mean. For any thread.
class Directory {
 public:
  /// What a path leads to.
  struct Entry {
    enum class Kind {
      file,  ///< `file` is open
      directory,
      missing,
      forbidden,    ///< it leads out, is not readable, or is a device or a pipe
      unavailable,  ///< not now: out of descriptors or memory
    };
    Kind kind = Kind::missing;
    File file = {};
  };

  /// Errors: throws std::system_error if `path` is no directory that can be
  ///   read, or the kernel is older than openat2(2).
  explicit Directory(const std::string& path);
  ~Directory();

  Directory(const Directory&) = delete;
  Directory& operator=(const Directory&) = delete;

  /// Opens what `path`, relative and without a NUL, leads to. No "..", absolute
  /// path or symbolic link leads out of the directory; the kernel sees to that
  /// (RESOLVE_BENEATH), so that nobody can exchange a part of the path between
  /// the check and the opening.
  /// Errors: throws std::system_error for what says that the disk is broken.
  [[nodiscard]] Entry open(const std::string& path) const;

 private:
  int fd_;
};

}  // namespace http_server
