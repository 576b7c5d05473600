// Subprocess: what a child gets of this process, and what not.

#include <csignal>
#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>

#include <fcntl.h>
#include <unistd.h>

#include <doctest/doctest.h>

#include "waterspout/subprocess.h"

#include "support/child_process.h"
#include "support/loop_fixture.h"
#include "support/stream_helpers.h"
#include "support/subprocesses.h"
#include "support/temp_dir.h"

using waterspout::ExitStatus;
using waterspout::IOLoop;
using waterspout::Subprocess;
using waterspout::test::Command;
using waterspout::test::end_of;
using waterspout::test::exited_with;
using waterspout::test::LoopFixture;
using waterspout::test::make_pattern;
using waterspout::test::output_of;
using waterspout::test::run_in_child;
using waterspout::test::shell;
using waterspout::test::TempDir;

TEST_SUITE_BEGIN("subprocess_child");

TEST_CASE("A child has the descriptors 0, 1 and 2 and no other (P8)") {
  LoopFixture loop;
  // Such as a library opens that does not know of close-on-exec.
  const int careless = open("/dev/null", O_RDONLY);
  const int high = fcntl(careless, F_DUPFD, 500);
  const Command list = shell("ls /proc/$$/fd; true");
  std::string found;
  SUBCASE("inherited") { found = output_of(loop, list); }
  SUBCASE("streams") {
    found =
        output_of(loop, list,
                  {.input = Subprocess::STREAM, .errors = Subprocess::STREAM});
  }
  SUBCASE("given") {
    found = output_of(
        loop, list,
        {.input = Subprocess::fd(careless), .errors = Subprocess::fd(high)});
  }
  CHECK(found == "0\n1\n2\n");
  CHECK(fcntl(careless, F_GETFD) == 0);  // still the caller's, as it was
  close(careless);
  close(high);
}

TEST_CASE("Several children do not hold each other's pipes open (P-20)") {
  LoopFixture loop;
  Subprocess first(loop, {"cat"}, {.input = Subprocess::STREAM});
  Subprocess second(loop, {"cat"}, {.input = Subprocess::STREAM});
  // Nor do those that the process starts in other ways.
  CHECK((fcntl(first.input()->fileno(), F_GETFD) & FD_CLOEXEC) != 0);
  first.input()->close();
  CHECK(end_of(loop, first).success());
  CHECK(second.running());
  second.input()->close();
  CHECK(end_of(loop, second).success());
}

TEST_CASE("Subprocess::OUTPUT sends errors where the output goes") {
  LoopFixture loop;
  CHECK(output_of(loop, shell("echo out; echo err >&2"),
                  {.errors = Subprocess::OUTPUT}) == "out\nerr\n");
}

TEST_CASE("Subprocess::DEVNULL is empty to read and takes what is written") {
  LoopFixture loop;
  CHECK(output_of(loop, shell("cat; echo lost >&2; echo $?"),
                  {.input = Subprocess::DEVNULL,
                   .errors = Subprocess::DEVNULL}) == "0\n");
}

TEST_CASE("Given descriptors may cross each other and the standard ones") {
  const TempDir folder;
  const std::string path = folder.path("out");
  const int status = run_in_child([&] {
    // Output and errors change places, and the input was closed.
    close(STDIN_FILENO);
    close(STDOUT_FILENO);
    close(STDERR_FILENO);
    const std::string errors_path = folder.path("err");
    if (open("/dev/null", O_RDONLY) != 0 ||
        open(path.c_str(), O_WRONLY | O_CREAT, 0600) != 1 ||
        open(errors_path.c_str(), O_WRONLY | O_CREAT, 0600) != 2) {
      return 1;
    }
    close(STDIN_FILENO);
    IOLoop loop;
    Subprocess process(loop, shell("echo out; echo err >&2"),
                       {.input = Subprocess::STREAM,
                        .output = Subprocess::fd(2),
                        .errors = Subprocess::fd(1)});
    process.set_exit_callback([&](ExitStatus) { loop.stop(); });
    loop.start();
    return 0;
  });
  CHECK(exited_with(status, 0));
  CHECK(folder.read("err") == "out\n");
  CHECK(folder.read("out") == "err\n");
}

TEST_CASE("A child's streams work where the standard ones are closed") {
  const int status = run_in_child([&] {
    for (int fd = 0; fd < 3; ++fd) {
      close(fd);
    }
    IOLoop loop;
    Subprocess process(loop, {"cat"},
                       {.input = Subprocess::STREAM,
                        .output = Subprocess::STREAM,
                        .errors = Subprocess::DEVNULL});
    process.input()->write("through");
    process.input()->close_after_writing();
    std::string got;
    process.output()->read_until_close([&](std::string_view data) {
      got = data;
      loop.stop();
    });
    loop.start();
    return got == "through" ? 0 : 1;
  });
  CHECK(exited_with(status, 0));
}

TEST_CASE("A child's environment is what the options say") {
  LoopFixture loop;
  setenv("WATERSPOUT_KEPT", "kept", 1);
  setenv("WATERSPOUT_GONE", "here", 1);
  const Command print =
      shell("echo $WATERSPOUT_KEPT,$WATERSPOUT_GONE,$WATERSPOUT_NEW");
  const std::map<std::string, std::optional<std::string>> changes{
      {"WATERSPOUT_GONE", std::nullopt}, {"WATERSPOUT_NEW", "a=b"}};
  CHECK(output_of(loop, print) == "kept,here,\n");
  CHECK(output_of(loop, print, {.environment = changes}) == "kept,,a=b\n");
  CHECK(output_of(loop, print, {.environment = {{"WATERSPOUT_KEPT", ""}}}) ==
        ",here,\n");
  CHECK(output_of(loop, {"env"},
                  {.environment = changes, .inherit_environment = false}) ==
        "WATERSPOUT_NEW=a=b\n");
  unsetenv("WATERSPOUT_KEPT");
  unsetenv("WATERSPOUT_GONE");
}

TEST_CASE("A child starts in the directory that it is given") {
  LoopFixture loop;
  CHECK(output_of(loop, {"pwd"}, {.directory = "/usr/bin"}) == "/usr/bin\n");
  // The program itself is looked for from there.
  CHECK(output_of(loop, {"./pwd"}, {.directory = "/usr/bin"}) == "/usr/bin\n");
}

TEST_CASE("A child's signals are as in a fresh process") {
  const int status = run_in_child([] {
    std::signal(SIGPIPE, SIG_IGN);
    std::signal(SIGUSR1, SIG_IGN);
    std::signal(SIGHUP, [](int) {});
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, nullptr);
    LoopFixture loop;
    const auto said_of = [&](const std::string& name) {
      return std::stoull(output_of(loop, {"sed", "-n", "s/^" + name + ":\\t//p",
                                          "/proc/self/status"}),
                         nullptr, 16);
    };
    // Two signals are the C library's own, and cannot be set by anybody.
    constexpr unsigned long long kInternal = 3ULL << 31U;
    if (said_of("SigBlk") != 0 || (said_of("SigIgn") & ~kInternal) != 0) {
      return 1;
    }
    // And this thread's mask is what it was.
    sigset_t mask;
    pthread_sigmask(SIG_BLOCK, nullptr, &mask);
    return sigismember(&mask, SIGUSR1) == 1 ? 0 : 2;
  });
  CHECK(exited_with(status, 0));
}

TEST_CASE("A megabyte goes through a child both ways") {
  LoopFixture loop;
  loop.bound_turns(5000);
  const std::string data = make_pattern(std::size_t{1} << 20U);
  Subprocess process(
      loop, {"cat"},
      {.input = Subprocess::STREAM, .output = Subprocess::STREAM});
  process.input()->write(data);
  process.input()->close_after_writing();
  std::string got;
  process.output()->read_until_close([&](std::string_view all) {
    got = all;
    loop.stop();
  });
  loop.run();
  CHECK(got == data);
  CHECK(end_of(loop, process).success());
}

TEST_CASE("A child that does not read its input ends its stream (N11)") {
  LoopFixture loop;
  Subprocess process(loop, {"true"}, {.input = Subprocess::STREAM});
  bool closed = false;
  process.input()->set_close_callback([&] { closed = true; });
  process.input()->write(make_pattern(1'000'000));
  CHECK(end_of(loop, process).success());
  loop.run_until([&] { return closed; });
  CHECK(process.input()->error() == std::errc::broken_pipe);
}

TEST_SUITE_END();
