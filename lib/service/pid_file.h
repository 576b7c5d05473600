// The pid file of a daemon: who holds its lock runs, and is named in it.

#pragma once

#include <optional>
#include <string>

#include <sys/types.h>

#include "waterspout/ioloop.h"

#include "base/unique_fd.h"

namespace waterspout::detail {

/// An open pid file, with or without its lock.
///
/// The lock (flock(2)) belongs to what open(2) has opened, so children inherit
/// it, and it goes with the last of them. Whoever has it may remove the file,
/// and nobody else does: a file that is locked and still in its place stays
/// there.
class PidFile {
 public:
  /// Opens the file, and makes it where there is none.
  /// Errors: this and find() throw std::system_error, or std::runtime_error for
  ///   what is no pid file: nothing of somebody else's is ever overwritten.
  [[nodiscard]] static PidFile make(const std::string& path);

  /// Opens the file; nothing where there is none.
  [[nodiscard]] static std::optional<PidFile> find(const std::string& path);

  PidFile(PidFile&& other) noexcept = default;
  PidFile& operator=(PidFile&& other) = delete;

  /// As remove().
  ~PidFile() { remove(); }

  /// Takes the lock, unless somebody has it: false then. The process is to
  /// remove the file from now on.
  [[nodiscard]] bool try_lock();

  /// As try_lock(), again and again until `timeout` has passed.
  [[nodiscard]] bool wait_for_lock(Duration timeout);

  /// False if the path names another file by now, or none.
  [[nodiscard]] bool in_place() const noexcept;

  /// The process that holds the lock by what the file says; nothing if the lock
  /// is free, or the file names nobody yet, or somebody who does not have it
  /// open: a number that was left there is never taken for the daemon's.
  [[nodiscard]] std::optional<pid_t> holder() const;

  /// Empties the file. Requires: the lock, as write_pid() does.
  void clear();

  /// Writes this process's number, and makes it the one to remove the file.
  void write_pid();

  /// True in the process that is to remove the file, not in its children.
  [[nodiscard]] bool ours() const noexcept;

  /// Removes the file if that is this process's to do. The lock is kept until
  /// the object goes, and a process that ends has it until the very end.
  void remove() noexcept;

  /// Leaves the lock and the file to a child.
  void give_away() noexcept;

 private:
  PidFile(std::string path, UniqueFd fd) noexcept;

  [[nodiscard]] std::string read_text() const;
  void check_kind() const;

  std::string path_;
  UniqueFd fd_;
  pid_t owner_ = 0;  // the process that is to remove the file
};

/// The file with its lock, empty. Waits a moment for those who only look at it.
/// Errors: throws std::runtime_error, which names `operation` and the process,
///   if it runs already, and as PidFile::make.
[[nodiscard]] PidFile lock_pid_file(const std::string& operation,
                                    const std::string& path);

}  // namespace waterspout::detail
