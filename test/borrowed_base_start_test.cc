// IOLoop::start and IOLoop::stop on an event_base that somebody else owns.

#include <chrono>
#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <event2/event.h>

#include "waterspout/ioloop.h"

#include "support/base_owner.h"
#include "support/loop_fixture.h"

using waterspout::test::LoopFixture;
using waterspout::test::Neighbour;
using waterspout::test::note;
using waterspout::test::Owner;

using namespace std::chrono_literals;
using Names = std::vector<std::string>;

TEST_SUITE_BEGIN("borrowed_base_start");

TEST_CASE("IOLoop::start runs a borrowed base, neighbours too, until stop") {
  const Owner owner;
  LoopFixture loop(owner.base());
  Names log;
  Neighbour neighbour(owner.base(), -1, 0, [&] {
    log.emplace_back("neighbour");
    loop->add_callback([&] {
      log.emplace_back("callback");
      loop.stop();
    });
  });
  neighbour.add(1ms);

  loop.run();
  CHECK(log == Names{"neighbour", "callback"});
  loop.run_turns(2);  // and again
}

TEST_CASE(
    "IOLoop::start on a borrowed base returns when its owner ends the "
    "base's loop") {
  const Owner owner;
  LoopFixture loop(owner.base());
  int calls = 0;
  Neighbour neighbour(owner.base(), -1, 0, [&] {
    ++calls;
    if (calls == 1) {
      event_base_loopbreak(owner.base());
    } else {
      event_base_loopexit(owner.base(), nullptr);
    }
  });
  neighbour.add(1ms);
  loop->start();
  CHECK(calls == 1);
  neighbour.add(1ms);
  loop->start();
  CHECK(calls == 2);
  loop.run_turns(2);
}

TEST_CASE(
    "IOLoop::start on a borrowed base returns when its owner ends the "
    "base's loop in one of a chain of callbacks, which then goes on") {
  const Owner owner;
  LoopFixture loop(owner.base());
  constexpr int kEnd = 6;
  int calls = 0;
  const std::function<void()> chain = [&] {
    ++calls;
    if (calls == 3) {
      event_base_loopbreak(owner.base());
    } else if (calls == 5) {
      event_base_loopexit(owner.base(), nullptr);
    }
    if (calls < kEnd) {
      loop->add_callback(chain);
    }
  };
  loop->add_callback(chain);
  loop->start();
  CHECK(calls == 3);
  loop->start();
  CHECK(calls == 5);
  owner.dispatch();
  CHECK(calls == kEnd);
}

TEST_CASE("IOLoop::start in the owner's loop throws, which goes on") {
  const Owner owner;
  LoopFixture loop(owner.base());
  Names log;
  Neighbour neighbour(owner.base(), -1, 0, [&] {
    CHECK_THROWS_AS(loop->start(), std::logic_error);
    loop->add_callback([&] {
      CHECK_THROWS_AS(loop->start(), std::logic_error);
      CHECK_THROWS_AS(loop->close(), std::logic_error);
      log.emplace_back("callback");
    });
    log.emplace_back("neighbour");
  });
  neighbour.add(1ms);
  owner.dispatch();
  CHECK(log == Names{"neighbour", "callback"});
  loop.run_turns(1);
}

TEST_CASE("IOLoop::stop never ends a loop that the base's owner dispatches") {
  const Owner owner;
  LoopFixture loop(owner.base());
  Names log;
  Neighbour neighbour(owner.base(), -1, 0, note(log, "neighbour"));
  loop->add_callback([&] {
    loop.stop();
    neighbour.add(2ms);
    loop->call_later(4ms, note(log, "timeout"));
  });
  owner.dispatch();
  CHECK(log == Names{"neighbour", "timeout"});

  loop->add_callback(note(log, "not by this start"));
  loop->start();  // was stopped before
  CHECK(log.size() == 2);
  loop.run_turns(1);
  CHECK(log.size() == 3);
}

TEST_SUITE_END();
