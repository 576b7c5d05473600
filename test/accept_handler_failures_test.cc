// Accepting that fails: what is skipped, what is a shortage, and when it is
// tried again.

#include <cerrno>
#include <chrono>
#include <deque>

#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <doctest/doctest.h>

#include "waterspout/netutil.h"

#include "support/few_descriptors.h"
#include "support/listener.h"
#include "support/loop_fixture.h"
#include "support/virtual_clock.h"

using waterspout::AcceptHandler;
using waterspout::add_accept_handler;
using waterspout::LogLevel;
using waterspout::test::Accepted;
using waterspout::test::FewDescriptors;
using waterspout::test::LoopFixture;
using waterspout::test::VirtualClock;

namespace {

using namespace std::chrono_literals;

// What the next calls of accept4 fail with, once the kernel has a connection to
// give; 0 lets one through.
std::deque<int> next_accepts;
// All fail with it, while it is not 0.
int every_accept = 0;
int accept_calls = 0;

int fail_with(int code) {
  errno = code;
  return -1;
}

}  // namespace

// Takes the place of the C library's for this program and the library in it.
extern "C" int accept4(int fd, sockaddr* address, socklen_t* size, int flags) {
  ++accept_calls;
  if (every_accept != 0) {
    return fail_with(every_accept);
  }
  if (!next_accepts.empty()) {
    const int code = next_accepts.front();
    next_accepts.pop_front();
    if (code != 0) {
      return fail_with(code);
    }
  }
  return static_cast<int>(syscall(SYS_accept4, fd, address, size, flags));
}

namespace {

// Whose connections no call has failed for yet.
class Listener : public waterspout::test::Listener {
 public:
  Listener() {
    next_accepts.clear();
    every_accept = 0;
    accept_calls = 0;
  }
};

}  // namespace

TEST_SUITE_BEGIN("accept_handler_failures");

TEST_CASE(
    "Connections that failed before they were accepted are skipped "
    "(N22)") {
  for (const int code : {ECONNABORTED, EPROTO, EPERM, ENETDOWN, EINTR,
                         EHOSTUNREACH, ENONET, EOPNOTSUPP}) {
    CAPTURE(code);
    LoopFixture loop;
    Listener listener;
    listener.connect(2);
    next_accepts = {code, code, 0, code};
    Accepted accepted;
    const AcceptHandler handler =
        add_accept_handler(loop, listener.fd(), accepted.keep());
    CHECK(loop.run_until([&] { return accepted.count() == 2; }));
  }
}

TEST_CASE(
    "Without descriptors accepting pauses, is told of once, and "
    "recovers by itself within a second (R1)") {
  LoopFixture loop;
  Listener listener;
  listener.connect(20);
  Accepted accepted;
  const AcceptHandler handler =
      add_accept_handler(loop, listener.fd(), accepted.keep());
  loop.expect_log(LogLevel::warning, "Too many open files; clients wait");
  {
    const FewDescriptors few(5);
    CHECK(loop.run_until([&] { return accepted.count() == 5; }));
    const auto turns = loop->statistics().turns;
    const int calls = accept_calls;
    const auto began = std::chrono::steady_clock::now();
    loop.run_until(
        [&] { return std::chrono::steady_clock::now() - began >= 500ms; });
    const auto passed = std::chrono::steady_clock::now() - began;
    CHECK(accept_calls - calls <= passed / 100ms + 2);
    CHECK(loop->statistics().turns - turns <= 1100);  // run_until's own
    // Some come back, and are taken.
    accepted.sockets().erase(accepted.sockets().begin(),
                             accepted.sockets().begin() + 3);
    CHECK(loop.run_until([&] { return accepted.count() == 5; }, 1000ms));
  }
  CHECK(loop.run_until([&] { return accepted.count() == 17; }, 1000ms));
  loop.bound_turns(2000);
}

TEST_CASE(
    "Every shortage pauses accepting for a tenth of a second, and a "
    "warning comes every five seconds (R2, R4)") {
  for (const int code : {EMFILE, ENFILE, ENOBUFS, ENOMEM}) {
    CAPTURE(code);
    VirtualClock clock;
    LoopFixture loop(clock.options());
    Listener listener;
    listener.connect();
    Accepted accepted;
    const AcceptHandler handler =
        add_accept_handler(loop, listener.fd(), accepted.keep());
    every_accept = code;
    loop.expect_log(LogLevel::warning, "accept: fd ");
    loop.expect_log(LogLevel::warning, "clients wait");
    loop->call_later(6s, [] { every_accept = 0; });
    loop->call_later(7s, [&] { loop.stop(); });
    loop.run();
    CHECK(accepted.count() == 1);
    CHECK(accept_calls >= 60);
    CHECK(accept_calls <= 64);
  }
}

TEST_CASE(
    "A failure that nobody knows is an error, and is tried again after a "
    "second") {
  VirtualClock clock;
  LoopFixture loop(clock.options());
  Listener listener;
  listener.connect();
  Accepted accepted;
  const AcceptHandler handler =
      add_accept_handler(loop, listener.fd(), accepted.keep());
  next_accepts = {EFAULT};
  loop.expect_log(LogLevel::error, "accept: fd ");
  const auto began = loop->time();
  loop->call_later(900ms, [&] { CHECK(accepted.count() == 0); });
  loop->call_later(1100ms, [&] { loop.stop(); });
  loop.run();
  CHECK(loop->time() - began == 1100ms);
  CHECK(accepted.count() == 1);
}

TEST_CASE("A whole batch of connections that failed is no reason to spin") {
  VirtualClock clock;
  LoopFixture loop(clock.options());
  Listener listener;
  listener.connect();
  Accepted accepted;
  const AcceptHandler handler =
      add_accept_handler(loop, listener.fd(), accepted.keep());
  every_accept = EPERM;
  loop.expect_log(LogLevel::error, "Operation not permitted");
  loop.expect_log(LogLevel::error, "Operation not permitted");
  loop->call_later(1500ms, [] { every_accept = 0; });
  loop->call_later(2500ms, [&] { loop.stop(); });
  loop.run();
  CHECK(accepted.count() == 1);
  CHECK(accept_calls <= 2 * 128 + 2);
}

TEST_CASE("Connections that come one by one cost few accepts in vain") {
  LoopFixture loop;
  Listener listener;
  Accepted accepted;
  const AcceptHandler handler =
      add_accept_handler(loop, listener.fd(), accepted.keep());
  for (std::size_t i = 1; i <= 64; ++i) {
    listener.connect();
    CHECK(loop.run_until([&] { return accepted.count() == i; }));
  }
  CHECK(accept_calls <= 64 + 64 / 8 + 1);
}

TEST_CASE("One that failed does not hold up those behind it, nor the next") {
  LoopFixture loop;
  Listener listener;
  Accepted accepted;
  const AcceptHandler handler =
      add_accept_handler(loop, listener.fd(), accepted.keep());
  listener.connect();
  CHECK(loop.run_until([&] { return accepted.count() == 1; }));
  next_accepts = {ECONNABORTED};
  listener.connect();
  CHECK(loop.run_until([&] { return accepted.count() == 2; }, 500ms));
}

TEST_CASE("AcceptHandler::pause outlasts the pause of a shortage") {
  VirtualClock clock;
  LoopFixture loop(clock.options());
  Listener listener;
  listener.connect();
  Accepted accepted;
  AcceptHandler handler =
      add_accept_handler(loop, listener.fd(), accepted.keep());
  next_accepts = {EMFILE};
  loop.expect_log(LogLevel::warning, "clients wait");
  loop->call_later(50ms, [&] { handler.pause(); });
  loop->call_later(10s, [&] { loop.stop(); });
  loop.run();
  CHECK(accepted.count() == 0);
  handler.resume();
  loop->call_later(1s, [&] { loop.stop(); });
  loop.run();
  CHECK(accepted.count() == 1);
}

TEST_SUITE_END();
