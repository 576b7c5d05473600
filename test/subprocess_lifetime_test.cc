// Subprocess: many children, many loops, and whoever goes first; no zombie and
// no descriptor is left.

#include <array>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <malloc.h>
#include <sys/wait.h>
#include <unistd.h>

#include <doctest/doctest.h>
#include <event2/event.h>

#include "waterspout/subprocess.h"

#include "support/child_process.h"
#include "support/fd_count.h"
#include "support/loop_fixture.h"
#include "support/sanitizers.h"
#include "support/stream_helpers.h"
#include "support/subprocesses.h"

using waterspout::ExitStatus;
using waterspout::IOLoop;
using waterspout::Subprocess;
using waterspout::SubprocessOptions;
using waterspout::test::BorrowedLoop;
using waterspout::test::Command;
using waterspout::test::end_of;
using waterspout::test::exited_with;
using waterspout::test::fd_count;
using waterspout::test::LoopFixture;
using waterspout::test::no_child_left;
using waterspout::test::output_of;
using waterspout::test::run_in_child;
using waterspout::test::scaled;
using waterspout::test::shell;
using waterspout::test::Token;
using waterspout::test::wait_ended;

using namespace std::chrono_literals;

TEST_SUITE_BEGIN("subprocess_lifetime");

TEST_CASE("Other children of the process are left alone") {
  LoopFixture loop;
  const pid_t other = fork();
  if (other == 0) {
    _exit(7);
  }
  wait_ended(other);
  Subprocess process(loop, {"true"});
  CHECK(end_of(loop, process).success());
  int status = 0;
  CHECK(waitpid(other, &status, WNOHANG) == other);
  CHECK(exited_with(status, 7));
}

TEST_CASE("A thousand children end, and each is told once (P4, P5)") {
  LoopFixture loop;
  loop.bound_turns(20'000);
  const int count = scaled(1000);
  std::vector<std::unique_ptr<Subprocess>> processes;
  std::vector<int> ends(static_cast<std::size_t>(count));
  int ended = 0;
  const std::size_t fds = fd_count();
  for (std::size_t i = 0; i < ends.size(); ++i) {
    processes.push_back(std::make_unique<Subprocess>(
        loop, Command{"cat"}, SubprocessOptions{.input = Subprocess::STREAM}));
    processes.back()->set_exit_callback([&, i](ExitStatus status) {
      CHECK(status.success());
      ++ends[i];
      ++ended;
    });
  }
  for (const auto& process : processes) {
    process->input()->close();  // so all of them end at the same time
  }
  loop.run_until([&] { return ended == count; }, 30s);
  CHECK(ends == std::vector<int>(ends.size(), 1));
  CHECK(fd_count() == fds);
  CHECK(no_child_left());
}

TEST_CASE("Loops in several threads have children of their own") {
  constexpr int kThreads = 4;
  const int each = scaled(50);
  std::array<int, kThreads> right{};
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      IOLoop loop;
      int left = each;
      std::vector<std::unique_ptr<Subprocess>> processes;
      for (int i = 0; i < each; ++i) {
        const int code = static_cast<int>(t) * each + i;
        processes.push_back(std::make_unique<Subprocess>(
            loop, shell("exit " + std::to_string(code))));
        processes.back()->set_exit_callback([&, code](ExitStatus status) {
          right.at(t) += status.code == code ? 1 : 0;
          if (--left == 0) {
            loop.stop();
          }
        });
      }
      loop.start();
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  for (const int count : right) {
    CHECK(count == each);
  }
  CHECK(no_child_left());
}

TEST_CASE("A Subprocess may be destroyed in any state, and no zombie is left") {
  LoopFixture loop;
  const Token token;
  auto process = std::make_unique<Subprocess>(
      loop, shell("read line"), SubprocessOptions{.input = Subprocess::STREAM});
  const auto input = process->input();
  const auto dropped = [held = token.copy()](ExitStatus) {
    FAIL_CHECK("called after the end");
  };
  SUBCASE("while the child runs") { process->set_exit_callback(dropped); }
  SUBCASE("when the child has ended and the loop has not noticed") {
    process->set_exit_callback(dropped);
    input->close();
    wait_ended(process->pid());
  }
  SUBCASE("when the end is known and not told") {
    input->close();
    loop.run_until([&] { return !process->running(); });
    process->set_exit_callback(dropped);
  }
  process.reset();
  input->close();
  loop.run_until(no_child_left);
  loop.run_turns(2);
}

TEST_CASE("A Subprocess may be destroyed in callbacks") {
  LoopFixture loop;
  const Token token;
  auto process = std::make_unique<Subprocess>(
      loop, shell("echo x"), SubprocessOptions{.output = Subprocess::STREAM});
  const auto output = process->output();
  bool called = false;
  const auto destroy = [&] {
    return [&, held = token.copy()](const auto&...) {
      called = true;
      process.reset();
    };
  };
  SUBCASE("its exit callback") { process->set_exit_callback(destroy()); }
  SUBCASE("its exit callback, posted") {
    loop.run_until([&] { return !process->running(); });
    process->set_exit_callback(destroy());
  }
  SUBCASE("its stream's") { output->read_until("\n", destroy()); }
  loop.run_until([&] { return called && no_child_left(); });
  CHECK(process == nullptr);
  output->close();
  CHECK(token.alive() == 0);
}

TEST_CASE("An exit callback may own its Subprocess, which goes with it") {
  LoopFixture loop;
  const auto process = std::make_shared<Subprocess>(loop, Command{"true"});
  std::weak_ptr<Subprocess> alive = process;
  bool called = false;
  process->set_exit_callback(
      [&called, process](ExitStatus status) { called = status.success(); });
  loop.run_until([&] { return called; });
  CHECK(alive.use_count() == 1);
}

TEST_CASE("A child outlives its loop and leaves no zombie for long") {
  const auto process_of = [](IOLoop& loop) {
    return std::make_unique<Subprocess>(
        loop, Command{"cat"}, SubprocessOptions{.input = Subprocess::STREAM});
  };
  LoopFixture later;  // counts the descriptors
  auto loop = std::make_unique<IOLoop>();
  auto process = process_of(*loop);
  const pid_t pid = process->pid();
  SUBCASE("with its Subprocess") {
    bool called = false;
    process->set_exit_callback([&](ExitStatus) { called = true; });
    loop.reset();
    CHECK(process->running());
    process->set_exit_callback([&](ExitStatus) { called = true; });
    process->kill();
    wait_ended(pid);
    CHECK_FALSE(called);
    process.reset();
  }
  SUBCASE("whose Subprocess goes later, while it runs") {
    loop.reset();
    process.reset();
    kill(pid, SIGKILL);
    wait_ended(pid);
    Subprocess next(later, {"true"});
    CHECK(end_of(later, next).success());
  }
  SUBCASE("whose Subprocess has gone before") {
    process.reset();
    loop.reset();
    kill(pid, SIGKILL);
    wait_ended(pid);
    Subprocess next(later, {"true"});
    CHECK(end_of(later, next).success());
  }
  SUBCASE("and has ended before, which nobody has noticed") {
    process->kill();
    wait_ended(pid);
    SUBCASE("with its Subprocess") {
      loop.reset();
      CHECK(process->returncode() == -SIGKILL);
    }
    SUBCASE("without") {
      process.reset();
      loop.reset();
    }
  }
  CHECK(no_child_left());
}

TEST_CASE("A borrowed base goes on while a Subprocess lives, and no longer") {
  BorrowedLoop loop;
  auto process = std::make_unique<Subprocess>(
      loop, Command{"cat"}, SubprocessOptions{.input = Subprocess::STREAM});
  const auto input = process->input();
  SUBCASE("until the child has ended") {
    bool called = false;
    process->set_exit_callback([&](ExitStatus) { called = true; });
    input->close();
    event_base_dispatch(loop->base());
    CHECK(called);
  }
  SUBCASE("until it is destroyed") {
    process.reset();
    event_base_dispatch(loop->base());
    CHECK_FALSE(no_child_left());
    input->close();
    loop.run_until(no_child_left);
  }
}

TEST_CASE("A forked child that drops a Subprocess leaves the parent's alone") {
  LoopFixture loop;
  auto process = std::make_unique<Subprocess>(
      loop, Command{"cat"}, SubprocessOptions{.input = Subprocess::STREAM});
  const int status = run_in_child([&] {
    loop->close();
    process.reset();
    return 0;
  });
  CHECK(exited_with(status, 0));
  CHECK(process->running());
  process->input()->close();
  CHECK(end_of(loop, *process).success());
}

TEST_CASE("A pipe that a grandchild holds open makes no phantom events (P9)") {
  LoopFixture loop;
  Subprocess parent(
      loop, shell("exec 3<&0; cat <&3 >/dev/null & exit 0"),
      {.input = Subprocess::STREAM, .output = Subprocess::STREAM});
  CHECK(end_of(loop, parent).success());
  // The grandchild reads on, and ends when the input does.
  parent.input()->write("still read");
  loop.run_turns(3);
  CHECK_FALSE(parent.input()->closed());
  bool closed = false;
  parent.input()->set_close_callback([&] { closed = true; });
  parent.input()->close();
  loop.run_until([&] { return closed; });
}

TEST_CASE("Children one after the other leave nothing behind") {
  LoopFixture loop;
  loop.bound_turns(5000);
  const std::size_t fds = fd_count();
  std::size_t heap = 0;
  for (int i = 0; i < scaled(200); ++i) {
    CHECK(output_of(loop, {"echo", "x"}) == "x\n");
    heap = i == 10 ? mallinfo2().uordblks : heap;
  }
  CHECK(fd_count() == fds);
  CHECK(mallinfo2().uordblks <= heap + 4096);
  CHECK(no_child_left());
}

TEST_SUITE_END();
