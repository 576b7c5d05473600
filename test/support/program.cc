#include "support/program.h"

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <stdexcept>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

extern char** environ;

namespace waterspout::test {

namespace {

using Clock = std::chrono::steady_clock;

int checked(int result, const char* operation) {
  if (result < 0) {
    throw std::system_error(errno, std::generic_category(), operation);
  }
  return result;
}

void close_fd(int& fd) {
  if (fd >= 0) {
    ::close(std::exchange(fd, -1));
  }
}

std::chrono::microseconds duration_of(const timeval& time) {
  return std::chrono::seconds(time.tv_sec) +
         std::chrono::microseconds(time.tv_usec);
}

// Readable when the process has ended. (The C library of Debian 12 declares
// pidfd_open(2) in a way that C++ cannot link.)
int open_pid_fd(pid_t pid) {
  return checked(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)),
                 "pidfd_open");
}

// The two ends of what a program writes to: ours does not block.
struct Ends {
  int ours = -1;
  int theirs = -1;
};

Ends make_pipe() {
  std::array<int, 2> fds{};
  checked(::pipe2(fds.data(), O_CLOEXEC), "pipe2");
  checked(::fcntl(fds[0], F_SETFL, O_NONBLOCK), "fcntl");
  return {fds[0], fds[1]};
}

Ends make_terminal() {
  Ends ends;
  ends.ours =
      checked(::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK),
              "posix_openpt");
  checked(::grantpt(ends.ours), "grantpt");
  checked(::unlockpt(ends.ours), "unlockpt");
  std::array<char, 64> name{};
  if (::ptsname_r(ends.ours, name.data(), name.size()) != 0) {
    throw std::runtime_error("ptsname_r");
  }
  ends.theirs =
      checked(::open(name.data(), O_RDWR | O_NOCTTY | O_CLOEXEC), "open");
  return ends;
}

// What posix_spawn(3) does in the child.
class SpawnPlan {
 public:
  SpawnPlan() {
    posix_spawn_file_actions_init(&actions_);
    posix_spawnattr_init(&attributes_);
    // Tests have watchdogs and signal handlers; the program starts afresh.
    sigset_t all;
    sigfillset(&all);
    posix_spawnattr_setsigdefault(&attributes_, &all);
    sigemptyset(&all);
    posix_spawnattr_setsigmask(&attributes_, &all);
    // A group of its own, with all that it starts, to be killed together.
    posix_spawnattr_setpgroup(&attributes_, 0);
    posix_spawnattr_setflags(&attributes_, POSIX_SPAWN_SETSIGDEF |
                                               POSIX_SPAWN_SETSIGMASK |
                                               POSIX_SPAWN_SETPGROUP);
  }
  ~SpawnPlan() {
    posix_spawn_file_actions_destroy(&actions_);
    posix_spawnattr_destroy(&attributes_);
  }
  SpawnPlan(const SpawnPlan&) = delete;
  SpawnPlan& operator=(const SpawnPlan&) = delete;

  void use(int fd, int as) {
    posix_spawn_file_actions_adddup2(&actions_, fd, as);
  }
  void open(int as, const char* path, int flags) {
    posix_spawn_file_actions_addopen(&actions_, as, path, flags, 0666);
  }
  void close(int fd) { posix_spawn_file_actions_addclose(&actions_, fd); }

  pid_t spawn(const std::vector<std::string>& command,
              const std::vector<std::string>& more_environment) {
    std::vector<char*> arguments = pointers_to(command);
    std::vector<char*> environment = pointers_to(more_environment);
    environment.pop_back();
    for (char** at = environ; *at != nullptr; at++) {
      environment.push_back(*at);
    }
    environment.push_back(nullptr);
    pid_t pid = -1;
    const int error =
        ::posix_spawn(&pid, arguments.front(), &actions_, &attributes_,
                      arguments.data(), environment.data());
    if (error != 0) {
      throw std::system_error(error, std::generic_category(), command.front());
    }
    return pid;
  }

 private:
  // posix_spawn takes pointers to non-const and promises to change nothing.
  static std::vector<char*> pointers_to(const std::vector<std::string>& texts) {
    std::vector<char*> pointers;
    pointers.reserve(texts.size() + 1);
    for (const std::string& text : texts) {
      pointers.push_back(const_cast<char*>(text.c_str()));
    }
    pointers.push_back(nullptr);
    return pointers;
  }

  posix_spawn_file_actions_t actions_{};
  posix_spawnattr_t attributes_{};
};

}  // namespace

Program::Program(std::vector<std::string> command, const Options& options)
    : command_(std::move(command)),
      deadline_(Clock::now() + options.time_limit) {
  spawn(options);
  pid_fd_ = open_pid_fd(pid_);
}

Program::~Program() {
  if (pid_ > 0) {
    ::kill(-pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  close_fd(pid_fd_);
  close_fd(out_.fd);
  close_fd(err_.fd);
}

void Program::spawn(const Options& options) {
  SpawnPlan plan;
  Ends out;
  Ends err = options.err_is_terminal ? make_terminal() : make_pipe();
  err_.fd = err.ours;
  plan.open(STDIN_FILENO, "/dev/null", O_RDONLY);
  plan.use(err.theirs, STDERR_FILENO);
  if (options.out_file.empty()) {
    out = make_pipe();
    out_.fd = out.ours;
    plan.use(out.theirs, STDOUT_FILENO);
  } else if (options.out_file == "-") {
    plan.close(STDOUT_FILENO);
  } else {
    plan.open(STDOUT_FILENO, options.out_file.c_str(),
              O_WRONLY | O_CREAT | O_TRUNC);
  }
  if (options.pass_fd >= 0) {
    plan.use(options.pass_fd, 3);
  }
  pid_ = plan.spawn(command_, options.environment);
  close_fd(out.theirs);
  close_fd(err.theirs);
}

const std::string& Program::wait_for_out(std::string_view text) {
  wait_for(out_, text);
  return out_.text;
}

const std::string& Program::wait_for_err(std::string_view text) {
  wait_for(err_, text);
  return err_.text;
}

void Program::wait_for(const Channel& channel, std::string_view text) {
  while (channel.text.find(text) == std::string::npos) {
    if (pid_ < 0) {
      give_up("ended without saying '" + std::string(text) + "'");
    }
    pump();
  }
}

void Program::send_signal(int signum) const {
  if (pid_ > 0) {
    checked(::kill(pid_, signum), "kill");
  }
}

ProgramResult Program::wait() {
  while (pid_ > 0) {
    pump();
  }
  result_.out = std::move(out_.text);
  result_.err = std::move(err_.text);
  return std::move(result_);
}

ProgramResult Program::terminate() {
  send_signal(SIGTERM);
  return wait();
}

// Takes what there is to take; waits if there is nothing.
void Program::pump() {
  const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
      deadline_ - Clock::now());
  if (left.count() <= 0) {
    give_up("took too long");
  }
  // poll(2) ignores the descriptors that are closed already.
  std::array<pollfd, 3> fds{
      {{out_.fd, POLLIN, 0}, {err_.fd, POLLIN, 0}, {pid_fd_, POLLIN, 0}}};
  ::poll(fds.data(), fds.size(), static_cast<int>(left.count()));
  if (fds[2].revents != 0) {
    reap();
  }
  // Behind reap(), for all that a program has said before its end is there.
  drain(out_);
  drain(err_);
}

void Program::drain(Channel& channel) {
  std::array<char, 65536> bytes{};
  while (channel.fd >= 0) {
    const ssize_t size = ::read(channel.fd, bytes.data(), bytes.size());
    if (size > 0) {
      channel.text.append(bytes.data(), static_cast<std::size_t>(size));
    } else if (size < 0 && errno == EAGAIN) {
      return;
    } else {
      close_fd(channel.fd);  // a terminal ends with EIO
    }
    if (channel.text.size() > kMaxOutput) {
      give_up("said too much");
    }
  }
}

void Program::reap() {
  int status = 0;
  rusage usage{};
  checked(::wait4(pid_, &status, 0, &usage), "wait4");
  pid_ = -1;
  if (WIFEXITED(status)) {
    result_.exit_code = WEXITSTATUS(status);
  } else {
    result_.signal = WTERMSIG(status);
  }
  result_.peak_rss_kib = usage.ru_maxrss;
  result_.cpu_time = duration_of(usage.ru_utime) + duration_of(usage.ru_stime);
}

void Program::give_up(std::string_view reason) {
  constexpr std::size_t kShown = 2000;  // bytes
  std::string text;
  for (const std::string& word : command_) {
    text.append(word).append(" ");
  }
  text.append(reason).append("; it said: ");
  text.append(out_.text.substr(0, kShown)).append(" / ");
  text.append(err_.text.substr(0, kShown));
  throw std::runtime_error(text);
}

ProgramResult run_program(std::vector<std::string> command,
                          const Program::Options& options) {
  return Program(std::move(command), options).wait();
}

}  // namespace waterspout::test
