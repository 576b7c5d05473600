// A directory of one test's own.

#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace waterspout::test {

/// A new, empty directory, removed with all that is in it at the end.
class TempDir {
 public:
  TempDir();
  ~TempDir();

  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;

  [[nodiscard]] std::string path() const { return path_; }
  [[nodiscard]] std::string path(std::string_view name) const;

  /// Makes a file and returns its path.
  std::string write(std::string_view name, std::string_view text) const;

  /// A file's bytes. Throws std::runtime_error if there is no such file.
  [[nodiscard]] std::string read(std::string_view name) const;

  /// The names in it, sorted.
  [[nodiscard]] std::vector<std::string> names() const;

 private:
  std::filesystem::path path_;
};

}  // namespace waterspout::test
