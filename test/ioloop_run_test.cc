// Running a loop: start, stop, run_sync, the current loop, the order of a turn.

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include <unistd.h>

#include <doctest/doctest.h>

#include "waterspout/error.h"
#include "waterspout/ioloop.h"

#include "support/loop_fixture.h"
#include "support/open_fds.h"
#include "support/sockets.h"

using waterspout::IOLoop;
using waterspout::LogLevel;
using waterspout::TimeoutError;
using waterspout::TimePoint;
using waterspout::test::LoopFixture;
using waterspout::test::make_unix_sockets;
using waterspout::test::note;
using waterspout::test::SocketPair;

namespace {

using namespace std::chrono_literals;
using Done = std::function<void()>;
using Names = std::vector<std::string>;

void not_to_start(const Done& /*done*/) {
  FAIL_CHECK("run_sync called its function");
}

}  // namespace

TEST_SUITE_BEGIN("ioloop_run");

TEST_CASE("IOLoop::instance is one shared loop, which current falls back to") {
  CHECK_FALSE(IOLoop::initialized());
  IOLoop& shared = IOLoop::instance();
  CHECK(IOLoop::initialized());
  CHECK(&IOLoop::instance() == &shared);
  CHECK(IOLoop::current_or_null() == nullptr);
  CHECK(&IOLoop::current() == &shared);

  // It belongs to the thread that runs it.
  bool called = false;
  shared.add_callback([&] {
    called = true;
    shared.stop();
  });
  std::thread([&] { shared.start(); }).join();
  CHECK(called);
}

TEST_CASE("IOLoop::make_current and clear_current are of the calling thread") {
  LoopFixture first;
  const LoopFixture second;
  first->make_current();
  CHECK(IOLoop::current_or_null() == &first.loop());
  std::thread([] { CHECK(IOLoop::current_or_null() == nullptr); }).join();

  IOLoop::clear_current();
  CHECK(IOLoop::current_or_null() == nullptr);
}

TEST_CASE("IOLoop::start makes the loop current and restores the one before") {
  const LoopFixture before;
  const IOLoop* const current = IOLoop::current_or_null();
  CHECK(current != nullptr);
  LoopFixture loop;
  loop->add_callback([&] {
    CHECK(IOLoop::current_or_null() == &loop.loop());
    loop.stop();
  });
  loop.run();
  CHECK(IOLoop::current_or_null() == current);

  loop->close();
  CHECK_THROWS_AS(loop->start(), std::logic_error);
  CHECK(IOLoop::current_or_null() == current);
}

TEST_CASE("IOLoop that is destroyed is current no more") {
  IOLoop::clear_current();
  auto loop = std::make_unique<IOLoop>();
  CHECK(IOLoop::current_or_null() == loop.get());
  loop.reset();
  CHECK(IOLoop::current_or_null() == nullptr);
}

TEST_CASE("IOLoop::stop before start makes it return at once, once") {
  LoopFixture loop;
  int calls = 0;
  loop->add_callback([&] {
    ++calls;
    loop.stop();
  });
  loop->call_at(TimePoint::min(), [&] { ++calls; });

  loop.stop();
  loop.stop();
  loop->start();
  CHECK(calls == 0);

  loop.run();
  CHECK(calls == 2);
}

TEST_CASE(
    "IOLoop::stop in a callback lets the callbacks and timeouts of the "
    "phase run") {
  LoopFixture loop;
  Names log;
  loop->add_callback([&] {
    log.emplace_back("stop");
    loop->add_callback(note(log, "next start"));
    loop.stop();
  });
  loop->add_callback(note(log, "callback"));
  loop->call_at(TimePoint::min(), note(log, "timeout"));

  loop.run();
  CHECK(log == Names{"stop", "callback", "timeout"});
  CHECK(loop->statistics().callbacks == 1);

  log.clear();
  loop.run_turns(1);
  CHECK(log == Names{"next start"});
}

TEST_CASE("IOLoop::stop in a timeout lets the other due ones run") {
  LoopFixture loop;
  Names log;
  loop->call_at(TimePoint::min(), [&] { loop.stop(); });
  loop->call_at(TimePoint::min(), note(log, "timeout"));

  loop.run();
  CHECK(log == Names{"timeout"});
}

TEST_CASE(
    "IOLoop::stop in a handler lets the other handlers and one more "
    "phase run") {
  LoopFixture loop;
  const SocketPair first = make_unix_sockets();
  const SocketPair second = make_unix_sockets();
  first.client.send("x");
  second.client.send("x");
  Names log;
  auto stop = [&](int fd, IOLoop::Events) {
    log.emplace_back("handler");
    loop->remove_handler(fd);
    loop->add_callback([&] {
      log.emplace_back("callback");
      loop->add_callback(note(log, "next start"));
    });
    loop->call_at(TimePoint::min(), note(log, "timeout"));
    loop.stop();
  };
  loop->add_handler(first.server.get(), IOLoop::READ, stop);
  loop->add_handler(second.server.get(), IOLoop::READ, stop);

  loop.run();
  CHECK(log == Names{"handler", "handler", "callback", "callback", "timeout",
                     "timeout"});
  log.clear();
  loop.run_turns(1);
  CHECK(log == Names{"next start", "next start"});
}

TEST_CASE("IOLoop::stop from another thread ends a loop that waits") {
  LoopFixture loop;
  std::atomic<bool> running = false;
  std::thread other([&] {
    while (!running) {
      std::this_thread::yield();
    }
    loop.stop();
  });
  loop->add_callback([&] { running = true; });

  loop.run();
  other.join();
}

TEST_CASE("IOLoop starts and stops ten thousand times and loses nothing") {
  LoopFixture loop;
  loop.bound_turns(60'000);
  int calls = 0;
  for (int i = 0; i < 10'000; ++i) {
    loop->add_callback([&] { loop.stop(); });
    loop->add_callback([&] { ++calls; });
    loop->start();
  }
  CHECK(calls == 10'000);
}

TEST_CASE("IOLoop::start refuses a loop that runs or is closed") {
  LoopFixture loop;
  loop->add_callback([&] {
    CHECK_THROWS_AS(loop->start(), std::logic_error);
    CHECK_THROWS_AS(loop->close(), std::logic_error);
  });
  loop->call_later(0s, [&] {
    CHECK_THROWS_AS(loop->start(), std::logic_error);
    loop.stop();
  });
  loop.run();

  loop->close();
  CHECK_THROWS_AS(loop->start(), std::logic_error);
}

TEST_CASE("IOLoop may run another loop inside a callback") {
  LoopFixture outer;
  LoopFixture inner;
  Names log;
  inner->add_callback([&] {
    log.emplace_back("inner");
    CHECK(IOLoop::current_or_null() == &inner.loop());
    outer->add_callback(note(log, "outer"));
    inner.stop();
  });
  outer->add_callback([&] {
    inner.run();
    CHECK(IOLoop::current_or_null() == &outer.loop());
  });
  outer.run_turns(3);
  CHECK(log == Names{"inner", "outer"});
}

TEST_CASE(
    "IOLoop::start throws if the poll itself fails, and does not run "
    "then") {
  LoopFixture loop;
  close(waterspout::test::open_fd_of("anon_inode:[eventpoll]"));
  for (int i = 0; i < 2; ++i) {
    std::error_code code;
    try {
      loop->start();
    } catch (const std::system_error& error) {
      code = error.code();
    }
    CHECK(code == std::errc::bad_file_descriptor);
  }
}

TEST_CASE(
    "IOLoop runs callbacks in the order of adding, before the timeouts "
    "that are due") {
  LoopFixture loop;
  Names log;
  loop->call_at(TimePoint::min(), note(log, "timeout"));
  loop->add_callback(note(log, "first"));
  loop->spawn_callback(note(log, "second"));
  loop->add_callback(note(log, "third"));

  loop.run_turns(1);
  CHECK(log == Names{"first", "second", "third", "timeout"});
}

TEST_CASE("IOLoop polls before it runs what a callback has added") {
  LoopFixture loop;
  const SocketPair pair = make_unix_sockets();
  Names log;
  loop->add_handler(pair.server.get(), IOLoop::READ,
                    [&](int fd, IOLoop::Events) {
                      log.emplace_back("handler");
                      loop->remove_handler(fd);
                    });
  loop->add_callback([&] {
    pair.client.send("x");
    loop->add_callback(note(log, "added"));
    CHECK(log.empty());
  });
  loop.run_turns(3);
  CHECK(log == Names{"handler", "added"});
}

TEST_CASE(
    "IOLoop runs what a handler has added in the same turn, after the "
    "handlers") {
  LoopFixture loop;
  const SocketPair pair = make_unix_sockets();
  pair.client.send("x");
  Names log;
  loop->add_handler(pair.server.get(), IOLoop::READ, [&](int, IOLoop::Events) {
    log.emplace_back("handler");
    loop->add_callback(note(log, "callback"));
    CHECK(log.back() == "handler");
    if (log.size() >= 3) {
      loop.stop();
    }
  });

  loop.run();
  CHECK(log == Names{"handler", "callback", "handler", "callback"});
  loop->remove_handler(pair.server.get());
}

TEST_CASE("IOLoop destroys a callback before it runs the next") {
  LoopFixture loop;
  auto held = std::make_shared<int>();
  const std::weak_ptr<int> watch = held;
  SUBCASE("of callbacks") {
    loop->add_callback([held = std::move(held)] {});
    loop->add_callback([&] { CHECK(watch.expired()); });
  }
  SUBCASE("of timeouts") {
    loop->call_at(TimePoint::min(), [held = std::move(held)] {});
    loop->call_at(TimePoint::min(), [&] { CHECK(watch.expired()); });
  }
  SUBCASE("of callbacks that throw") {
    loop.expect_log(LogLevel::error, "Exception in callback");
    loop->add_callback([held = std::move(held)] { throw 7; });
    loop->add_callback([&] { CHECK(watch.expired()); });
  }
  loop.run_turns(2);
}

TEST_CASE("IOLoop::add_callback refuses an empty callback") {
  LoopFixture loop;
  CHECK_THROWS_AS(loop->add_callback(nullptr), std::invalid_argument);
  CHECK_THROWS_AS(loop->add_callback(Done()), std::invalid_argument);
  CHECK_THROWS_AS(loop->spawn_callback(Done()), std::invalid_argument);
  CHECK(loop->statistics().callbacks == 0);
}

TEST_CASE("IOLoop::run_sync returns when done is called, now or later") {
  LoopFixture loop;
  loop->run_sync([](const Done& done) { done(); });

  bool later = false;
  loop->run_sync([&](Done done) {
    loop->call_later(1ms, [&later, done = std::move(done)] {
      later = true;
      done();
    });
  });
  CHECK(later);
}

TEST_CASE(
    "IOLoop::run_sync takes copies of done, and only the first call "
    "counts") {
  LoopFixture loop;
  Done kept;
  loop->run_sync([&](const Done& done) {
    kept = done;
    kept();
    done();
  });
  kept();  // must not stop what runs later
  bool ran = false;
  loop->add_callback([&] {
    kept();
    loop->add_callback([&] {
      ran = true;
      loop.stop();
    });
  });
  loop.run();
  CHECK(ran);
}

TEST_CASE(
    "IOLoop::run_sync throws what a callback that was started inside "
    "throws") {
  LoopFixture loop;
  auto fails_later = [&](const Done&) {
    loop->add_callback([&] {
      loop->call_later(0s, [] { throw std::out_of_range("two steps on"); });
    });
  };
  CHECK_THROWS_WITH_AS(loop->run_sync(fails_later), "two steps on",
                       std::out_of_range);
  CHECK(loop.failures.empty());
}

TEST_CASE(
    "IOLoop::run_sync waits without limit for a timeout of zero or "
    "less") {
  LoopFixture loop;
  for (const waterspout::Duration timeout :
       {waterspout::Duration(0s), waterspout::Duration(-1s)}) {
    CHECK_NOTHROW(loop->run_sync(
        [&](const Done& done) { loop->call_later(2ms, Done(done)); }, timeout));
  }
}

TEST_CASE("IOLoop::run_sync leaves nothing of its time limit") {
  LoopFixture loop;
  loop->run_sync([](const Done& done) { done(); }, 1h);
  CHECK(loop->statistics().timeouts == 0);

  Done late;
  CHECK_THROWS_AS(loop->run_sync([&](const Done& done) { late = done; }, 1ms),
                  TimeoutError);
  late();
  loop.run_turns(2);
}

TEST_CASE("IOLoop::run_sync throws if the loop was stopped before done") {
  LoopFixture loop;
  CHECK_THROWS_AS(loop->run_sync([&](const Done&) { loop.stop(); }),
                  std::logic_error);

  loop.stop();
  CHECK_THROWS_AS(loop->run_sync(not_to_start, 1h), std::logic_error);
  loop.run_turns(2);
}

TEST_CASE("IOLoop::run_sync inside a callback throws and leaves nothing") {
  LoopFixture loop;
  loop->add_callback([&] {
    CHECK_THROWS_AS(loop->run_sync(not_to_start, 1h), std::logic_error);
    CHECK(loop->statistics().timeouts == 0);
  });
  loop.run_turns(3);
}

TEST_CASE("IOLoop::run_sync refuses an empty function and a closed loop") {
  LoopFixture loop;
  CHECK_THROWS_AS(loop->run_sync(std::function<void(Done)>()),
                  std::invalid_argument);
  loop->close();
  CHECK_THROWS_AS(loop->run_sync(not_to_start), std::logic_error);
  CHECK_THROWS_AS(loop->run_sync(not_to_start, 1s), std::logic_error);
}

TEST_SUITE_END();
