// The traps that libevent and the kernel set for a loop, one test each. The
// numbers are those of the project's list of reproduced traps ("trap 0.5") and
// of its notes on libevent ("libevent 1.9").

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <doctest/doctest.h>
#include <event2/event.h>

#include "waterspout/ioloop.h"

#include "support/loop_fixture.h"
#include "support/sockets.h"
#include "support/virtual_clock.h"

using waterspout::IOLoop;
using waterspout::LogLevel;
using waterspout::TimePoint;
using waterspout::test::connect_tcp_pair;
using waterspout::test::LoopFixture;
using waterspout::test::make_unix_sockets;
using waterspout::test::RefusingPort;
using waterspout::test::SocketPair;
using waterspout::test::UniquePeerFd;
using waterspout::test::VirtualClock;

namespace {

using namespace std::chrono_literals;
using Events = IOLoop::Events;

// Keeps the processor busy for `duration` of real time.
void work(std::chrono::nanoseconds duration) {
  const auto end = std::chrono::steady_clock::now() + duration;
  while (std::chrono::steady_clock::now() < end) {
  }
}

// Lets `loop` run for a moment and returns how often it turned.
std::uint64_t turns_in_a_moment(LoopFixture& loop) {
  const std::uint64_t before = loop->statistics().turns;
  loop->call_later(30ms, [&] { loop.stop(); });
  loop.run();
  return loop->statistics().turns - before;
}

}  // namespace

TEST_SUITE_BEGIN("traps");

TEST_CASE(
    "A reset that nobody waits for does not make the loop spin (trap "
    "0.1)") {
  LoopFixture loop;
  SocketPair pair = connect_tcp_pair();
  Events seen = 0;
  loop->add_handler(pair.server.get(), IOLoop::READ, [&](int, Events events) {
    seen = events;
    loop.stop();
  });
  loop->update_handler(pair.server.get(), 0);
  pair.client.reset();
  CHECK(turns_in_a_moment(loop) < 10);
  CHECK(seen == 0);

  loop->update_handler(pair.server.get(), IOLoop::READ);
  loop.run();
  CHECK(seen == IOLoop::READ);
  loop->remove_handler(pair.server.get());
}

TEST_CASE(
    "A descriptor whose number is reused in the same turn gets its own "
    "events, and only those (trap 0.2, libevent 1.9)") {
  LoopFixture loop;
  const SocketPair trigger = make_unix_sockets();
  SocketPair old = make_unix_sockets();
  trigger.client.send("x");
  old.client.send("old");
  UniquePeerFd fresh_client;
  UniquePeerFd fresh;
  std::string got;
  auto reuse = [&] {
    const int number = old.server.get();
    loop->remove_handler(number);
    old.server.close();
    SocketPair pair = make_unix_sockets();
    fresh = pair.client.get() == number ? std::move(pair.client)
                                        : std::move(pair.server);
    CHECK(fresh.get() == number);
    fresh_client =
        std::move(pair.client.get() >= 0 ? pair.client : pair.server);
    loop->add_handler(number, IOLoop::READ, [&](int, Events) {
      got += fresh.recv();
      loop.stop();
    });
  };
  loop->add_handler(trigger.server.get(), IOLoop::READ, [&](int fd, Events) {
    loop->remove_handler(fd);
    reuse();
    CHECK(got.empty());
    loop->call_later(1ms, [&] { fresh_client.send("fresh"); });
  });
  loop->add_handler(old.server.get(), IOLoop::READ, [](int, Events) {});
  loop.run();
  CHECK(got == "fresh");
  loop->remove_handler(fresh.get());
}

TEST_CASE(
    "A descriptor that is closed while a copy lives does not make the "
    "loop spin (trap 0.3, libevent 1.7)") {
  LoopFixture loop;
  SocketPair pair = make_unix_sockets();
  const UniquePeerFd copy(dup(pair.server.get()));
  pair.client.send("x");
  loop->add_handler(pair.server.get(), IOLoop::READ, [&](int fd, Events) {
    loop->remove_handler(fd);
    pair.server.close();
  });
  CHECK(turns_in_a_moment(loop) < 10);
  CHECK(copy.recv() == "x");
}

TEST_CASE(
    "Callbacks that add callbacks let descriptors be polled (trap 0.5, "
    "libevent 1.4)") {
  LoopFixture loop;
  const SocketPair pair = make_unix_sockets();
  int calls = 0;
  int calls_before_read = -1;
  std::function<void()> again = [&] {
    if (++calls == 1) {
      pair.client.send("x");
    }
    if (calls == 100) {
      loop.stop();
    } else {
      loop->add_callback(std::ref(again));
    }
  };
  loop->add_handler(pair.server.get(), IOLoop::READ, [&](int fd, Events) {
    calls_before_read = calls;
    loop->remove_handler(fd);
  });
  loop->add_callback(std::ref(again));
  loop.run();
  CHECK(calls_before_read == 1);
}

TEST_CASE(
    "A timeout that is set at the end of a long callback is not early "
    "(trap 0.6, libevent 1.6)") {
  LoopFixture loop;
  int left = 20;
  // Wakes the loop all the time, so that a timer which is early gets to fire.
  std::function<void()> wake = [&] {
    if (left > 0) {
      loop->call_later(1ms, std::ref(wake));
    }
  };
  wake();
  std::function<void()> set = [&] {
    work(7ms);
    const TimePoint deadline = loop->time() + 5ms;
    loop->call_at(deadline, [&, deadline] {
      CHECK(loop->time() >= deadline);
      if (--left == 0) {
        loop.stop();
      } else {
        set();
      }
    });
  };
  loop->add_callback(std::ref(set));
  loop.run();
  CHECK(left == 0);
  loop.run_until([&] { return loop->statistics().timeouts == 0; });
}

TEST_CASE(
    "Equal deadlines fire in the order of adding (trap 0.7, libevent "
    "1.6)") {
  LoopFixture loop;
  std::vector<int> order;
  const TimePoint deadline = loop->time() + 3ms;
  for (int i = 0; i < 10; ++i) {
    loop->call_at(deadline, [&order, i] { order.push_back(i); });
  }
  loop->call_at(deadline, [&] { loop.stop(); });
  loop.run();
  CHECK(order == std::vector<int>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9});
}

TEST_CASE(
    "A handler that does not read keeps a loop in virtual time from "
    "nothing but time (trap 0.8, libevent 1.1)") {
  const VirtualClock clock;
  LoopFixture loop(clock.options());
  const SocketPair pair = make_unix_sockets();
  pair.client.send("x");
  int calls = 0;
  loop->add_handler(pair.server.get(), IOLoop::READ,
                    [&](int, Events) { ++calls; });

  loop.run_turns(10);
  CHECK(calls >= 5);
  CHECK(calls <= 25);
  loop->remove_handler(pair.server.get());
}

TEST_CASE("A callback that adds itself again holds no cycle (trap 0.17)") {
  struct Ticker {
    void tick(const std::shared_ptr<Ticker>& self) {
      if (++ticks < 5) {
        loop->add_callback([self] { self->tick(self); });
      }
    }
    IOLoop* loop;
    int ticks = 0;
  };
  LoopFixture loop;
  const auto ticker = std::make_shared<Ticker>();
  ticker->loop = &loop.loop();
  ticker->tick(ticker);
  loop.run_turns(3);
  CHECK(ticker.use_count() == 2);
  loop->close();
  CHECK(ticker.use_count() == 1);
}

TEST_CASE("A loop does not return for want of work (libevent 1.1)") {
  LoopFixture loop;
  bool stopped = false;
  std::atomic<bool> running = false;
  std::thread other([&] {
    while (!running) {
      std::this_thread::yield();
    }
    loop->add_callback([&] {
      stopped = true;
      loop.stop();
    });
  });
  loop->add_callback([&] { running = true; });
  loop.run();
  CHECK(stopped);
  other.join();
}

TEST_CASE(
    "A refused connection shows as WRITE, and getsockopt tells why "
    "(libevent 1.8)") {
  LoopFixture loop;
  const RefusingPort refusing;
  const UniquePeerFd fd(
      socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const waterspout::Address address = refusing.address();
  CHECK(connect(fd.get(), address.data(),
                static_cast<socklen_t>(address.size())) == -1);
  Events seen = 0;
  loop->add_handler(fd.get(), IOLoop::WRITE, [&](int, Events events) {
    seen = events;
    loop.stop();
  });
  loop.run();
  CHECK(seen == IOLoop::WRITE);
  int error = 0;
  socklen_t size = sizeof(error);
  getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &error, &size);
  CHECK(error == ECONNREFUSED);
  loop->remove_handler(fd.get());
}

TEST_CASE(
    "Two loops and a neighbour's base each get their own signals "
    "(libevent 1.14)") {
  const std::unique_ptr<event_base, void (*)(event_base*)> base(
      event_base_new(), event_base_free);
  int neighbours = 0;
  event* const neighbour = event_new(
      base.get(), SIGHUP, EV_SIGNAL | EV_PERSIST,
      [](int, short, void* count) { ++*static_cast<int*>(count); },
      &neighbours);
  event_add(neighbour, nullptr);
  LoopFixture first;
  LoopFixture second;
  int firsts = 0;
  int seconds = 0;
  first->add_signal_handler(SIGUSR1, [&](int) { ++firsts; });
  second->add_signal_handler(SIGUSR2, [&](int) { ++seconds; });
  for (const int signum : {SIGUSR1, SIGUSR2, SIGHUP}) {
    raise(signum);
  }
  second.run_turns(2);
  first.run_turns(2);
  event_base_loop(base.get(), EVLOOP_ONCE | EVLOOP_NONBLOCK);
  event_free(neighbour);

  CHECK(firsts == 1);
  CHECK(seconds == 1);
  CHECK(neighbours == 1);
  first->remove_signal_handler(SIGUSR1);
  second->remove_signal_handler(SIGUSR2);
}

TEST_CASE(
    "Exceptions in every kind of callback leave the loop usable "
    "(libevent 1.15)") {
  LoopFixture loop;
  const SocketPair pair = make_unix_sockets();
  pair.client.send("x");
  for (int i = 0; i < 4; ++i) {
    loop.expect_log(LogLevel::error, "Exception in callback");
  }
  loop->add_callback([] { throw 1; });
  loop->call_later(0s, [] { throw 2; });
  loop->add_handler(pair.server.get(), IOLoop::READ, [&](int fd, Events) {
    loop->remove_handler(fd);
    throw 3;
  });
  loop->add_signal_handler(SIGUSR1, [](int) { throw 4; });
  raise(SIGUSR1);
  loop.run_turns(3);
  loop.run_turns(3);
  CHECK(loop.failures.size() == 4);
  loop->remove_signal_handler(SIGUSR1);
}

TEST_CASE(
    "A loop's own base does not look at libevent's environment "
    "(libevent 1.16)") {
  setenv("EVENT_NOEPOLL", "1", 1);
  setenv("EVENT_EPOLL_USE_CHANGELIST", "1", 1);
  {
    const IOLoop own;
    CHECK(event_base_get_method(own.base()) == std::string_view("epoll"));
  }
  unsetenv("EVENT_NOEPOLL");
  unsetenv("EVENT_EPOLL_USE_CHANGELIST");
}

TEST_CASE(
    "Hundreds of descriptors that are ready at once all get their turn "
    "(libevent 1.4)") {
  constexpr std::size_t kCount = 300;  // libevent asks for 32 at first
  LoopFixture loop;
  std::vector<UniquePeerFd> ends;
  std::size_t calls = 0;
  for (std::size_t i = 0; i < kCount; ++i) {
    SocketPair pair = make_unix_sockets();
    loop->add_handler(pair.client.get(), IOLoop::WRITE, [&](int fd, Events) {
      loop->remove_handler(fd);
      if (++calls == kCount) {
        loop.stop();
      }
    });
    ends.push_back(std::move(pair.client));
    ends.push_back(std::move(pair.server));
  }
  loop.bound_turns(2 * kCount);
  loop.run();
  CHECK(calls == kCount);
}

TEST_SUITE_END();
