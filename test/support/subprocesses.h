// What the tests of Subprocess share: programs run on a fixture's loop, and who
// is left of them.

#pragma once

#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <sys/wait.h>

#include <doctest/doctest.h>

#include "waterspout/subprocess.h"

#include "support/loop_fixture.h"

namespace waterspout::test {

using Command = std::vector<std::string>;

[[nodiscard]] inline Command shell(std::string script) {
  return {"sh", "-c", std::move(script)};
}

/// What a program says on standard output until its end.
[[nodiscard]] inline std::string output_of(LoopFixture& loop,
                                           const Command& command,
                                           SubprocessOptions options = {}) {
  options.output = Subprocess::STREAM;
  Subprocess process(loop, command, options);
  std::optional<std::string> said;
  process.output()->read_until_close(
      [&](std::string_view data) { said = data; });
  bool ended = false;
  process.set_exit_callback([&](ExitStatus) { ended = true; });
  loop.run_until([&] { return said && ended; });
  return said.value_or("");
}

/// How a program ends.
[[nodiscard]] inline ExitStatus end_of(LoopFixture& loop, Subprocess& process) {
  std::optional<ExitStatus> end;
  process.set_exit_callback([&](ExitStatus status) {
    end = status;
    loop.stop();
  });
  CHECK_FALSE(end.has_value());
  loop.run();
  CHECK(end.has_value());
  return end.value_or(ExitStatus{-1, -1, {}});
}

/// True if this process has no child, running or ended, but for the program by
/// which a sanitizer looks symbols up.
[[nodiscard]] inline bool no_child_left() {
  namespace fs = std::filesystem;
  for (const auto& task : fs::directory_iterator("/proc/self/task")) {
    std::ifstream children(task.path() / "children");
    for (std::string pid; children >> pid;) {
      std::ifstream comm("/proc/" + pid + "/comm");
      std::string name;
      std::getline(comm, name);
      if (!name.starts_with("llvm-symbolizer")) {
        return false;
      }
    }
  }
  return true;
}

/// Waits until a child has ended, without taking note of it.
inline void wait_ended(pid_t pid) {
  siginfo_t info{};
  waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOWAIT);
}

}  // namespace waterspout::test
