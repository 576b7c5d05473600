// Every allocation of a scenario fails, each in a run of its own. Then the
// caller is told by an exception, or the stream closes, or the loop hears of
// it: nothing crashes, nobody waits for ever, nothing is left over.

#include <chrono>
#include <csignal>
#include <cstddef>
#include <exception>
#include <memory>
#include <new>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "waterspout/iostream.h"
#include "waterspout/pipe.h"
#include "waterspout/stack_context.h"
#include "waterspout/subprocess.h"
#include "waterspout/tcpclient.h"
#include "waterspout/tcpserver.h"

#include "support/failing_memory.h"
#include "support/fd_count.h"
#include "support/pipes.h"
#include "support/stream_pair.h"

using waterspout::Address;
using waterspout::Callback;
using waterspout::CallbackFailure;
using waterspout::ConnectError;
using waterspout::ConnectOptions;
using waterspout::ExceptionStackContext;
using waterspout::ExitStatus;
using waterspout::IOLoop;
using waterspout::IOStream;
using waterspout::Logger;
using waterspout::LogRecord;
using waterspout::NullContext;
using waterspout::PeriodicCallback;
using waterspout::PipeResult;
using waterspout::StackContext;
using waterspout::Subprocess;
using waterspout::TCPClient;
using waterspout::TCPServer;
using waterspout::test::FailingMemory;
using waterspout::test::fd_count;
using waterspout::test::fd_count_falls_to;
using waterspout::test::kReplacesNew;
using waterspout::test::make_unix_pair;

namespace {

using namespace std::chrono_literals;

// A loop that ends once somebody has told how the scenario ended; an exception
// that only the loop hears of is an end as well.
class World final : public IOLoop {
 public:
  World() : IOLoop(quiet()) {
    call_later(20s, [this] {
      late = true;
      stop();
    });
  }

  // An operation's end, for its callback.
  void end(const char* how) {
    if (ended == nullptr) {
      ended = how;
    }
    stop();
  }

  const char* ended = nullptr;
  bool late = false;

 protected:
  void handle_callback_exception(const CallbackFailure& /*failure*/) override {
    end("the loop was told");
  }

 private:
  static Options quiet() {
    Options options;
    options.make_current = MakeCurrent::never;
    options.logger = Logger([](const LogRecord&) {});
    return options;
  }
};

using Scenario = void (*)(World& world);

// Runs the scenario once; false if it had no more than `before` allocations.
bool run_short_of_memory(Scenario scenario, std::size_t before,
                         std::size_t count) {
  World world;
  bool failed = true;
  bool thrown = false;
  {
    const FailingMemory failing(before, count);
    try {
      scenario(world);
    } catch (const std::exception&) {
      thrown = true;  // also what a library, or a closed stream, says of it
    }
    failed = failing.has_failed();
  }
  CHECK_FALSE(world.late);
  CHECK((thrown || world.ended != nullptr));
  return failed;
}

constexpr std::size_t kEachOf = 400;
constexpr std::size_t kOneOf = 37;

// `orphans`: descriptors of children that may outlive their loop, until the
// next child finds that they have ended.
void run_short_of_each_allocation(Scenario scenario, std::size_t orphans = 0) {
  {
    World world;
    scenario(world);  // what is made once for the process
    CHECK(world.ended == std::string_view("done"));
  }
  const std::size_t fds = fd_count();
  // By itself, and with those that telling of it would take.
  for (const std::size_t count : {1U, 2U, 8U}) {
    CAPTURE(count);
    std::size_t before = 0;
    bool failed = true;
    while (failed) {
      CAPTURE(before);
      failed = run_short_of_memory(scenario, before, count);
      // OpenSSL's own are thousands, of a few kinds.
      before += before < kEachOf ? 1 : kOneOf;
      CHECK(fd_count_falls_to(fds + orphans));
    }
    CHECK(before > 5);
  }
}

class EchoServer final : public TCPServer {
 public:
  explicit EchoServer(IOLoop& loop) : TCPServer(loop) {
    listen(0, "127.0.0.1");
  }

 protected:
  void handle_stream(std::shared_ptr<IOStream> stream,
                     const Address& /*address*/) override {
    echo_line(stream);
  }

 private:
  static void echo_line(const std::shared_ptr<IOStream>& stream) {
    stream->read_until("\n", {.max_bytes = 2'000'000},
                       [stream](std::string_view line) {
                         stream->write(line, [stream] { echo_line(stream); });
                       });
  }
};

void echo_over_tcp(World& world, std::size_t size) {
  EchoServer server(world);
  {
    const auto stream = IOStream::create(world);
    stream->set_close_callback([&] { world.end("the client closed"); });
    stream->connect(server.addresses().at(0), [&, stream, size] {
      stream->write(std::string(size, 'x') + "\n", [] {});
      stream->read_until("\n", [&world, stream, size](std::string_view line) {
        CHECK(line.size() == size + 1);
        world.end("done");
      });
    });
  }
  world.start();
}

// Bytes among which a gap shows.
std::string numbered_bytes(std::size_t size) {
  std::string bytes;
  bytes.reserve(size + 10);
  for (int number = 0; bytes.size() < size; ++number) {
    bytes += std::to_string(number) + " ";
  }
  bytes.resize(size);
  return bytes;
}

// Both ends of a connection; when the first closes without an end, that is it.
struct Pair {
  explicit Pair(World& world) {
    auto pair = make_unix_pair(world, half_close(), half_close());
    a = std::move(pair.client);
    b = std::move(pair.server);
    a->set_close_callback([&world] { world.end("the stream closed"); });
  }

  static IOStream::Options half_close() {
    IOStream::Options options;
    options.half_close = true;
    return options;
  }

  std::shared_ptr<IOStream> a;
  std::shared_ptr<IOStream> b;
};

}  // namespace

TEST_SUITE_BEGIN("out_of_memory" * doctest::skip(!kReplacesNew));

TEST_CASE("A line's way to a server and back survives want of memory") {
  run_short_of_each_allocation([](World& world) { echo_over_tcp(world, 10); });
}

TEST_CASE("So does a message that the kernel has no room for") {
  run_short_of_each_allocation(
      [](World& world) { echo_over_tcp(world, 1'000'000); });
}

TEST_CASE("So do reads of every kind, in a chain") {
  run_short_of_each_allocation([](World& world) {
    const Pair pair(world);
    const auto stream = pair.a;
    pair.b->write("one two three four-and-a-long-delimiter ");
    pair.b->write(std::string(40'000, 'x'));
    stream->read_until_regex("[ \\t]", [&, stream](std::string_view one) {
      CHECK(one == "one ");
      stream->read_until(
          "-and-a-long-delimiter ", [&, stream](std::string_view some) {
            CHECK(some.starts_with("two three four-"));
            stream->read_bytes(
                20'000, {.streaming_callback = [](std::string_view) {}},
                [&, stream](std::string_view) {
                  stream->read_until_close([&](std::string_view rest) {
                    world.end(rest.size() == 20'000 ? "done" : "cut");
                  });
                });
          });
    });
    pair.b->close_after_writing();
    world.start();
  });
}

TEST_CASE("So do streams of half a megabyte each way through a pipe") {
  run_short_of_each_allocation([](World& world) {
    const Pair outer(world);
    const auto inner =
        make_unix_pair(world, Pair::half_close(), Pair::half_close());
    pipe_both(outer.b, inner.client, [](PipeResult, PipeResult) {});
    static const std::string data = numbered_bytes(500'000);
    inner.server->read_bytes(data.size(), [&](std::string_view) {
      inner.server->write(data);
      inner.server->shutdown_write();
    });
    outer.a->write(data);
    outer.a->read_until_close([&](std::string_view all) {
      CHECK(data.starts_with(all));
      world.end(all.size() == data.size() ? "done" : "cut");
    });
    world.start();
  });
}

TEST_CASE("What a writer was refused, and wrote again, arrives once") {
  run_short_of_each_allocation([](World& world) {
    const Pair pair(world);
    static const std::string data = numbered_bytes(300'000);
    pair.a->read_until_close([&](std::string_view all) {
      CHECK(data.starts_with(all));
      CHECK((all.size() == data.size() || pair.a->error() || pair.b->error()));
      world.end("done");
    });
    std::string_view rest = data;
    for (const std::size_t size : {10U, 5'000U, 30'000U, 100'000U, 300'000U}) {
      const std::string_view piece = rest.substr(0, size);
      try {
        pair.b->write(piece, [] {});
      } catch (const std::bad_alloc&) {
        pair.b->write(piece, [] {});
      }
      rest.remove_prefix(piece.size());
    }
    pair.b->close_after_writing();
    world.start();
  });
}

TEST_CASE("So do callbacks and timeouts, in contexts or in none") {
  run_short_of_each_allocation([](World& world) {
    const StackContext around([] { return std::string(50, 'o'); });
    const ExceptionStackContext guard([&](std::exception_ptr) {
      world.end("the guard was told");
      return true;
    });
    std::string captured(50, 'c');
    for (int i = 0; i < 100; ++i) {
      world.add_callback([captured] {});
    }
    world.call_later(0s, [&, captured] {
      const NullContext outside;
      world.add_callback([&, captured] {
        world.call_later(1ms, [&, captured] { world.end("done"); });
      });
    });
    world.start();
  });
}

TEST_CASE("So do handlers, signals and periodic callbacks") {
  run_short_of_each_allocation([](World& world) {
    const auto [reader, writer] = waterspout::test::make_pipe();
    int left = 4;
    const auto one_more = [&] {
      if (--left == 0) {
        world.end("done");
      }
    };
    PeriodicCallback periodic(world, 1ms, [&] {
      periodic.stop();
      one_more();
    });
    periodic.start();
    ::fcntl(reader.get(), F_SETFL, O_NONBLOCK);
    world.add_handler(reader.get(), IOLoop::READ, [&](int fd, IOLoop::Events) {
      world.remove_handler(fd);
      one_more();
    });
    world.add_signal_handler(SIGUSR1, [&](int) { one_more(); });
    writer.write("x");
    CHECK(::raise(SIGUSR1) == 0);
    CHECK(world.add_callback_from_signal([&] { one_more(); }));
    world.start();
  });
}

TEST_CASE("So does a client that has to resolve a name") {
  run_short_of_each_allocation([](World& world) {
    EchoServer server(world);
    TCPClient client(world);
    client.connect(
        "localhost", server.addresses().at(0).port(), {.timeout = 2s},
        [&](const ConnectError& error,
            const std::shared_ptr<IOStream>& stream) {
          if (error) {
            world.end("it could not connect");
            return;
          }
          stream->set_close_callback([&] { world.end("it closed"); });
          stream->write("hello\n");
          stream->read_until("\n",
                             [&](std::string_view) { world.end("done"); });
        });
    world.start();
  });
}

TEST_CASE("So does another program, with what it is told and says") {
  run_short_of_each_allocation(
      [](World& world) {
        Subprocess cat(
            world, {"cat"},
            {.input = Subprocess::STREAM, .output = Subprocess::STREAM});
        cat.set_exit_callback([&](ExitStatus) { world.end("done"); });
        cat.output()->set_close_callback([&] { cat.input()->close(); });
        cat.input()->write("hello\n");
        cat.output()->read_until(
            "\n", [&](std::string_view) { cat.input()->close(); });
        world.start();
      },
      10);
}

TEST_SUITE_END();
