#include "http_fetch/output.h"

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <utility>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace http_fetch {

namespace {

constexpr std::size_t kCopySize = 65536;  // bytes

// A file for what must wait, of no name, so that it is gone with the process
// however that ends.
OwnedFd make_nameless_file() {
  const char* variable = std::getenv("TMPDIR");
  const std::string folder =
      variable != nullptr && *variable != '\0' ? variable : "/tmp";
  std::string path = folder + "/http_fetch-";
  OwnedFd fd = make_unique_file(path, folder);
  ::unlink(path.c_str());
  return fd;
}

// What open(2) would give a new file.
unsigned ordinary_mode() {
  const mode_t mask = ::umask(0);
  ::umask(mask);
  return 0666 & ~mask;
}

}  // namespace

FileOutput::FileOutput(const std::string& path) : path_(path) {
  namespace fs = std::filesystem;
  // Renaming would replace what is no plain file (think of /dev/null), and a
  // symbolic link instead of what it leads to.
  std::error_code ignored;
  const fs::file_status status = fs::status(path, ignored);
  if (fs::is_regular_file(status)) {
    path_ = fs::canonical(path);
    mode_ = static_cast<unsigned>(status.permissions());
  } else if (fs::exists(status)) {
    fd_ = OwnedFd(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
    if (!fd_) {
      throw_errno(path);
    }
    return;
  }
  if (mode_ == 0) {
    mode_ = ordinary_mode();
  }
  std::string part_path = path_ + ".part-";
  fd_ = make_unique_file(part_path, path_);
  part_path_ = std::move(part_path);
}

FileOutput::~FileOutput() {
  if (!part_path_.empty()) {
    ::unlink(part_path_.c_str());
  }
}

void FileOutput::write(std::string_view data) {
  write_all(fd_.get(), data, path_);
}

void FileOutput::finish() {
  if (part_path_.empty()) {
    return;
  }
  // Some file systems say only when asked to sync that the disk is full; after
  // the rename that would be too late.
  if (::fchmod(fd_.get(), mode_) != 0 || ::fsync(fd_.get()) != 0 ||
      std::rename(part_path_.c_str(), path_.c_str()) != 0) {
    throw_errno(path_);
  }
  part_path_.clear();
}

struct StandardOutput::Part {
  OwnedFd held;  // what came before its turn; none if nothing came
  bool ended = false;
};

class StandardOutput::Turn final : public Output {
 public:
  Turn(StandardOutput& owner, Part& part) : owner_(owner), part_(part) {}
  ~Turn() override { owner_.end(part_); }

  void write(std::string_view data) override { owner_.write(part_, data); }

  // What came of a body that was cut short comes out too, as it does from the
  // first fetch, so there is nothing to make final.
  void finish() override {}

 private:
  StandardOutput& owner_;
  Part& part_;
};

StandardOutput::StandardOutput(BrokenCallback on_broken)
    : on_broken_(std::move(on_broken)) {}

StandardOutput::~StandardOutput() = default;

std::unique_ptr<Output> StandardOutput::next() {
  parts_.push_back(std::make_unique<Part>());
  return std::make_unique<Turn>(*this, *parts_.back());
}

void StandardOutput::write(Part& part, std::string_view data) {
  if (&part == parts_.front().get()) {
    write_now(data);
    return;
  }
  if (!part.held) {
    part.held = make_nameless_file();
  }
  write_all(part.held.get(), data, "temporary file");
}

void StandardOutput::end(Part& part) noexcept {
  part.ended = true;
  while (!parts_.empty() && parts_.front()->ended) {
    parts_.pop_front();
    if (!parts_.empty()) {
      write_held(*parts_.front());
    }
  }
}

void StandardOutput::write_now(std::string_view data) noexcept {
  if (!on_broken_) {
    return;
  }
  try {
    write_all(STDOUT_FILENO, data, "standard output");
  } catch (const std::system_error& error) {
    std::exchange(on_broken_, nullptr)(error.what());
  }
}

void StandardOutput::write_held(Part& part) noexcept {
  if (!part.held) {
    return;
  }
  std::array<char, kCopySize> bytes{};
  off_t offset = 0;
  ssize_t size = 0;
  while (on_broken_ && (size = ::pread(part.held.get(), bytes.data(),
                                       bytes.size(), offset)) > 0) {
    write_now({bytes.data(), static_cast<std::size_t>(size)});
    offset += size;
  }
  if (size < 0 && on_broken_) {
    std::exchange(on_broken_, nullptr)("temporary file: cannot be read back");
  }
  part.held.reset();
}

}  // namespace http_fetch
