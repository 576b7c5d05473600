// Where heads and bodies go: a file that appears when it is complete, or
// standard output, which several fetches take in turns.

#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>

#include "http_fetch/file.h"

namespace http_fetch {

/// What one fetch writes to. Destroyed without finish(), it ends as that of a
/// fetch that failed.
class Output {
 public:
  Output() = default;
  Output(const Output&) = delete;
  Output& operator=(const Output&) = delete;
  virtual ~Output() = default;

  /// Errors of both: throw std::system_error.
  virtual void write(std::string_view data) = 0;
  virtual void finish() = 0;
};

/// A file. What is written goes to a temporary file beside it, which takes its
/// name in finish() and is removed if that is never reached: nobody sees a part
/// under the name of the whole. A device or a pipe is written to directly.
class FileOutput final : public Output {
 public:
  /// Errors: throws std::system_error.
  explicit FileOutput(const std::string& path);
  ~FileOutput() override;

  void write(std::string_view data) override;
  void finish() override;

 private:
  std::string path_;
  std::string part_path_;  // empty: there is no temporary file to take care of
  unsigned mode_ = 0;      // of the file once it is complete
  OwnedFd fd_;
};

/// Standard output as several outputs, one after the other in the order in
/// which they were made. What is written to one before its turn waits in a
/// temporary file, so that any number of large bodies takes no memory.
class StandardOutput {
 public:
  using BrokenCallback = std::function<void(const std::string& reason)>;

  /// `on_broken` is called, once, when nothing more can be written: a failure
  /// of the whole run rather than of the fetch whose turn it happens to be.
  /// What is written from then on is dropped.
  explicit StandardOutput(BrokenCallback on_broken);

  StandardOutput(const StandardOutput&) = delete;
  StandardOutput& operator=(const StandardOutput&) = delete;
  ~StandardOutput();

  /// The next output in the order; its turn ends when it is destroyed.
  /// Lifetime: this object outlives it.
  [[nodiscard]] std::unique_ptr<Output> next();

 private:
  class Turn;
  struct Part;

  void write(Part& part, std::string_view data);
  void end(Part& part) noexcept;
  void write_now(std::string_view data) noexcept;
  void write_held(Part& part) noexcept;

  BrokenCallback on_broken_;                 // empty once it was called
  std::deque<std::unique_ptr<Part>> parts_;  // the first has its turn
};

}  // namespace http_fetch
