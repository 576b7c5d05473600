#include "support/scenarios.h"

#include <chrono>
#include <csignal>
#include <cstddef>
#include <exception>
#include <memory>
#include <new>
#include <string>
#include <string_view>
#include <utility>

#include <sys/eventfd.h>

#include <doctest/doctest.h>

#include "waterspout/iostream.h"
#include "waterspout/pipe.h"
#include "waterspout/stack_context.h"
#include "waterspout/subprocess.h"
#include "waterspout/tcpclient.h"
#include "waterspout/tcpserver.h"

#include "support/pipes.h"
#include "support/stream_pair.h"

namespace waterspout::test {
namespace {

using namespace std::chrono_literals;

IOLoop::Options quiet() {
  IOLoop::Options options;
  options.make_current = IOLoop::MakeCurrent::never;
  options.logger = Logger([](const LogRecord&) {});
  return options;
}

class EchoServer final : public TCPServer {
 public:
  explicit EchoServer(IOLoop& loop) : TCPServer(loop) {
    listen(0, "127.0.0.1");
  }

 protected:
  void handle_stream(std::shared_ptr<IOStream> stream,
                     const Address& /*address*/) override {
    echo_lines(stream);
  }

 private:
  static void echo_lines(const std::shared_ptr<IOStream>& stream) {
    stream->read_until("\n", {.max_bytes = 2'000'000},
                       [stream](std::string_view line) {
                         stream->write(line, [stream] { echo_lines(stream); });
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

// Both ends of a connection. When the first one ends, and nobody has told why,
// that is it.
struct Pair {
  explicit Pair(World& world) {
    auto pair = make_unix_pair(world, half_close(), half_close());
    a = std::move(pair.client);
    b = std::move(pair.server);
    a->set_close_callback([&world] { world.end("the stream closed"); });
    a->set_read_end_callback([&world] { world.end("the peer ended"); });
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

World::World() : IOLoop(quiet()) {
  call_later(20s, [this] {
    late = true;
    stop();
  });
}

void World::end(const char* how) {
  if (ended == nullptr) {
    ended = how;
  }
  stop();
}

void World::handle_callback_exception(const CallbackFailure& /*failure*/) {
  end("the loop was told");
}

void echo_line(World& world) { echo_over_tcp(world, 10); }

void echo_megabyte(World& world) { echo_over_tcp(world, 1'000'000); }

void read_in_every_way(World& world) {
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
}

void pipe_streams(World& world) {
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
}

void write_and_try_again(World& world) {
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
}

void run_callbacks_and_timeouts(World& world) {
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
}

void run_handlers(World& world) {
  const Fd readable(::eventfd(1, EFD_NONBLOCK | EFD_CLOEXEC));
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
  world.add_handler(readable.get(), IOLoop::READ, [&](int fd, IOLoop::Events) {
    world.remove_handler(fd);
    one_more();
  });
  world.add_signal_handler(SIGUSR1, [&](int) { one_more(); });
  CHECK(::raise(SIGUSR1) == 0);
  CHECK(world.add_callback_from_signal([&] { one_more(); }));
  world.start();
}

void resolve_and_connect(World& world) {
  EchoServer server(world);
  TCPClient client(world);
  client.connect(
      "localhost", server.addresses().at(0).port(), {.timeout = 2s},
      [&](const ConnectError& error, const std::shared_ptr<IOStream>& stream) {
        if (error) {
          world.end("it could not connect");
          return;
        }
        stream->set_close_callback([&] { world.end("it closed"); });
        stream->write("hello\n");
        stream->read_until("\n", [&](std::string_view) { world.end("done"); });
      });
  world.start();
}

void run_program(World& world) {
  Subprocess cat(world, {"cat"},
                 {.input = Subprocess::STREAM, .output = Subprocess::STREAM});
  cat.set_exit_callback([&](ExitStatus) { world.end("done"); });
  cat.output()->set_close_callback([&] { cat.input()->close(); });
  cat.input()->write("hello\n");
  cat.output()->read_until("\n",
                           [&](std::string_view) { cat.input()->close(); });
  world.start();
}

}  // namespace waterspout::test
