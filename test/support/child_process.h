// Runs a part of a test in a forked child, for what ends a process.

#pragma once

#include <csignal>
#include <iostream>

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

namespace waterspout::test {

/// Runs `function()` in a child whose standard error is dropped, and returns
/// the status that waitpid(2) gives. A child that comes back exits with the
/// function's result, without a word to the test program's end.
template <class Function>
int run_in_child(Function function) {
  std::cout.flush();  // or a child that exits would write it once more
  const pid_t child = fork();
  if (child == 0) {
    alarm(20);
    for (const int signum : {SIGABRT, SIGSEGV, SIGALRM, SIGTERM}) {
      std::signal(signum, SIG_DFL);  // doctest's would tell of a crash
    }
    dup2(open("/dev/null", O_WRONLY | O_CLOEXEC), STDERR_FILENO);
    int result = 99;
    try {
      result = function();
    } catch (...) {
      result = 98;
    }
    _exit(result);
  }
  int status = -1;
  waitpid(child, &status, 0);
  return status;
}

[[nodiscard]] inline bool exited_with(int status, int result) {
  return WIFEXITED(status) && WEXITSTATUS(status) == result;
}

[[nodiscard]] inline bool died_of(int status, int signum) {
  return WIFSIGNALED(status) && WTERMSIG(status) == signum;
}

}  // namespace waterspout::test
