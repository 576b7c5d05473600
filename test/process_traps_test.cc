// The traps of traps_test.cc that concern the process: forks, and descriptors
// that are inherited or cannot be had.

#include <array>
#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string_view>
#include <system_error>
#include <vector>

#include <fcntl.h>
#include <unistd.h>

#include <doctest/doctest.h>
#include <event2/event.h>

#include "waterspout/ioloop.h"

#include "support/child_process.h"
#include "support/fd_count.h"
#include "support/few_descriptors.h"
#include "support/loop_fixture.h"
#include "support/sanitizers.h"
#include "support/sockets.h"

using waterspout::IOLoop;
using waterspout::test::exited_with;
using waterspout::test::fd_count;
using waterspout::test::FewDescriptors;
using waterspout::test::LoopFixture;
using waterspout::test::make_unix_sockets;
using waterspout::test::run_in_child;
using waterspout::test::SocketPair;

namespace {

using namespace std::chrono_literals;
using Events = IOLoop::Events;

}  // namespace

TEST_SUITE_BEGIN("process_traps");

TEST_CASE("A loop's own descriptors are closed on exec (trap 0.3)") {
  constexpr int kMany = 64;
  std::array<bool, kMany> open_before{};
  for (int fd = 0; fd < kMany; ++fd) {
    open_before.at(static_cast<std::size_t>(fd)) = fcntl(fd, F_GETFD) != -1;
  }
  const LoopFixture loop;
  int own = 0;
  for (int fd = 0; fd < kMany; ++fd) {
    const int flags = fcntl(fd, F_GETFD);
    if (flags != -1 && !open_before.at(static_cast<std::size_t>(fd))) {
      ++own;
      CHECK((flags & FD_CLOEXEC) != 0);
    }
  }
  CHECK(own >= 2);
}

TEST_CASE(
    "A forked child that ends the loop leaves the parent's handlers "
    "alone (trap 0.4, libevent 1.13)") {
  auto loop = std::make_unique<LoopFixture>();
  const SocketPair pair = make_unix_sockets();
  int calls = 0;
  (*loop)->add_handler(pair.server.get(), IOLoop::READ, [&](int, Events) {
    ++calls;
    loop->stop();
  });
  std::function<void()> in_child;
  SUBCASE("by removing them") {
    in_child = [&] { (*loop)->remove_handler(pair.server.get()); };
  }
  SUBCASE("by updating them") {
    in_child = [&] { (*loop)->update_handler(pair.server.get(), 0); };
  }
  SUBCASE("by closing the loop") {
    in_child = [&] { (*loop)->close(); };
  }
  SUBCASE("by closing the loop and the descriptors") {
    in_child = [&] { (*loop)->close(IOLoop::CloseFds::all); };
  }
  SUBCASE("by removing a timeout and adding callbacks") {
    in_child = [&] {
      (*loop)->call_later(0s, [] {});
      (*loop)->add_callback([] {});
      (*loop)->close();
    };
  }
  const int status = run_in_child([&] {
    in_child();
    return 0;
  });
  CHECK(exited_with(status, 0));

  pair.client.send("x");
  loop->run();
  CHECK(calls == 1);
  (*loop)->remove_handler(pair.server.get());
}

TEST_CASE(
    "A forked child cannot start its parent's loop, but one of its own "
    "(trap 0.4)") {
  LoopFixture loop;
  const int status = run_in_child([&] {
    try {
      loop->start();
      return 1;
    } catch (const std::logic_error&) {
      // As it should be.
    }
    IOLoop own;
    int calls = 0;
    own.add_callback([&] {
      ++calls;
      own.stop();
    });
    own.start();
    return calls == 1 ? 0 : 2;
  });
  CHECK(exited_with(status, 0));
  loop.run_turns(1);
}

// Not under sanitizers: some of their own checks need descriptors.
TEST_CASE(
    "A loop that cannot have its descriptors is not made, with epoll or "
    "not at all (trap 0.10)" *
    doctest::skip(waterspout::test::kSanitized)) {
  constexpr int kMade = 10;
  constexpr int kRefused = 11;
  auto try_with = [](std::size_t room) {
    const FewDescriptors few(room);
    try {
      const IOLoop loop;
      const std::string_view method = event_base_get_method(loop.base());
      return method == "epoll" ? kMade : 1;
    } catch (const std::system_error& error) {
      return error.code() == std::errc::too_many_files_open ? kRefused : 2;
    }
  };
  std::vector<int> results;
  for (std::size_t room = 0; room < 12; ++room) {
    results.push_back(run_in_child([&] {
      const std::size_t before = fd_count();
      const int result = try_with(room);
      return fd_count() == before ? result : 3;
    }));
    CAPTURE(room);
    CHECK((exited_with(results.back(), kMade) ||
           exited_with(results.back(), kRefused)));
  }
  CHECK(exited_with(results.front(), kRefused));
  CHECK(exited_with(results.back(), kMade));
}

TEST_SUITE_END();
