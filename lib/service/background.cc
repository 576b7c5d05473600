#include "service/background.h"

#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <iostream>

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/throw_errno.h"
#include "service/high_fd.h"

namespace waterspout::detail {
namespace {

void redirect(int stream, const std::string& path, int flags) {
  constexpr mode_t kMode = 0666;  // and the umask
  const UniqueFd file = above_standard_streams(
      UniqueFd(::open(path.c_str(), flags | O_CLOEXEC | O_NOCTTY, kMode)));
  if (!file || ::dup2(file.get(), stream) < 0) {
    throw_errno(errno, "open", path);
  }
}

}  // namespace

Daemon::Options with_absolute_paths(Daemon::Options options) {
  for (std::string* path :
       {&options.pid_file, &options.stdin_file, &options.stdout_file,
        &options.stderr_file, &options.working_directory}) {
    *path = std::filesystem::absolute(*path).string();
  }
  return options;
}

pid_t fork_process() {
  std::fflush(nullptr);
  std::cout.flush();
  std::clog.flush();
  const pid_t child = ::fork();
  if (child < 0) {
    throw_errno(errno, "fork", "daemon");
  }
  return child;
}

// Where the process ignores SIGCHLD the kernel reaps, and this waits as well.
void reap_child(pid_t child) noexcept {
  while (::waitpid(child, nullptr, 0) < 0 && errno == EINTR) {
  }
}

void enter_background(const Daemon::Options& options) {
  if (::chdir(options.working_directory.c_str()) != 0) {
    throw_errno(errno, "chdir", options.working_directory);
  }
  ::umask(static_cast<mode_t>(options.umask));
  constexpr int kAppend = O_WRONLY | O_CREAT | O_APPEND;
  redirect(STDIN_FILENO, options.stdin_file, O_RDONLY);
  redirect(STDOUT_FILENO, options.stdout_file, kAppend);
  redirect(STDERR_FILENO, options.stderr_file, kAppend);
}

}  // namespace waterspout::detail
