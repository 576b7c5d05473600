// Subprocess: how a program is started or is not, how it is talked to, and how
// its end is told.

#include "waterspout/subprocess.h"

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdarg>
#include <cstddef>
#include <exception>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <dlfcn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <doctest/doctest.h>

#include "support/child_process.h"
#include "support/fd_count.h"
#include "support/few_descriptors.h"
#include "support/loop_fixture.h"
#include "support/sanitizers.h"
#include "support/stream_helpers.h"
#include "support/subprocesses.h"
#include "support/temp_dir.h"

using waterspout::ExitStatus;
using waterspout::IOLoop;
using waterspout::Subprocess;
using waterspout::SubprocessOptions;
using waterspout::test::Command;
using waterspout::test::end_of;
using waterspout::test::exited_with;
using waterspout::test::fd_count;
using waterspout::test::FewDescriptors;
using waterspout::test::LoopFixture;
using waterspout::test::no_child_left;
using waterspout::test::run_in_child;
using waterspout::test::shell;
using waterspout::test::TempDir;
using waterspout::test::Token;
using waterspout::test::wait_ended;

namespace {

// What pidfd_open(2) does: after so many calls that succeed, one that fails.
int pid_fds_granted = 0;
int pid_fd_error = 0;

class PidFdRefused {
 public:
  PidFdRefused(int error, int granted_before) {
    pid_fds_granted = granted_before;
    pid_fd_error = error;
  }
  ~PidFdRefused() { pid_fd_error = 0; }
  PidFdRefused(const PidFdRefused&) = delete;
  PidFdRefused& operator=(const PidFdRefused&) = delete;
};

}  // namespace

// Comes before the C library's own, for every library in the process.
extern "C" long syscall(long number, ...) noexcept {
  if (number == SYS_pidfd_open && pid_fd_error != 0 && pid_fds_granted-- == 0) {
    errno = std::exchange(pid_fd_error, 0);
    return -1;
  }
  using Syscall = long (*)(long, long, long, long, long, long, long);
  static const auto real =
      reinterpret_cast<Syscall>(dlsym(RTLD_NEXT, "syscall"));
  va_list list;
  va_start(list, number);
  std::array<long, 6> a{};
  for (long& argument : a) {
    argument = va_arg(list, long);
  }
  va_end(list);
  return real(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

namespace {

// The message that a constructor throws; "" if it throws none.
std::string refusal(IOLoop& loop, const Command& command,
                    const SubprocessOptions& options = {}) {
  try {
    const Subprocess process(loop, command, options);
    return "";
  } catch (const std::exception& error) {
    return error.what();
  }
}

}  // namespace

TEST_SUITE_BEGIN("subprocess");

TEST_CASE("A child is talked to by its streams (test_subprocess)") {
  LoopFixture loop;
  Subprocess process(
      loop,
      shell("printf '>>> '; while read line; do "
            "echo \"got $line\"; printf '>>> '; done; exit 3"),
      {.input = Subprocess::STREAM, .output = Subprocess::STREAM});
  std::string said;
  process.output()->read_until(">>> ", [&](std::string_view prompt) {
    said += prompt;
    process.input()->write("hello\n");
    process.output()->read_until("\n", [&](std::string_view line) {
      said += line;
      process.output()->read_until(">>> ", [&](std::string_view) {
        process.input()->close();
        process.output()->read_until_close([&](std::string_view rest) {
          said += "[" + std::string(rest) + "]";
          loop.stop();
        });
      });
    });
  });
  loop.run();
  CHECK(said == ">>> got hello\n[]");
  CHECK(end_of(loop, process).code == 3);
}

TEST_CASE("Closing its input ends a child that reads (test_close_stdin)") {
  LoopFixture loop;
  Subprocess process(
      loop, {"cat"},
      {.input = Subprocess::STREAM, .output = Subprocess::STREAM});
  process.input()->write("all of it");
  process.input()->close_after_writing();
  std::string got;
  process.output()->read_until_close([&](std::string_view data) {
    got = data;
    loop.stop();
  });
  loop.run();
  CHECK(got == "all of it");
  CHECK(end_of(loop, process).success());
}

TEST_CASE("What a child says on standard error is read (test_stderr)") {
  LoopFixture loop;
  Subprocess process(loop, shell("echo hello >&2"),
                     {.errors = Subprocess::STREAM});
  CHECK(process.input() == nullptr);
  CHECK(process.output() == nullptr);
  std::string got;
  process.errors()->read_until("\n", [&](std::string_view line) {
    got = line;
    loop.stop();
  });
  loop.run();
  CHECK(got == "hello\n");
  CHECK(end_of(loop, process).success());
}

TEST_CASE("An exit callback gets the status (test_sigchild)") {
  LoopFixture loop;
  Subprocess process(loop, {"true"});
  CHECK(process.running());
  CHECK_FALSE(process.returncode().has_value());
  const ExitStatus end = end_of(loop, process);
  CHECK(end.success());
  CHECK(end.returncode() == 0);
  CHECK(process.returncode() == 0);
  CHECK_FALSE(process.running());
  CHECK(end.to_string() == "exited with status 0");
  CHECK(no_child_left());
}

TEST_CASE("An exit callback gets the signal (test_sigchild_signal, P3)") {
  LoopFixture loop;
  Subprocess process(loop, {"sleep", "60"});
  int signum = SIGTERM;
  SUBCASE("of terminate") { process.terminate(); }
  SUBCASE("of kill") {
    signum = SIGKILL;
    process.kill();
  }
  SUBCASE("of send_signal") {
    signum = SIGUSR1;
    process.send_signal(SIGUSR1);
  }
  SUBCASE("that dumps core") {
    signum = SIGABRT;
    process.send_signal(SIGABRT);
  }
  const ExitStatus end = end_of(loop, process);
  CHECK(end.signal == signum);
  CHECK(end.returncode() == -signum);
  CHECK(process.returncode() == -signum);
  CHECK_FALSE(end.success());
  CHECK(end.to_string() == "was ended by signal " + std::to_string(signum));
}

TEST_CASE("A status that is not 0 is no success (test_wait_for_exit_raise)") {
  LoopFixture loop;
  Subprocess process(loop, {"false"});
  const ExitStatus end = end_of(loop, process);
  CHECK(end.code == 1);
  CHECK(end.returncode() == 1);
  CHECK_FALSE(end.success());
}

TEST_CASE("A child that is stopped and goes on has not ended (P3)") {
  LoopFixture loop;
  Subprocess process(
      loop, shell("echo up; kill -STOP $$; read line; exit 4"),
      {.input = Subprocess::STREAM, .output = Subprocess::STREAM});
  siginfo_t info{};
  waitid(P_PID, static_cast<id_t>(process.pid()), &info, WSTOPPED | WNOWAIT);
  CHECK(info.si_code == CLD_STOPPED);
  bool ended = false;
  process.set_exit_callback([&](ExitStatus) { ended = true; });
  loop.run_turns(5);
  CHECK_FALSE(ended);
  process.send_signal(SIGCONT);
  process.input()->write("go on\n");
  CHECK(end_of(loop, process).code == 4);
}

TEST_CASE("An exit callback for a child that has ended is posted") {
  LoopFixture loop;
  Subprocess process(loop, {"true"});
  SUBCASE("not noticed yet") { wait_ended(process.pid()); }
  SUBCASE("noticed before") {
    loop.run_until([&] { return !process.running(); });
    CHECK(process.returncode() == 0);
  }
  CHECK(end_of(loop, process).success());
  CHECK(end_of(loop, process).success());  // whoever asks once more
}

TEST_CASE("Subprocess::set_exit_callback has one slot") {
  LoopFixture loop;
  Subprocess process(loop, {"true"});
  const Token token;
  SUBCASE("a second callback replaces the first") {
    process.set_exit_callback(
        [held = token.copy()](ExitStatus) { FAIL_CHECK("was replaced"); });
    CHECK(end_of(loop, process).success());
  }
  SUBCASE("a null callback takes it back") {
    process.set_exit_callback(
        [held = token.copy()](ExitStatus) { FAIL_CHECK("was taken back"); });
    process.set_exit_callback(nullptr);
    loop.run_until([&] { return !process.running(); });
    loop.run_turns(3);
  }
  CHECK(token.alive() == 0);
}

TEST_CASE("An exception in an exit callback goes to the loop") {
  LoopFixture loop;
  loop.expect_log(waterspout::LogLevel::error, "set_exit_callback");
  loop.on_failure = [&](const auto&) { loop.stop(); };
  Subprocess process(loop, {"true"});
  process.set_exit_callback([](ExitStatus) { throw std::runtime_error("no"); });
  loop.run();
  CHECK(loop.failures.size() == 1);
  CHECK(process.returncode() == 0);
}

TEST_CASE("Where nobody can wait for a child, its end is told as an error") {
  // Every case in a process of its own, whose dispositions it changes.
  const auto end_is_unknown = [] {
    IOLoop loop;
    Subprocess process(loop, {"true"});
    std::optional<ExitStatus> end;
    process.set_exit_callback([&](ExitStatus status) {
      end = status;
      loop.stop();
    });
    loop.start();
    return end->error == std::errc::no_child_process && !end->success() &&
                   !end->returncode() && !process.returncode() &&
                   !process.running()
               ? 0
               : 1;
  };
  int status = -1;
  SUBCASE("SIGCHLD is ignored (P6)") {
    status = run_in_child([&] {
      std::signal(SIGCHLD, SIG_IGN);
      return end_is_unknown();
    });
  }
  SUBCASE("SIGCHLD does not leave zombies (P6)") {
    status = run_in_child([&] {
      struct sigaction action {};
      action.sa_handler = SIG_DFL;
      action.sa_flags = SA_NOCLDWAIT;
      sigaction(SIGCHLD, &action, nullptr);
      return end_is_unknown();
    });
  }
  SUBCASE("somebody else has waited for it") {
    status = run_in_child([] {
      IOLoop loop;
      Subprocess process(loop, {"true"});
      waitpid(process.pid(), nullptr, 0);
      process.terminate();  // reaches nobody
      std::string text;
      process.set_exit_callback([&](ExitStatus end) {
        text = end.to_string();
        loop.stop();
      });
      loop.start();
      return text == "ended, but how is not known: No child processes" ? 0 : 1;
    });
  }
  CHECK(exited_with(status, 0));
}

TEST_CASE("Subprocess sets no handler of SIGCHLD, and an application may") {
  LoopFixture loop;
  struct sigaction before {};
  sigaction(SIGCHLD, nullptr, &before);
  int signals = 0;
  loop->add_signal_handler(SIGCHLD, [&](int) { ++signals; });
  Subprocess process(loop, {"true"});
  CHECK(end_of(loop, process).success());
  loop.run_until([&] { return signals > 0; });
  loop->remove_signal_handler(SIGCHLD);
  struct sigaction after {};
  sigaction(SIGCHLD, nullptr, &after);
  const bool same = after.sa_handler == before.sa_handler;
  CHECK(same);
}

TEST_CASE("A program that cannot be started throws and leaves nothing (P7)") {
  const TempDir folder;
  LoopFixture loop;
  const std::size_t fds = fd_count();
  const SubprocessOptions streams{.input = Subprocess::STREAM,
                                  .output = Subprocess::STREAM,
                                  .errors = Subprocess::STREAM};
  CHECK(refusal(loop, {"no-such-program"}, streams) ==
        "Subprocess: no-such-program: No such file or directory");
  CHECK(refusal(loop, {folder.write("text", "x")}, streams)
            .ends_with("text: Permission denied"));
  CHECK(refusal(loop, {"/"}, streams) == "Subprocess: /: Permission denied");
  CHECK(refusal(loop, {"true", std::string(9'000'000, 'x')}, streams) ==
        "Subprocess: true: Argument list too long");
  CHECK(refusal(loop, {"true"},
                {.output = Subprocess::STREAM, .directory = "/no/such"}) ==
        "Subprocess: /no/such: No such file or directory");
  CHECK(refusal(loop, {"true"}, {.output = Subprocess::fd(999)}) ==
        "Subprocess: fd 999: Bad file descriptor");
  CHECK(refusal(loop, {"sh"}, {.search_path = false}) ==
        "Subprocess: sh: No such file or directory");
  CHECK(fd_count() == fds);
  CHECK(no_child_left());
}

TEST_CASE("A command or options that can be none are refused") {
  LoopFixture loop;
  const auto refused = [&](const Command& command,
                           const SubprocessOptions& options = {}) {
    CHECK_THROWS_AS(Subprocess(loop, command, options), std::invalid_argument);
  };
  refused({});
  refused({""});
  refused({"true", std::string("a\0b", 3)});
  refused({"true"}, {.environment = {{"", "x"}}});
  refused({"true"}, {.environment = {{"A=B", "x"}}});
  refused({"true"}, {.environment = {{"A", std::string("\0", 1)}}});
  refused({"true"}, {.output = Subprocess::fd(-1)});
  refused({"true"}, {.output = Subprocess::OUTPUT});
  refused({"true"}, {.stream = {.read_chunk_size = 0}});
  refused({"true"}, {.stream = {.half_close = true}});
  CHECK(no_child_left());

  loop->close();
  CHECK_THROWS_AS(Subprocess(loop, {"true"}), std::logic_error);
}

// Not under sanitizers: some of their own checks need descriptors.
TEST_CASE("A Subprocess that lacks descriptors throws and leaves nothing (P7)" *
          doctest::skip(waterspout::test::kSanitized)) {
  LoopFixture loop;
  int refused = 0;
  bool done = false;
  for (std::size_t room = 0; room < 20 && !done; ++room) {
    const std::size_t before = fd_count();
    try {
      const FewDescriptors few(room);
      Subprocess process(loop, {"true"},
                         {.input = Subprocess::STREAM,
                          .output = Subprocess::STREAM,
                          .errors = Subprocess::STREAM});
      done = true;
      CHECK(end_of(loop, process).success());
    } catch (const std::system_error& error) {
      ++refused;
      CHECK(error.code() == std::errc::too_many_files_open);
    }
    CHECK(fd_count() == before);
    CHECK(no_child_left());
  }
  CHECK(done);
  CHECK(refused >= 5);
}

TEST_CASE("A child that there can be no pidfd for") {
  LoopFixture loop;
  const std::size_t fds = fd_count();
  const SubprocessOptions streams{.input = Subprocess::STREAM,
                                  .output = Subprocess::STREAM};
  SUBCASE("is not started") {
    const PidFdRefused refused(ENOSYS, 0);
    CHECK(refusal(loop, {"cat"}, streams) ==
          "Subprocess: pidfd_open: Function not implemented");
  }
  SUBCASE("is killed if that was found out too late (P7)") {
    const PidFdRefused refused(EMFILE, 1);
    CHECK(refusal(loop, {"cat"}, streams) ==
          "Subprocess: pidfd_open: Too many open files");
  }
  SUBCASE("has ended, if the kernel has reaped it already (P6)") {
    std::optional<Subprocess> process;
    {
      const PidFdRefused refused(ESRCH, 1);
      process.emplace(loop, Command{"cat"}, streams);
    }
    CHECK_FALSE(process->running());
    process->kill();
    CHECK(end_of(loop, *process).error == std::errc::no_child_process);
    process->input()->close();
    waitpid(process->pid(), nullptr, 0);  // in truth it was not reaped
  }
  CHECK(fd_count() == fds);
  CHECK(no_child_left());
}

TEST_CASE("Signals to a child that has ended do nothing") {
  LoopFixture loop;
  Subprocess process(loop, {"true"});
  SUBCASE("and is not noticed yet") { wait_ended(process.pid()); }
  SUBCASE("and is noticed") { CHECK(end_of(loop, process).success()); }
  process.terminate();
  process.kill();
  process.send_signal(SIGUSR1);
  loop.run_until([&] { return !process.running(); });
  CHECK(process.returncode() == 0);
}

TEST_CASE("Subprocess::send_signal throws for what is no signal") {
  LoopFixture loop;
  Subprocess process(loop, {"sleep", "60"});
  CHECK_THROWS_AS(process.send_signal(12345), std::system_error);
  process.kill();
  CHECK(end_of(loop, process).signal == SIGKILL);
}

TEST_SUITE_END();
