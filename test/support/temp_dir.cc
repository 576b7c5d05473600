#include "support/temp_dir.h"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <fstream>
#include <ios>
#include <iterator>
#include <stdexcept>
#include <system_error>

namespace waterspout::test {

namespace fs = std::filesystem;

TempDir::TempDir() {
  std::string path = fs::temp_directory_path() / "waterspout-test-XXXXXX";
  if (::mkdtemp(path.data()) == nullptr) {
    throw std::system_error(errno, std::generic_category(), path);
  }
  path_ = path;
}

TempDir::~TempDir() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

std::string TempDir::path(std::string_view name) const { return path_ / name; }

std::string TempDir::write(std::string_view name, std::string_view text) const {
  std::string file = path(name);
  std::ofstream out(file, std::ios::binary);
  out.write(text.data(), static_cast<std::streamsize>(text.size()));
  if (!out.flush()) {
    throw std::runtime_error("cannot write " + file);
  }
  return file;
}

std::string TempDir::read(std::string_view name) const {
  std::ifstream in(path(name), std::ios::binary);
  if (!in) {
    throw std::runtime_error("no file " + path(name));
  }
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

std::vector<std::string> TempDir::names() const {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(path_)) {
    names.push_back(entry.path().filename());
  }
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace waterspout::test
