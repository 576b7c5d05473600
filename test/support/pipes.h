// Pipes and pseudo-terminals, for what a test does without the library.

#pragma once

#include <array>
#include <string_view>
#include <utility>

#include <fcntl.h>
#include <pty.h>
#include <termios.h>
#include <unistd.h>

#include <doctest/doctest.h>

namespace waterspout::test {

/// A descriptor of the test's own.
class Fd {
 public:
  explicit Fd(int fd = -1) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(other.release()) {}
  Fd& operator=(Fd&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Fd() { close(); }

  [[nodiscard]] int get() const { return fd_; }
  [[nodiscard]] int release() { return std::exchange(fd_, -1); }
  void close() {
    if (fd_ >= 0) {
      ::close(release());
    }
  }

  void write(std::string_view data) const {
    CHECK(::write(fd_, data.data(), data.size()) ==
          static_cast<ssize_t>(data.size()));
  }

  [[nodiscard]] bool non_blocking() const {
    return (fcntl(fd_, F_GETFL) & O_NONBLOCK) != 0;
  }

 private:
  int fd_;
};

struct Pipe {
  Fd reader;
  Fd writer;
};

[[nodiscard]] inline Pipe make_pipe() {
  std::array<int, 2> fds{};
  REQUIRE(pipe2(fds.data(), O_CLOEXEC) == 0);
  return {Fd(fds[0]), Fd(fds[1])};
}

/// Both sides of a pseudo-terminal that passes bytes on as they are.
struct Terminal {
  Fd master;
  Fd slave;
};

[[nodiscard]] inline Terminal make_terminal() {
  int master = -1;
  int slave = -1;
  termios raw{};
  cfmakeraw(&raw);
  REQUIRE(openpty(&master, &slave, nullptr, &raw, nullptr) == 0);
  return {Fd(master), Fd(slave)};
}

}  // namespace waterspout::test
