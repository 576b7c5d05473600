// Stack contexts carried by a loop and by streams. The first cases are
// Tornado's own tests, under their names.

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

#include <signal.h>

#include <doctest/doctest.h>

#include "waterspout/ioloop.h"
#include "waterspout/iostream.h"
#include "waterspout/stack_context.h"

#include "support/contexts.h"
#include "support/loop_fixture.h"
#include "support/sanitizers.h"
#include "support/sockets.h"
#include "support/stream_pair.h"

using waterspout::Callback;
using waterspout::Deactivate;
using waterspout::ExceptionStackContext;
using waterspout::IOLoop;
using waterspout::LogLevel;
using waterspout::StackContext;
using waterspout::StreamErrc;
using waterspout::stack_context::async_backtrace;
using waterspout::stack_context::set_async_backtrace;
using waterspout::stack_context::wrap;
using waterspout::test::entered_contexts;
using waterspout::test::keeps;
using waterspout::test::LoopFixture;
using waterspout::test::make_stream_pair;
using waterspout::test::make_unix_sockets;
using waterspout::test::named;
using waterspout::test::Names;
using waterspout::test::SocketPair;
using waterspout::test::StreamPair;

namespace {

using namespace std::chrono_literals;

// Asynchronous backtraces as long as it lives.
class AsyncBacktrace {
 public:
  AsyncBacktrace() { set_async_backtrace(true); }
  ~AsyncBacktrace() { set_async_backtrace(false); }
  AsyncBacktrace(const AsyncBacktrace&) = delete;
  AsyncBacktrace& operator=(const AsyncBacktrace&) = delete;
};

std::string at(int line) {
  return " at stack_context_loop_test.cc:" + std::to_string(line);
}

}  // namespace

TEST_SUITE_BEGIN("stack_context_loop");

TEST_CASE(
    "An exception three callbacks on reaches the handler of the one who "
    "started (test_stack_context)") {
  LoopFixture loop;
  Names handled;
  auto request = [&](const char* name) {
    const ExceptionStackContext guard(
        keeps(handled, true, std::string(name) + " "));
    loop->add_callback([&loop] {
      loop->call_later(0s, [&loop] {
        loop->add_callback([] { throw std::out_of_range("deep"); });
      });
    });
  };
  request("first");
  request("second");
  loop.run_turns(5);
  CHECK(handled == Names{"first std::out_of_range: deep",
                         "second std::out_of_range: deep"});
}

TEST_CASE(
    "A callback of the caller runs in the caller's context, with the "
    "library's underneath (test_exit_library_context)") {
  LoopFixture loop;
  Names seen;
  auto library_function = [&](Callback<void()> callback) {
    const StackContext library(named("library"));
    loop->add_callback([&, callback = std::move(callback)]() mutable {
      CHECK(entered_contexts == Names{"application", "library"});
      callback();
      CHECK(entered_contexts == Names{"application", "library"});
    });
  };
  {
    const StackContext application(named("application"));
    library_function([&] { seen = entered_contexts; });
  }
  loop.run_turns(2);
  CHECK(seen == Names{"application", "library", "application"});
}

TEST_CASE(
    "A context in the middle that is switched off is still entered now, "
    "and not in what follows (test_deactivate)") {
  LoopFixture loop;
  std::optional<Deactivate> deactivate;
  Names last;
  {
    const StackContext c1(named("c1"));
    loop->add_callback([&] {
      const StackContext c2(named("c2"));
      deactivate = c2.deactivate();
      loop->add_callback([&] {
        const StackContext c3(named("c3"));
        loop->add_callback([&] {
          CHECK(entered_contexts == Names{"c1", "c2", "c3"});
          (*deactivate)();
          CHECK(entered_contexts == Names{"c1", "c2", "c3"});
          loop->add_callback([&] { last = entered_contexts; });
        });
      });
    });
  }
  loop.run_turns(6);
  CHECK(last == Names{"c1", "c3"});
}

TEST_CASE(
    "A chain that began in one context and is triggered in another sees "
    "the first alone (test_isolation_nonempty)") {
  LoopFixture loop;
  Names second;
  Names third;
  Callback<void()> wrapped;
  {
    const StackContext c1(named("c1"));
    wrapped = wrap([&] {
      second = entered_contexts;
      loop->add_callback([&] { third = entered_contexts; });
    });
  }
  {
    const StackContext c2(named("c2"));
    wrapped();
  }
  loop.run_turns(2);
  CHECK(second == Names{"c2", "c1"});  // c2 is underneath
  CHECK(third == Names{"c1"});
}

TEST_CASE(
    "A chain that began in no context and is triggered in one does not "
    "see it (test_isolation_empty)") {
  LoopFixture loop;
  Names seen{"not asked"};
  Callback<void()> wrapped =
      wrap([&] { loop->add_callback([&] { seen = entered_contexts; }); });
  {
    const StackContext c2(named("c2"));
    wrapped();
  }
  loop.run_turns(2);
  CHECK(seen.empty());
}

TEST_CASE(
    "Work of another thread comes back into the context that asked for "
    "it (test_add_future_stack_context)") {
  LoopFixture loop;
  Names handled;
  std::thread worker;
  {
    const ExceptionStackContext guard(keeps(handled, true, "caller "));
    worker = std::thread([&, done = wrap([&] {
                               loop.stop();
                               throw std::out_of_range("in the callback");
                             })]() mutable {
      CHECK(Callback<void()>([] {}).context() == nullptr);
      loop->add_callback(std::move(done));
    });
  }
  loop.run();
  worker.join();
  CHECK(handled == Names{"caller std::out_of_range: in the callback"});
}

TEST_CASE("Callbacks that another thread adds run in that thread's context") {
  LoopFixture loop;
  Names seen;
  std::thread other([&] {
    const StackContext context(named("of the thread"));
    loop->add_callback([&] {
      seen = entered_contexts;
      loop.stop();
    });
  });
  const StackContext context(named("of the loop's"));
  loop.run();
  other.join();
  CHECK(seen == Names{"of the loop's", "of the thread"});
}

TEST_CASE("Every way to register a callback captures the context (SC-15)") {
  LoopFixture loop;
  const SocketPair pair = make_unix_sockets();
  const StreamPair streams = make_stream_pair(loop);
  pair.client.send("x");
  int calls = 0;
  auto check = [&] {
    ++calls;
    CHECK(entered_contexts == Names{"c1"});
  };
  {
    const StackContext c1(named("c1"));
    loop->add_callback(check);
    loop->call_at(loop->time(), check);
    loop->call_later(0s, check);
    loop->add_timeout(0s, check);
    loop->add_handler(pair.server.get(), IOLoop::READ,
                      [&](int fd, IOLoop::Events) {
                        loop->remove_handler(fd);
                        check();
                      });
    streams.client->write("ab\nrest", check);
    streams.server->read_until("\n", [&](std::string_view) { check(); });
    streams.server->set_close_callback(check);
  }
  loop.run_until([&] { return calls >= 7; });
  streams.server->read_until_close(
      {.streaming_callback =
           [&](std::string_view) { CHECK(entered_contexts.empty()); }},
      [&](std::string_view) { CHECK(entered_contexts.empty()); });
  streams.client->close();
  CHECK(loop.run_until([&] { return calls == 8; }));
}

TEST_CASE(
    "Signal handlers and callbacks from signals run outside every "
    "context (SC-15)") {
  LoopFixture loop;
  int calls = 0;
  auto check = [&] {
    ++calls;
    CHECK(Callback<void()>([] {}).context() == nullptr);
  };
  {
    const StackContext c1(named("c1"));
    loop->add_signal_handler(SIGUSR1, [&](int) { check(); });
    CHECK(loop->add_callback_from_signal(check));
    loop->spawn_callback(check);
  }
  raise(SIGUSR1);
  loop.run_turns(3);
  CHECK(calls == 3);
  loop->remove_signal_handler(SIGUSR1);
}

TEST_CASE(
    "Exceptions reach their context through timeouts, handlers and "
    "streams (A16)") {
  LoopFixture loop;
  const SocketPair pair = make_unix_sockets();
  const StreamPair streams = make_stream_pair(loop);
  pair.client.send("x");
  Names handled;
  {
    const ExceptionStackContext guard(keeps(handled, true));
    loop->call_later(0s, [] { throw std::out_of_range("timeout"); });
    loop->add_handler(pair.server.get(), IOLoop::READ,
                      [&](int fd, IOLoop::Events) {
                        loop->remove_handler(fd);
                        throw std::out_of_range("handler");
                      });
    streams.server->read_until(
        "\n", [](std::string_view) { throw std::out_of_range("read"); });
    streams.client->write("x\n", [] { throw std::out_of_range("write"); });
  }
  CHECK(loop.run_until([&] { return handled.size() == 4; }));
  std::sort(handled.begin(), handled.end());
  CHECK(handled ==
        Names{"std::out_of_range: handler", "std::out_of_range: read",
              "std::out_of_range: timeout", "std::out_of_range: write"});
  CHECK(loop.failures.empty());
  CHECK_FALSE(streams.server->closed());  // it was handled
}

TEST_CASE(
    "Exceptions that a stream's contexts do not handle close it and go "
    "to the loop (A16)") {
  LoopFixture loop;
  const StreamPair streams = make_stream_pair(loop);
  loop.expect_log(LogLevel::error, "std::out_of_range: read");
  Names handled;
  {
    const ExceptionStackContext guard(keeps(handled, false));
    streams.server->read_until(
        "\n", [](std::string_view) { throw std::out_of_range("read"); });
  }
  streams.client->write("x\n");
  CHECK(loop.run_until([&] { return streams.server->closed(); }));
  CHECK(handled == Names{"std::out_of_range: read"});
  CHECK(loop.failures.size() == 1);
  CHECK(streams.server->error() == StreamErrc::uncaught_exception);
}

TEST_CASE(
    "A stream that was made in a context keeps it from the callbacks of "
    "others (A17)") {
  LoopFixture loop;
  const auto alive = std::make_shared<int>();
  Names handled;
  std::optional<StreamPair> streams;
  {
    const ExceptionStackContext guard(keeps(handled, true));
    const StackContext holder([alive] { return 0; });
    streams = make_stream_pair(loop);
    streams->server->read_until("\n", [](std::string_view) {});
    streams->client->write("first\n");
  }
  CHECK(loop.run_until([&] { return !streams->server->reading(); }));
  CHECK(alive.use_count() == 1);  // the context is gone with its callbacks

  bool none = false;
  streams->server->read_until("\n", [&](std::string_view) {
    none = Callback<void()>([] {}).context() == nullptr;
    loop.stop();
  });
  streams->client->write("second\n");
  loop.run();
  CHECK(none);
}

TEST_CASE(
    "A chain of callbacks that each add a context and switch it off "
    "keeps none of them (A17, SC-16)") {
  LoopFixture loop;
  const int steps = waterspout::test::scaled(100'000);
  loop.bound_turns(1'000'000);
  int done = 0;
  const auto alive = std::make_shared<int>();
  long most = 0;
  std::function<void()> step = [&] {
    most = std::max(most, alive.use_count());
    if (++done == steps) {
      loop.stop();
      return;
    }
    const ExceptionStackContext guard(
        [alive](const std::exception_ptr&) { return true; });
    const StackContext context([alive] { return 0; });
    loop->add_callback(std::ref(step));
    guard.deactivate()();
    context.deactivate()();
  };
  loop->add_callback(std::ref(step));
  loop.run(40s);
  CHECK(done == steps);
  CHECK(most < 16);
  CHECK(alive.use_count() == 1);
}

TEST_CASE("async_backtrace tells the chain of registrations, newest first") {
  LoopFixture loop;
  const AsyncBacktrace on;
  std::string trace;
  const int line = __LINE__;
  loop->add_callback([&] {
    loop->call_at(loop->time(), [&] {
      loop->add_callback([&] { trace = async_backtrace(); });
    });
  });
  CHECK(async_backtrace().empty());
  loop.run_turns(5);
  CHECK(trace == "add_callback" + at(line + 3) + ", from call_at" +
                     at(line + 2) + ", from add_callback" + at(line + 1));
  CHECK(async_backtrace().empty());
}

TEST_CASE("async_backtrace is empty while backtraces are off") {
  LoopFixture loop;
  std::string trace = "not asked";
  loop->add_callback([&] { trace = async_backtrace(); });
  loop.run_turns(1);
  CHECK(trace.empty());
}

TEST_CASE("async_backtrace keeps the 16 newest") {
  LoopFixture loop;
  const AsyncBacktrace on;
  std::string trace;
  int left = 100;
  std::function<void()> step = [&] {
    if (--left > 0) {
      loop->add_callback(std::ref(step));
    } else {
      trace = async_backtrace();
    }
  };
  loop->add_callback(std::ref(step));
  loop.run_turns(101);
  std::size_t entries = 0;
  for (std::size_t i = trace.find("add_callback at"); i != std::string::npos;
       i = trace.find("add_callback at", i + 1)) {
    ++entries;
  }
  CHECK(entries == 16);
}

TEST_CASE(
    "An exception that nobody handles is reported with its chain, and "
    "across contexts and streams") {
  LoopFixture loop;
  const StreamPair streams = make_stream_pair(loop);
  const AsyncBacktrace on;
  loop.expect_log(LogLevel::error, "Exception in callback read_until");
  std::string backtrace;
  loop.on_failure = [&](const waterspout::CallbackFailure& failure) {
    backtrace = failure.backtrace;
  };
  const StackContext context(named("c"));
  // One line a registration: compilers differ on the line of a longer one.
  auto fails = [](std::string_view) { throw std::out_of_range("map::at"); };
  const int line = __LINE__;
  auto read_again = [&](std::string_view) {
    streams.server->read_until("\n", fails);
  };
  auto read = [&] { streams.server->read_until("\n", read_again); };
  loop->add_callback(read);
  streams.client->write("1\n2\n");
  CHECK(loop.run_until([&] { return streams.server->closed(); }));
  CHECK(backtrace == "read_until" + at(line + 2) + ", from read_until" +
                         at(line + 4) + ", from add_callback" + at(line + 5));
  REQUIRE(loop.failures.size() == 1);
  CHECK(loop.failures[0].ends_with("std::out_of_range: map::at"));
  CHECK(loop.failures[0].starts_with("Exception in callback read_until" +
                                     at(line + 2)));
}

TEST_SUITE_END();
