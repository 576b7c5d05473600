// Operations that a stream's own callback asks for, as most are: where nothing
// is out of the ordinary their callbacks are made where the stream keeps them,
// and everything else must come out as anywhere.

#include <array>
#include <cstddef>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

#include <doctest/doctest.h>

#include "waterspout/iostream.h"
#include "waterspout/stack_context.h"

#include "support/loop_fixture.h"
#include "support/stream_helpers.h"
#include "support/stream_pair.h"

using waterspout::Callback;
using waterspout::CallbackFailure;
using waterspout::ExceptionStackContext;
using waterspout::IOStream;
using waterspout::LogLevel;
using waterspout::StackContext;
using waterspout::test::EventLog;
using waterspout::test::kUnix;
using waterspout::test::make_raw_pair;
using waterspout::test::RawPeer;
using waterspout::test::SteppedLoop;
using waterspout::test::Token;

namespace stack_context = waterspout::stack_context;

namespace {

// A stream that has answered twice, so that nothing is out of the ordinary when
// `work` runs in its third callback.
struct InCallback {
  ~InCallback() {
    pair.stream->close();
    loop.settle();
  }

  void run(std::function<void(IOStream&)> work) {
    IOStream& stream = *pair.stream;
    stream.read_until("\n", [&](std::string_view line) {
      stream.write(line, [&, work] {
        stream.read_until("\n", [&, work](std::string_view second) {
          stream.write(second, [&, work] {
            stream.read_until("\n",
                              [&, work](std::string_view) { work(stream); });
          });
        });
      });
    });
    for (int line = 0; line < 3; ++line) {
      send("-\n");
    }
    CHECK(pair.peer.recv_exactly(4) == "-\n-\n");
  }

  void send(std::string_view data) {
    pair.peer.send(data);
    loop.settle();
  }

  SteppedLoop loop;
  RawPeer pair = make_raw_pair(loop, {}, kUnix);
  EventLog log;
};

// One whose copy throws: nothing can be done with it.
struct Uncopyable {
  Uncopyable() = default;
  Uncopyable(const Uncopyable& /*other*/) { throw std::length_error("copied"); }
  Uncopyable& operator=(const Uncopyable&) = default;
  void operator()() const {}
  void operator()(std::string_view /*data*/) const {}
};

}  // namespace

TEST_SUITE_BEGIN("iostream_in_callback");

TEST_CASE("A second read is refused and changes nothing") {
  InCallback t;
  t.run([&](IOStream& stream) {
    stream.read_until("\n", t.log.read("first"));
    CHECK_THROWS_AS(stream.read_until("\n", t.log.read("second")),
                    std::logic_error);
    CHECK_THROWS_AS(stream.read_bytes(1, t.log.read("third")),
                    std::logic_error);
    CHECK(stream.reading());
  });
  t.send("1\n2\n");
  CHECK(t.log.text() == "first(1\n)");
}

TEST_CASE("An empty callback and an empty delimiter are refused") {
  InCallback t;
  t.run([&](IOStream& stream) {
    const std::function<void(std::string_view)> none;
    CHECK_THROWS_AS(stream.read_until("\n", none), std::invalid_argument);
    CHECK_THROWS_AS(stream.read_until("\n", nullptr), std::invalid_argument);
    CHECK_THROWS_AS(stream.read_bytes(1, none), std::invalid_argument);
    CHECK_THROWS_AS(stream.read_until("", t.log.read("never")),
                    std::invalid_argument);
    CHECK_FALSE(stream.reading());
    stream.write("no callback", nullptr);
    stream.read_until("\n", t.log.read("line"));
  });
  t.send("1\n");
  CHECK(t.log.text() == "line(1\n)");
}

TEST_CASE("The delimiter may be another one each time") {
  InCallback t;
  t.run([&](IOStream& stream) {
    stream.read_until("ab", [&](std::string_view first) {
      t.log.read("ab")(first);
      stream.read_until("ab", [&](std::string_view again) {
        t.log.read("ab")(again);
        stream.read_until("ac", [&](std::string_view second) {
          t.log.read("ac")(second);
          stream.read_until("c", [&](std::string_view third) {
            t.log.read("c")(third);
            stream.read_until("d", t.log.read("d"));
          });
        });
      });
    });
  });
  t.send("1ab2ab3ab ac4c5");
  t.send("d");
  CHECK(t.log.text() == "ab(1ab) ab(2ab) ac(3ab ac) c(4c) d(5d)");
}

TEST_CASE("A limit that one read has does not outlive it") {
  InCallback t;
  t.run([&](IOStream& stream) {
    stream.read_until("\n", {.max_bytes = 3}, [&](std::string_view line) {
      t.log.read("short")(line);
      stream.read_until("\n", t.log.read("long"));
    });
  });
  t.send("12\n1234567890\n");
  CHECK(t.log.text() == "short(12\n) long(1234567890\n)");
}

TEST_CASE("Every size of callable runs, and is released once it has") {
  InCallback t;
  const Token token;
  t.run([&](IOStream& stream) {
    const std::array<char, 100> large{'x'};
    auto small = [&t, held = token.copy()](std::string_view data) {
      t.log.read("small")(data);
    };
    stream.write("1", [&t, held = token.copy()] { t.log.add("written"); });
    stream.write("2", [&t, large, held = token.copy()] {
      t.log.add(std::string("large ") + large[0]);
    });
    stream.write("3", Callback<void()>([&t] { t.log.add("a Callback"); }));
    stream.read_bytes(1, small);  // copies what it is given
    small("not moved from");
  });
  CHECK(t.log.text() == "small(not moved from) written large x a Callback");
  t.log.clear();
  CHECK(token.alive() == 1);
  t.send("y");
  CHECK(t.log.text() == "small(y)");
  CHECK(token.alive() == 0);
  CHECK(t.pair.peer.recv_exactly(3) == "123");
}

TEST_CASE("A callable that cannot be copied leaves the stream as it was") {
  InCallback t;
  t.run([&](IOStream& stream) {
    const Uncopyable uncopyable;
    CHECK_THROWS_AS(stream.write("lost", uncopyable), std::length_error);
    CHECK_THROWS_AS(stream.read_until("\n", uncopyable), std::length_error);
    CHECK_THROWS_AS(stream.read_bytes(1, uncopyable), std::length_error);
    CHECK_FALSE(stream.reading());
    stream.write("sent");
    stream.read_until("\n", t.log.read("line"));
  });
  CHECK(t.pair.peer.recv_exactly(4) == "sent");
  t.send("1\n");
  CHECK(t.log.text() == "line(1\n)");
}

TEST_CASE("Callbacks run in the context that a callback has opened") {
  InCallback t;
  const ExceptionStackContext::Handler log = [&](std::exception_ptr) {
    t.log.add("handled");
    return true;
  };
  t.run([&](IOStream& stream) {
    const ExceptionStackContext context(log);
    stream.write("1", [] { throw std::runtime_error("written"); });
    stream.read_bytes(1, [&](std::string_view) {
      stream.read_until(
          "\n", [](std::string_view) { throw std::runtime_error("read"); });
    });
  });
  CHECK(t.log.text() == "handled");
  t.send("x\n");
  CHECK(t.log.text() == "handled handled");
  CHECK_FALSE(t.pair.stream->closed());
  CHECK(t.loop.failures.empty());
}

TEST_CASE("An uncaught exception names the operation and its place") {
  InCallback t;
  unsigned line = 0;
  t.loop.on_failure = [&](const CallbackFailure& failure) {
    t.log.add(failure.operation);
    CHECK(failure.origin.line() == line);
    CHECK(failure.origin.file().ends_with("iostream_in_callback_test.cc"));
  };
  t.loop.expect_log(LogLevel::error, "on purpose");
  t.run([&](IOStream& stream) {
    line = __LINE__ + 1;
    stream.write("1", [] { throw std::runtime_error("on purpose"); });
  });
  CHECK(t.log.text() == "write");
  CHECK(t.pair.stream->closed());
}

TEST_CASE("An asynchronous backtrace goes on in callbacks") {
  InCallback t;
  std::string trace;
  t.run([&](IOStream& stream) {
    stack_context::set_async_backtrace(true);
    stream.write("1", [&] {
      stream.read_bytes(1, [&](std::string_view) {
        trace = stack_context::async_backtrace();
      });
      stack_context::set_async_backtrace(false);
    });
  });
  t.send("x");
  CHECK(trace.starts_with("read_bytes at iostream_in_callback_test.cc:"));
  CHECK(trace.find(", from write at ") != std::string::npos);
}

TEST_CASE("A callback may write more often than completions are kept") {
  constexpr int kWrites = 3000;
  InCallback t;
  int next = 0;
  for (int round = 0; round < 2; ++round) {
    next = 0;
    t.run([&](IOStream& stream) {
      for (int i = 0; i < kWrites; ++i) {
        stream.write("x", [&, i] {
          CHECK(i == next);
          ++next;
        });
      }
    });
    CHECK(next == kWrites);
    CHECK(t.pair.peer.recv_exactly(kWrites) == std::string(kWrites, 'x'));
  }
}

TEST_CASE("A write of nothing is told like any other, in its turn") {
  InCallback t;
  t.run([&](IOStream& stream) {
    stream.write("", t.log.note("nothing"));
    stream.write("1", t.log.note("one"));
    stream.write("", t.log.note("nothing more"));
  });
  CHECK(t.log.text() == "nothing one nothing more");
  CHECK(t.pair.peer.recv_exactly(1) == "1");
}

TEST_CASE("Bytes from everywhere leave in the order of their writes") {
  InCallback t;
  IOStream& stream = *t.pair.stream;
  t.run([&](IOStream&) {
    stream.read_bytes(6, [&](std::string_view data) {
      const std::string own = "own";
      stream.write(data.substr(0, 2));  // where it was received
      stream.write(data.substr(2, 2));  // behind it
      stream.write(own);                // from elsewhere
      stream.write(data.substr(4, 2));  // not next to it any more
      stream.write(data.substr(0, 1));
    });
  });
  t.send("abcdef");
  CHECK(t.pair.peer.recv_exactly(10) == "abcdownefa");
}

TEST_SUITE_END();
