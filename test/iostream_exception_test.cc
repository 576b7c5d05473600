// Exceptions that leave a stream's callbacks, and the contexts in which these
// run.

#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include <doctest/doctest.h>

#include "waterspout/iostream.h"
#include "waterspout/stack_context.h"

#include "support/loop_fixture.h"
#include "support/sockets.h"
#include "support/stream_helpers.h"
#include "support/stream_pair.h"

using waterspout::Address;
using waterspout::CallbackFailure;
using waterspout::ExceptionStackContext;
using waterspout::IOStream;
using waterspout::LogLevel;
using waterspout::NullContext;
using waterspout::StackContext;
using waterspout::StreamErrc;
using waterspout::test::BorrowedLoop;
using waterspout::test::EventLog;
using waterspout::test::kUnix;
using waterspout::test::listen_on_loopback;
using waterspout::test::LoopFixture;
using waterspout::test::make_raw_pair;
using waterspout::test::RawPeer;
using waterspout::test::SteppedLoop;
using waterspout::test::UniquePeerFd;

namespace {

// Two kinds of exception: one that says what it is, and one that cannot.
void throw_runtime_error() { throw std::runtime_error("on purpose"); }
void throw_int() { throw 42; }

struct Thrown {
  const char* name;
  void (*raise)();
  const char* description;
};

constexpr Thrown kThrown[] = {
    {"std::exception", throw_runtime_error, "std::runtime_error: on purpose"},
    {"int", throw_int, "exception of type int"},
};

// A stream, its peer and a listener: what the kinds of callback need.
struct Bench {
  explicit Bench(waterspout::IOLoop& loop)
      : pair(make_raw_pair(loop, {}, kUnix)),
        unconnected(IOStream::create(loop)),
        listener(listen_on_loopback(port)) {}

  RawPeer pair;
  std::shared_ptr<IOStream> unconnected;
  std::uint16_t port = 0;
  UniquePeerFd listener;
};

// Every kind of callback, made to run `work`; returns its stream.
struct CallbackKind {
  const char* operation;
  std::function<IOStream&(Bench&, std::function<void()> work)> start;
  bool closes = false;  ///< the stream has closed when the callback runs
};

const std::vector<CallbackKind>& callback_kinds() {
  static const std::vector<CallbackKind> kinds = {
      {"read_until",
       [](Bench& b, auto work) -> IOStream& {
         b.pair.stream->read_until("\n", [=](std::string_view) { work(); });
         b.pair.peer.send("line\nmore");
         return *b.pair.stream;
       }},
      {"read_bytes",
       [](Bench& b, auto work) -> IOStream& {
         b.pair.stream->read_bytes(4, [=](std::string_view) { work(); });
         b.pair.peer.send("line\nmore");
         return *b.pair.stream;
       }},
      {"read_bytes",  // a piece
       [](Bench& b, auto work) -> IOStream& {
         b.pair.stream->read_bytes(
             4, {.streaming_callback = [=](std::string_view) { work(); }},
             [](std::string_view) {});
         b.pair.peer.send("li");
         return *b.pair.stream;
       }},
      {"read_until_close",
       [](Bench& b, auto work) -> IOStream& {
         b.pair.stream->read_until_close([=](std::string_view) { work(); });
         b.pair.peer.shutdown();
         return *b.pair.stream;
       },
       true},
      {"read_until_close",  // a piece
       [](Bench& b, auto work) -> IOStream& {
         b.pair.stream->read_until_close(
             {.streaming_callback = [=](std::string_view) { work(); }},
             [](std::string_view) {});
         b.pair.peer.send("data");
         return *b.pair.stream;
       }},
      {"write",
       [](Bench& b, auto work) -> IOStream& {
         b.pair.stream->write("data", work);
         return *b.pair.stream;
       }},
      {"connect",
       [](Bench& b, auto work) -> IOStream& {
         b.unconnected->connect(Address("127.0.0.1", b.port), work);
         return *b.unconnected;
       }},
      {"set_close_callback",
       [](Bench& b, auto work) -> IOStream& {
         b.pair.stream->set_close_callback(work);
         b.pair.stream->close();
         return *b.pair.stream;
       },
       true},
  };
  return kinds;
}

// Counts how often a StackContext is entered, and how deep it is now.
struct Entries {
  int entered = 0;
  int depth = 0;

  auto factory() {
    return [this] {
      struct Inside {
        explicit Inside(Entries& all) : entries(all) {
          entries.entered += 1;
          entries.depth += 1;
        }
        ~Inside() { entries.depth -= 1; }
        Inside(const Inside&) = delete;
        Inside& operator=(const Inside&) = delete;
        Entries& entries;
      };
      return Inside(*this);
    };
  }
};

}  // namespace

TEST_SUITE_BEGIN("iostream_exception");

TEST_CASE_TEMPLATE("A15: an exception that leaves a callback closes its stream",
                   Loop, LoopFixture, BorrowedLoop, SteppedLoop) {
  for (const CallbackKind& kind : callback_kinds()) {
    for (const Thrown& thrown : kThrown) {
      CAPTURE(kind.operation);
      CAPTURE(thrown.name);
      Loop loop;
      loop.expect_log(LogLevel::error, std::string("Exception in callback ") +
                                           kind.operation +
                                           " at iostream_exception_test.cc:");
      Bench bench(loop);
      IOStream& stream = kind.start(bench, [&] { thrown.raise(); });

      loop.run_until([&] { return !loop.failures.empty(); });
      CHECK(loop.failures.size() == 1);  // told once
      CHECK(loop.failures.at(0).find(thrown.description) != std::string::npos);
      CHECK(stream.closed());
      if (!kind.closes) {
        CHECK(stream.error() == StreamErrc::uncaught_exception);
        CHECK(stream.error_message().find(thrown.description) !=
              std::string::npos);
        CHECK_THROWS(std::rethrow_exception(stream.exception()));
      } else {
        CHECK(stream.error() == std::error_code());
      }

      bool ran = false;  // the loop goes on
      loop->spawn_callback([&] { ran = true; });
      loop.run_until([&] { return ran; });
      CHECK(loop.failures.size() == 1);
    }
  }
}

TEST_CASE("The close callback runs after an exception has closed the stream") {
  SteppedLoop loop;
  loop.expect_log(LogLevel::error, "Exception in callback");
  EventLog log;
  const RawPeer pair = make_raw_pair(loop, {}, kUnix);
  pair.stream->set_close_callback([&] {
    log.add("close");
    CHECK(pair.stream->error() == StreamErrc::uncaught_exception);
    CHECK(pair.stream->exception() != nullptr);
  });
  pair.stream->read_until("\n", [&](std::string_view) {
    pair.stream->read_until("\n", log.read("never"));
    throw std::runtime_error("on purpose");
  });
  pair.peer.send("1\n");
  loop.settle();
  CHECK(log.text() == "close");
}

TEST_CASE("The hook is told when the stream is closed already") {
  SteppedLoop loop;
  loop.expect_log(LogLevel::error, "Exception in callback");
  const RawPeer pair = make_raw_pair(loop, {}, kUnix);
  bool told = false;
  loop.on_failure = [&](const CallbackFailure& failure) {
    told = true;
    CHECK(failure.operation == "read_bytes");
    CHECK(failure.origin.file().ends_with("iostream_exception_test.cc"));
    CHECK(failure.exception == pair.stream->exception());
    CHECK(pair.stream->closed());
  };
  pair.stream->read_bytes(1, [](std::string_view) { throw_int(); });
  pair.peer.send("1");
  loop.settle();
  CHECK(told);
}

TEST_CASE("An exception after close() does not change why the stream closed") {
  SteppedLoop loop;
  loop.expect_log(LogLevel::error, "Exception in callback");
  const RawPeer pair = make_raw_pair(loop, {}, kUnix);
  pair.stream->write("x", [&] {
    pair.stream->close();
    throw_int();
  });
  loop.settle();
  CHECK(pair.stream->closed());
  CHECK(pair.stream->error() == std::error_code());
  CHECK(pair.stream->exception() == nullptr);
  CHECK(loop.failures.size() == 1);
}

TEST_CASE("An exception in one stream's callback leaves the others alone") {
  SteppedLoop loop;
  loop.expect_log(LogLevel::error, "Exception in callback");
  EventLog log;
  const RawPeer bad = make_raw_pair(loop, {}, kUnix);
  const RawPeer good = make_raw_pair(loop, {}, kUnix);
  good.stream->read_until("\n", log.read("good"));
  bad.stream->read_until("\n", [](std::string_view) { throw_int(); });
  bad.peer.send("\n");
  good.peer.send("\n");
  loop.settle();
  CHECK(log.text() == "good(\n)");
  CHECK_FALSE(good.stream->closed());
}

TEST_CASE_TEMPLATE("A16: an exception that a context handles leaves it open",
                   Loop, LoopFixture, BorrowedLoop, SteppedLoop) {
  for (const CallbackKind& kind : callback_kinds()) {
    for (const Thrown& thrown : kThrown) {
      CAPTURE(kind.operation);
      CAPTURE(thrown.name);
      Loop loop;
      Bench bench(loop);
      IOStream* stream = nullptr;
      int handled = 0;
      {
        const ExceptionStackContext guard([&](std::exception_ptr) {
          handled += 1;
          return true;
        });
        stream = &kind.start(bench, [&] { thrown.raise(); });
      }
      loop.run_until([&] { return handled > 0; });
      CHECK(handled == 1);
      CHECK(loop.failures.empty());
      CHECK(stream->closed() == kind.closes);
      CHECK(stream->exception() == nullptr);
      stream->close();
      loop.run_until([&] { return loop->statistics().callbacks == 0; });
    }
  }
}

TEST_CASE("After a handled exception the stream goes on") {
  SteppedLoop loop;
  EventLog log;
  const RawPeer pair = make_raw_pair(loop, {}, kUnix);
  const ExceptionStackContext guard([&](std::exception_ptr) {
    log.add("handled");
    pair.stream->read_until("\n", log.read("next"));
    return true;
  });
  SUBCASE("with the next read") {
    pair.stream->read_until("\n", [](std::string_view) { throw_int(); });
    pair.peer.send("1\n2\n");
  }
  SUBCASE("with what the callback had asked for") {
    pair.stream->write("x", [] { throw_int(); });
    pair.peer.send("2\n");
  }
  loop.settle();
  CHECK(log.text() == "handled next(2\n)");
}

TEST_CASE("A piece whose exception is handled does not end its read") {
  SteppedLoop loop;
  EventLog log;
  const RawPeer pair = make_raw_pair(loop, {}, kUnix);
  const ExceptionStackContext guard([&](std::exception_ptr) {
    log.add("handled");
    return true;
  });
  pair.stream->read_bytes(4,
                          {.streaming_callback =
                               [&](std::string_view piece) {
                                 log.read("piece")(piece);
                                 throw_int();
                               }},
                          log.read("end"));
  pair.peer.send("12");
  loop.settle();
  pair.peer.send("34");
  loop.settle();
  CHECK(log.text() == "piece(12) handled piece(34) handled end()");
}

TEST_CASE("A handler that answers false leaves the exception unhandled") {
  SteppedLoop loop;
  loop.expect_log(LogLevel::error, "Exception in callback");
  const RawPeer pair = make_raw_pair(loop, {}, kUnix);
  int asked = 0;
  {
    const ExceptionStackContext guard([&](std::exception_ptr) {
      asked += 1;
      return false;
    });
    pair.stream->write("x", [] { throw_int(); });
  }
  loop.settle();
  CHECK(asked == 1);
  CHECK(loop.failures.size() == 1);
  CHECK(pair.stream->error() == StreamErrc::uncaught_exception);
}

TEST_CASE("An exception several callbacks later still reaches the handler") {
  SteppedLoop loop;
  std::uint16_t port = 0;
  const UniquePeerFd listener(listen_on_loopback(port));
  const auto stream = IOStream::create(loop);
  int handled = 0;
  {
    const ExceptionStackContext guard([&](std::exception_ptr) {
      handled += 1;
      return true;
    });
    stream->connect(Address("127.0.0.1", port), [&] {
      stream->write("x", [&] {
        stream->read_bytes(0, [](std::string_view) { throw_int(); });
      });
    });
  }
  loop.run_until([&] { return handled > 0; });
  CHECK(handled == 1);
  CHECK_FALSE(stream->closed());
}

TEST_CASE("A17: every callback runs in the context of its registration") {
  for (const CallbackKind& kind : callback_kinds()) {
    CAPTURE(kind.operation);
    SteppedLoop loop;
    Bench bench(loop);
    Entries entries;
    int depth_inside = -1;
    {
      const StackContext context(entries.factory());
      kind.start(bench, [&] { depth_inside = entries.depth; });
    }
    entries.entered = 0;
    CHECK(entries.depth == 0);
    loop.run_until([&] { return depth_inside >= 0; });
    CHECK(depth_inside == 1);
    CHECK(entries.entered == 1);
    bench.pair.stream->close();
    loop.settle();
  }
}

TEST_CASE("A context does not leak from one callback into another") {
  SteppedLoop loop;
  EventLog log;
  const RawPeer pair = make_raw_pair(loop, {}, kUnix);
  Entries read;
  Entries write;
  auto say = [&](const char* name) {
    log.add(std::string(name) + std::to_string(read.depth) +
            std::to_string(write.depth));
  };
  {
    const StackContext context(read.factory());
    pair.stream->read_bytes(1, [&](std::string_view) {
      say("read");
      const NullContext none;
      pair.stream->read_bytes(1, [&](std::string_view) { say("none"); });
    });
  }
  {
    const StackContext context(write.factory());
    pair.stream->write("x", [&] { say("write"); });
  }
  pair.stream->set_close_callback([&] { say("close"); });
  loop.settle();
  pair.peer.send("12");
  pair.peer.shutdown();
  loop.settle();
  CHECK(log.text() == "write01 read10 none00 close00");
}

TEST_CASE("A chain of reads in a context enters it once for each") {
  constexpr int kReads = 10'000;
  SteppedLoop loop;
  const RawPeer pair = make_raw_pair(loop, {}, kUnix);
  Entries entries;
  int reads = 0;
  std::function<void()> read_next = [&] {
    pair.stream->read_bytes(1, [&](std::string_view) {
      reads += 1;
      CHECK(entries.depth == 1);
      if (reads < kReads) {
        read_next();
      }
    });
  };
  {
    const StackContext context(entries.factory());
    read_next();
  }
  entries.entered = 0;
  pair.peer.send(std::string(kReads, 'x'));
  loop.settle();
  CHECK(reads == kReads);
  CHECK(entries.entered == kReads);
}

TEST_CASE("An asynchronous backtrace names the operations of a chain") {
  waterspout::stack_context::set_async_backtrace(true);
  SteppedLoop loop;
  loop.expect_log(LogLevel::error, "Exception in callback read_bytes");
  const RawPeer pair = make_raw_pair(loop, {}, kUnix);
  std::string backtrace;
  loop.on_failure = [&](const CallbackFailure& failure) {
    backtrace = failure.backtrace;
  };
  pair.stream->read_until("\n", [&](std::string_view) {
    pair.stream->write("x", [&] {
      pair.stream->read_bytes(0, [](std::string_view) { throw_int(); });
    });
  });
  pair.peer.send("\n");
  loop.settle();
  waterspout::stack_context::set_async_backtrace(false);

  const auto read = backtrace.find("read_bytes at iostream_exception_test.cc");
  const auto write = backtrace.find("from write at iostream_exception_test");
  const auto first = backtrace.find("from read_until at iostream_exception_t");
  CHECK(read == 0);
  CHECK(write != std::string::npos);
  CHECK(first != std::string::npos);
  CHECK(write < first);
}

TEST_SUITE_END();
