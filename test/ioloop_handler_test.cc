// IOLoop::add_handler and its kin: handlers of descriptors.

#include <array>
#include <cstddef>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <doctest/doctest.h>

#include "waterspout/ioloop.h"

#include "support/loop_fixture.h"
#include "support/sockets.h"

using waterspout::Callback;
using waterspout::IOLoop;
using waterspout::LogLevel;
using waterspout::test::connect_tcp_pair;
using waterspout::test::LoopFixture;
using waterspout::test::make_unix_sockets;
using waterspout::test::SocketPair;

namespace {

using Events = IOLoop::Events;

// A descriptor that is always writable, and readable once it was signalled.
class EventFd {
 public:
  explicit EventFd(unsigned value = 0)
      : fd_(eventfd(value, EFD_CLOEXEC | EFD_NONBLOCK)) {}
  ~EventFd() { close(fd_); }
  EventFd(const EventFd&) = delete;
  EventFd& operator=(const EventFd&) = delete;

  [[nodiscard]] int get() const { return fd_; }
  void signal() const { eventfd_write(fd_, 1); }
  void clear() const {
    eventfd_t value = 0;
    eventfd_read(fd_, &value);
  }

 private:
  int fd_;
};

void nothing(int /*fd*/, Events /*events*/) {}

// The code of the std::system_error that add_handler throws for `fd`.
std::error_code refusal(IOLoop& loop, int fd) {
  try {
    loop.add_handler(fd, IOLoop::READ, [](int, Events) {});
  } catch (const std::system_error& error) {
    const std::string start = "add_handler: fd " + std::to_string(fd) + ": ";
    CHECK(std::string_view(error.what()).starts_with(start));
    return error.code();
  }
  return {};
}

// A socket behind an object, as Tornado's file objects are.
struct SocketObject {
  explicit SocketObject(int fd) : fd_(fd) {}
  [[nodiscard]] int fileno() const { return fd_; }
  void close() {
    ++closed;
    ::close(std::exchange(fd_, -1));
  }

  int closed = 0;

 private:
  int fd_;
};

using ObjectCallback =
    Callback<void(const std::shared_ptr<SocketObject>&, IOLoop::Events)>;

}  // namespace

TEST_SUITE_BEGIN("ioloop_handler");

TEST_CASE(
    "IOLoop::close closes file objects through their own close "
    "(test_close_file_object)") {
  LoopFixture loop;
  SocketPair pair = make_unix_sockets();
  const auto file = std::make_shared<SocketObject>(pair.server.release());
  loop->add_handler(file, IOLoop::READ,
                    ObjectCallback([](const std::shared_ptr<SocketObject>&,
                                      IOLoop::Events) {}));
  loop->add_handler(pair.client.get(), IOLoop::READ,
                    [](int, IOLoop::Events) {});

  loop->close(IOLoop::CloseFds::all);

  CHECK(file->closed == 1);
  CHECK(file.use_count() == 1);
  CHECK(::write(pair.client.release(), "x", 1) == -1);  // the loop closed it
  pair.server = {};
}

TEST_CASE(
    "IOLoop gives a handler exactly what it was registered with "
    "(test_handler_callback_file_object)") {
  LoopFixture loop;
  SocketPair pair = make_unix_sockets();
  const auto file = std::make_shared<SocketObject>(pair.server.release());
  pair.client.send("x");
  std::shared_ptr<SocketObject> seen;
  loop->add_handler(
      file, IOLoop::READ,
      ObjectCallback([&](const std::shared_ptr<SocketObject>& given,
                         IOLoop::Events events) {
        seen = given;
        CHECK(events == IOLoop::READ);
        loop.stop();
      }));
  loop.run();
  CHECK(seen == file);

  loop->remove_handler(file->fileno());
  int seen_fd = -1;
  loop->add_handler(file->fileno(), IOLoop::READ, [&](int fd, IOLoop::Events) {
    seen_fd = fd;
    loop.stop();
  });
  loop.run();
  CHECK(seen_fd == file->fileno());
  loop->remove_handler(file->fileno());
  file->close();
}

TEST_CASE(
    "IOLoop refuses the descriptor of an object that has a handler "
    "(test_mixed_fd_fileobj)") {
  LoopFixture loop;
  SocketPair pair = make_unix_sockets();
  const auto file = std::make_shared<SocketObject>(pair.server.release());
  loop->add_handler(file, IOLoop::READ,
                    ObjectCallback([](const std::shared_ptr<SocketObject>&,
                                      IOLoop::Events) {}));

  CHECK_THROWS_AS(loop->add_handler(file->fileno(), IOLoop::READ,
                                    [](int, IOLoop::Events) {}),
                  std::logic_error);

  loop->remove_handler(file->fileno());
  file->close();
}

TEST_CASE("IOLoop calls a handler once a turn with all that is ready") {
  LoopFixture loop;
  const EventFd fd(1);
  std::vector<Events> seen;
  loop->add_handler(fd.get(), IOLoop::READ | IOLoop::WRITE,
                    [&](int, Events events) { seen.push_back(events); });

  loop.run_turns(1);
  CHECK(seen == std::vector<Events>{IOLoop::READ | IOLoop::WRITE});
  loop->remove_handler(fd.get());
}

TEST_CASE("IOLoop never tells a handler of what it did not ask for") {
  LoopFixture loop;
  const EventFd fd(1);
  Events seen = 0;
  loop->add_handler(fd.get(), IOLoop::WRITE,
                    [&](int, Events events) { seen |= events; });

  loop.run_turns(3);
  CHECK(seen == IOLoop::WRITE);
  loop->remove_handler(fd.get());
}

TEST_CASE("IOLoop reports again what was not read") {
  LoopFixture loop;
  const EventFd fd(1);
  int calls = 0;
  loop->add_handler(fd.get(), IOLoop::READ, [&](int, Events) {
    if (++calls == 3) {
      fd.clear();
      loop.stop();
    }
  });

  loop.run();
  CHECK(calls == 3);
  loop->remove_handler(fd.get());
}

TEST_CASE(
    "IOLoop shows the end of a connection as READ, and its reset as "
    "what was asked for") {
  LoopFixture loop;
  SocketPair pair = connect_tcp_pair();
  Events wanted = 0;
  SUBCASE("end") {
    wanted = IOLoop::READ;
    pair.client.close();
  }
  SUBCASE("reset, for a reader") {
    wanted = IOLoop::READ;
    pair.client.reset();
  }
  SUBCASE("reset, for a writer") {
    wanted = IOLoop::WRITE;
    pair.client.reset();
  }
  Events seen = 0;
  loop->add_handler(pair.server.get(), wanted, [&](int, Events events) {
    seen |= events;
    loop.stop();
  });

  loop.run();
  CHECK(seen == wanted);
  loop->remove_handler(pair.server.get());
}

TEST_CASE("IOLoop::update_handler replaces what the handler waits for") {
  LoopFixture loop;
  const EventFd fd(1);
  std::vector<Events> seen;
  loop->add_handler(fd.get(), IOLoop::READ,
                    [&](int, Events events) { seen.push_back(events); });
  loop.run_turns(1);
  loop->update_handler(fd.get(), IOLoop::WRITE);
  loop.run_turns(1);

  CHECK(seen == std::vector<Events>{IOLoop::READ, IOLoop::WRITE});
  loop->remove_handler(fd.get());
}

TEST_CASE("IOLoop::update_handler with 0 pauses the handler") {
  LoopFixture loop;
  const EventFd fd(1);
  int calls = 0;
  loop->add_handler(fd.get(), IOLoop::READ, [&](int, Events) { ++calls; });

  loop->update_handler(fd.get(), 0);
  loop.run_turns(3);
  CHECK(calls == 0);
  CHECK(loop->statistics().handlers == 1);

  loop->update_handler(fd.get(), IOLoop::READ);
  loop.run_turns(1);
  CHECK(calls == 1);
  loop->remove_handler(fd.get());
}

TEST_CASE(
    "IOLoop does not call a handler that another one of the same turn "
    "pauses") {
  LoopFixture loop;
  const EventFd first(1);
  const EventFd second(1);
  int calls = 0;
  auto pause_both = [&](int, Events) {
    ++calls;
    loop->update_handler(first.get(), 0);
    loop->update_handler(second.get(), 0);
  };
  loop->add_handler(first.get(), IOLoop::READ, pause_both);
  loop->add_handler(second.get(), IOLoop::READ, pause_both);

  loop.run_turns(3);
  CHECK(calls == 1);
  loop->remove_handler(first.get());
  loop->remove_handler(second.get());
}

TEST_CASE("IOLoop::update_handler may be called inside the handler") {
  LoopFixture loop;
  const EventFd fd(1);
  std::vector<Events> seen;
  loop->add_handler(fd.get(), IOLoop::READ, [&](int, Events events) {
    seen.push_back(events);
    loop->update_handler(fd.get(), seen.size() == 1 ? IOLoop::WRITE : 0);
  });

  loop.run_turns(5);
  CHECK(seen == std::vector<Events>{IOLoop::READ, IOLoop::WRITE});
  loop->remove_handler(fd.get());
}

TEST_CASE("IOLoop::update_handler refuses other bits and changes nothing") {
  LoopFixture loop;
  const EventFd fd(1);
  Events seen = 0;
  loop->add_handler(fd.get(), IOLoop::READ,
                    [&](int, Events events) { seen |= events; });

  for (const Events other : {2U, 8U, IOLoop::WRITE | 2U, ~0U}) {
    CHECK_THROWS_AS(loop->update_handler(fd.get(), other),
                    std::invalid_argument);
  }
  loop.run_turns(2);
  CHECK(seen == IOLoop::READ);
  loop->remove_handler(fd.get());
}

TEST_CASE("IOLoop::update_handler refuses a descriptor without a handler") {
  LoopFixture loop;
  const EventFd fd;
  CHECK_THROWS_AS(loop->update_handler(fd.get(), IOLoop::READ),
                  std::logic_error);

  loop->add_handler(fd.get(), IOLoop::READ, nothing);
  loop->remove_handler(fd.get());
  CHECK_THROWS_AS(loop->update_handler(fd.get(), IOLoop::READ),
                  std::logic_error);
}

TEST_CASE(
    "IOLoop::add_handler refuses an empty callback, no events and other "
    "bits") {
  LoopFixture loop;
  const EventFd fd;
  const std::function<void(int, Events)> empty;

  CHECK_THROWS_AS(loop->add_handler(fd.get(), IOLoop::READ, nullptr),
                  std::invalid_argument);
  CHECK_THROWS_AS(loop->add_handler(fd.get(), IOLoop::READ, empty),
                  std::invalid_argument);
  for (const Events events : {0U, 2U, 8U, IOLoop::READ | 2U}) {
    CHECK_THROWS_AS(loop->add_handler(fd.get(), events, nothing),
                    std::invalid_argument);
  }
  CHECK(loop->statistics().handlers == 0);
}

TEST_CASE("IOLoop::add_handler leaves the old handler, whatever it refuses") {
  LoopFixture loop;
  const EventFd fd(1);
  int calls = 0;
  loop->add_handler(fd.get(), IOLoop::READ, [&](int, Events) { ++calls; });

  CHECK_THROWS_AS(loop->add_handler(fd.get(), IOLoop::READ, nullptr),
                  std::invalid_argument);
  CHECK_THROWS_AS(loop->add_handler(fd.get(), 0, nothing),
                  std::invalid_argument);
  CHECK_THROWS_AS(loop->add_handler(fd.get(), IOLoop::READ, nothing),
                  std::logic_error);

  loop.run_turns(1);
  CHECK(calls == 1);
  loop->remove_handler(fd.get());
}

TEST_CASE(
    "IOLoop::add_handler throws the system's reason for what cannot be "
    "polled") {
  LoopFixture loop;
  const int file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
  CHECK(refusal(loop, file) == std::errc::operation_not_permitted);
  close(file);
  CHECK(refusal(loop, file) == std::errc::bad_file_descriptor);
  CHECK(refusal(loop, -1) == std::errc::bad_file_descriptor);
  CHECK(loop->statistics().handlers == 0);

  // Nothing of the refused one is in the way of the number's next owner.
  const EventFd fd(1);
  CHECK(fd.get() == file);
  bool called = false;
  loop->add_handler(fd.get(), IOLoop::READ,
                    [&](int, Events) { called = true; });
  loop.run_turns(1);
  CHECK(called);
  loop->remove_handler(fd.get());
}

TEST_CASE("IOLoop::add_handler refuses a closed loop") {
  LoopFixture loop;
  const EventFd fd;
  loop->close();

  CHECK_THROWS_AS(loop->add_handler(fd.get(), IOLoop::READ, nothing),
                  std::logic_error);
  CHECK_THROWS_AS(loop->update_handler(fd.get(), IOLoop::READ),
                  std::logic_error);
  loop->remove_handler(fd.get());
}

TEST_CASE(
    "IOLoop::remove_handler inside the handler destroys its callback "
    "after it has returned") {
  LoopFixture loop;
  const EventFd fd(1);
  auto held = std::make_shared<int>(7);
  const std::weak_ptr<int> watch = held;
  loop->add_handler(fd.get(), IOLoop::READ,
                    [&loop, &fd, held = std::move(held)](int, Events) {
                      loop->remove_handler(fd.get());
                      loop->remove_handler(fd.get());
                      CHECK(*held == 7);
                    });
  held.reset();

  loop.run_turns(2);
  CHECK(watch.expired());
}

TEST_CASE(
    "IOLoop::add_handler may put a new handler on the descriptor inside "
    "the old one") {
  LoopFixture loop;
  const EventFd fd(1);
  std::vector<int> calls;
  loop->add_handler(fd.get(), IOLoop::READ, [&](int, Events) {
    calls.push_back(1);
    loop->remove_handler(fd.get());
    loop->add_handler(fd.get(), IOLoop::READ, [&](int, Events) {
      calls.push_back(2);
      loop->remove_handler(fd.get());
    });
    CHECK(calls.size() == 1);
  });

  loop.run_turns(4);
  CHECK(calls == std::vector<int>{1, 2});
}

TEST_CASE("IOLoop keeps the handler whose callback throws, and reports it") {
  LoopFixture loop;
  loop.expect_log(LogLevel::error, "handler failed");
  const EventFd fd(1);
  int calls = 0;
  loop->add_handler(fd.get(), IOLoop::READ, [&](int, Events) {
    if (++calls == 1) {
      throw std::out_of_range("handler failed");
    }
    loop.stop();
  });

  loop.run();
  CHECK(calls == 2);
  REQUIRE(loop.failures.size() == 1);
  CHECK(loop.failures[0].find("add_handler at ioloop_handler_test.cc:") !=
        std::string::npos);
  loop->remove_handler(fd.get());
}

TEST_CASE("IOLoop runs the other handlers of a turn after one has thrown") {
  LoopFixture loop;
  const std::array<EventFd, 3> fds{EventFd(1), EventFd(1), EventFd(1)};
  std::size_t calls = 0;
  for (const EventFd& fd : fds) {
    loop.expect_log(LogLevel::error, "Exception in callback");
    loop->add_handler(fd.get(), IOLoop::READ, [&](int number, Events) {
      loop->remove_handler(number);
      ++calls;
      throw 7;
    });
  }
  loop.run_turns(1);
  CHECK(calls == fds.size());
}

TEST_CASE("IOLoop keeps the handlers of a descriptor and of its copy apart") {
  LoopFixture loop;
  const EventFd fd(1);
  const int copy = fcntl(fd.get(), F_DUPFD_CLOEXEC, 0);
  int calls = 0;
  int copy_calls = 0;
  loop->add_handler(fd.get(), IOLoop::READ, [&](int, Events) { ++calls; });
  loop->add_handler(copy, IOLoop::READ, [&](int, Events) { ++copy_calls; });
  loop.run_turns(1);
  CHECK(calls == 1);
  CHECK(copy_calls == 1);

  loop->remove_handler(copy);
  close(copy);
  loop.run_turns(1);
  CHECK(calls == 2);
  CHECK(copy_calls == 1);
  loop->remove_handler(fd.get());
}

TEST_SUITE_END();
