// A loop on an event_base that somebody else owns and dispatches.

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <doctest/doctest.h>
#include <event2/event.h>

#include "waterspout/ioloop.h"
#include "waterspout/iostream.h"

#include "support/base_owner.h"
#include "support/fd_count.h"
#include "support/loop_fixture.h"
#include "support/sockets.h"
#include "support/stream_pair.h"

using waterspout::IOLoop;
using waterspout::LogLevel;
using waterspout::TimeoutHandle;
using waterspout::test::fd_count;
using waterspout::test::LoopFixture;
using waterspout::test::make_stream_pair;
using waterspout::test::make_unix_sockets;
using waterspout::test::Neighbour;
using waterspout::test::note;
using waterspout::test::Owner;
using waterspout::test::SocketPair;
using waterspout::test::StreamPair;

using namespace std::chrono_literals;
using Names = std::vector<std::string>;

TEST_SUITE_BEGIN("borrowed_base");

TEST_CASE(
    "IOLoop runs where its base's owner dispatches, which returns when "
    "nothing is pending") {
  const Owner owner;
  LoopFixture loop(owner.base());
  CHECK(loop->base() == owner.base());
  owner.dispatch();  // nothing but the library's internals

  Names log;
  loop->add_callback([&] {
    log.emplace_back("callback");
    loop->add_callback([&] {
      log.emplace_back("second callback");
      loop->call_later(2ms, note(log, "timeout"));
    });
  });
  CHECK(log.empty());
  owner.dispatch();
  CHECK(log == Names{"callback", "second callback", "timeout"});
}

TEST_CASE(
    "IOLoop keeps its owner's dispatch going for a callback that was "
    "added outside a turn") {
  const Owner owner;
  LoopFixture loop(owner.base());
  bool called = false;
  SUBCASE("by add_callback") {
    loop->add_callback([&] { called = true; });
  }
  SUBCASE("by spawn_callback") {
    loop->spawn_callback([&] { called = true; });
  }
  SUBCASE("by a neighbour's callback") {
    Neighbour neighbour(owner.base(), -1, 0,
                        [&] { loop->add_callback([&] { called = true; }); });
    neighbour.add(1ms);
    owner.dispatch();
  }
  owner.dispatch();
  CHECK(called);
}

TEST_CASE(
    "IOLoop lets its owner's dispatch return once a timeout is removed "
    "or moved") {
  const Owner owner;
  LoopFixture loop(owner.base());
  const TimeoutHandle timeout =
      loop->call_later(1h, [] { FAIL_CHECK("an hour later"); });
  SUBCASE("removed outside a turn") {
    loop->remove_timeout(timeout);
    owner.dispatch();
  }
  SUBCASE("removed in a turn") {
    loop->add_callback([&] { loop->remove_timeout(timeout); });
    owner.dispatch();
  }
  SUBCASE("moved to an earlier moment") {
    const TimeoutHandle other = loop->call_later(2h, [] {});
    loop->remove_timeout(timeout);
    CHECK(loop->move_timeout(other, loop->time() + 1ms));
    owner.dispatch();
  }
}

TEST_CASE(
    "IOLoop lets its owner's dispatch return once its handler is "
    "removed") {
  const Owner owner;
  LoopFixture loop(owner.base());
  const SocketPair pair = make_unix_sockets();
  int calls = 0;
  loop->add_handler(pair.server.get(), IOLoop::READ,
                    [&](int fd, IOLoop::Events) {
                      if (++calls == 3) {
                        loop->remove_handler(fd);
                      }
                    });
  pair.client.send("x");
  owner.dispatch();
  CHECK(calls == 3);
}

TEST_CASE(
    "IOLoop lets its owner's dispatch return once its streams are closed "
    "or were never read from") {
  const Owner owner;
  LoopFixture loop(owner.base());
  const StreamPair idle = make_stream_pair(loop);
  const StreamPair pair = make_stream_pair(loop);
  std::string got;
  pair.server->read_until("\n", [&](std::string_view line) {
    pair.server->write(line, [&] { got += "written "; });
    pair.server->close_after_writing();
  });
  pair.client->read_bytes(5, [&](std::string_view bytes) {
    got += bytes;
    pair.client->close();
  });
  pair.client->write("ping\n");
  idle.client->write("nobody reads this");

  owner.dispatch();
  CHECK(got == "written ping\n");
  CHECK_FALSE(idle.client->closed());
}

TEST_CASE(
    "IOLoop takes callbacks of other threads while its owner "
    "dispatches") {
  const Owner owner;
  LoopFixture loop(owner.base());
  const int count = 1000;
  int calls = 0;
  const TimeoutHandle keep = loop->call_later(1h, [] {});
  std::thread other([&] {
    for (int i = 0; i < count; ++i) {
      loop->add_callback([&] {
        if (++calls == count) {
          loop->remove_timeout(keep);
        }
      });
    }
  });
  loop.bound_turns(5000);
  owner.dispatch();
  other.join();
  CHECK(calls == count);
}

TEST_CASE("IOLoop leaves a borrowed base as if it had never been") {
  const Owner owner;
  const SocketPair pair = make_unix_sockets();
  Names log;
  Neighbour reader(owner.base(), pair.server.get(), EV_READ | EV_PERSIST, [&] {
    log.push_back("read " + pair.server.recv());
    if (log.size() >= 3) {
      event_base_loopbreak(owner.base());
    }
  });
  Neighbour timer(owner.base(), -1, 0, [&] {
    log.emplace_back("timer");
    pair.client.send("after");
  });
  reader.add();
  const int events_before = owner.events();
  const std::size_t fds_before = fd_count();
  const auto held = std::make_shared<int>();
  {
    LoopFixture loop(owner.base());
    const SocketPair other = make_unix_sockets();
    loop->add_handler(other.server.get(), IOLoop::READ,
                      [held](int, IOLoop::Events) {});
    loop->call_later(1h, [held] {});
    loop->add_callback([held] {});
    other.client.send("x");
    pair.client.send("before");
    event_base_loop(owner.base(), EVLOOP_ONCE | EVLOOP_NONBLOCK);
    CHECK(log == Names{"read before"});
    loop->add_callback([held] { FAIL_CHECK("ran after the loop"); });
    loop->close();
    CHECK(loop->base() == nullptr);
  }
  CHECK(held.use_count() == 1);
  CHECK(owner.events() == events_before);
  CHECK(fd_count() == fds_before);

  timer.add(1ms);
  event_base_dispatch(owner.base());
  CHECK(log == Names{"read before", "timer", "read after"});
}

TEST_CASE(
    "IOLoop may be destroyed in a neighbour's callback, with events of "
    "its own ready") {
  const Owner owner;
  const SocketPair pair = make_unix_sockets();
  auto loop = std::make_unique<IOLoop>(owner.base());
  int calls = 0;
  Neighbour neighbour(owner.base(), pair.client.get(), EV_WRITE, [&] {
    ++calls;
    loop.reset();
  });
  auto must_not_run = [&] { CHECK(loop != nullptr); };
  auto add_all = [&] {
    loop->add_handler(pair.server.get(), IOLoop::WRITE,
                      [&](int, IOLoop::Events) { must_not_run(); });
    loop->add_callback(must_not_run);
    loop->call_later(0s, must_not_run);
  };
  SUBCASE("of which some are dispatched before the neighbour") {
    add_all();
    neighbour.add();
  }
  SUBCASE("of which some are dispatched after the neighbour") {
    neighbour.add();
    add_all();
  }
  owner.dispatch();
  CHECK(calls == 1);
}

TEST_CASE("IOLoop lets no exception into the owner's loop") {
  const Owner owner;
  LoopFixture loop(owner.base());
  const SocketPair pair = make_unix_sockets();
  pair.client.send("x");
  for (int i = 0; i < 3; ++i) {
    loop.expect_log(LogLevel::error, "exception of type int");
  }
  loop->add_callback([] { throw 1; });
  loop->call_later(1ms, [] { throw 2; });
  loop->add_handler(pair.server.get(), IOLoop::READ,
                    [&](int fd, IOLoop::Events) {
                      loop->remove_handler(fd);
                      throw 3;
                    });
  owner.dispatch();
  owner.dispatch();  // the base is none the worse
  CHECK(loop.failures.size() == 3);
}

TEST_CASE("IOLoop's callbacks that add callbacks do not starve neighbours") {
  const Owner owner;
  LoopFixture loop(owner.base());
  const SocketPair pair = make_unix_sockets();
  pair.client.send("x");
  int calls = 0;
  int calls_before_read = -1;
  Neighbour neighbour(owner.base(), pair.server.get(), EV_READ,
                      [&] { calls_before_read = calls; });
  std::function<void()> again = [&] {
    if (++calls == 1) {
      neighbour.add();
    }
    if (calls < 100) {
      loop->add_callback(std::ref(again));
    }
  };
  loop->add_callback(std::ref(again));
  owner.dispatch();
  CHECK(calls == 100);
  CHECK(calls_before_read >= 1);
  CHECK(calls_before_read < 5);
}

TEST_CASE("Two loops share a base, and one goes before the other") {
  const Owner owner;
  Names log;
  LoopFixture first(owner.base());
  {
    LoopFixture second(owner.base());
    second->add_callback(note(log, "second"));
    first->add_callback(note(log, "first"));
    owner.dispatch();
    CHECK(log.size() == 2);
    second->call_later(1h, [] { FAIL_CHECK("an hour later"); });
    second->close();
  }
  first->call_later(1ms, note(log, "first again"));
  owner.dispatch();
  CHECK(log.size() == 3);
}

TEST_CASE("IOLoop works on a base without edge-triggered events") {
  const Owner owner("epoll");
  CHECK(std::string_view(event_base_get_method(owner.base())) != "epoll");
  LoopFixture loop(owner.base());
  int calls = 0;
  for (int round = 0; round < 3; ++round) {
    const TimeoutHandle keep = loop->call_later(1h, [] {});
    std::thread other([&] {
      loop->add_callback([&] {
        ++calls;
        loop->remove_timeout(keep);
      });
    });
    owner.dispatch();
    other.join();
  }
  CHECK(calls == 3);
  CHECK(loop->statistics().turns < 30);
}

TEST_SUITE_END();
