// What a request costs: the echo of a 64-byte line over loopback TCP, in the
// steady state, counted in system calls and allocations. These repeat from run
// to run, which times do not. The bare libevent server below does the least
// that can be done; it is the floor to compare with.
//
//   echo_cost                                   prints the table
//   echo_cost SERVER CONNECTIONS LINES REQUESTS one run, without a word: for a
//                                               profile
//
// SERVER is waterspout or libevent. The client is this program in another
// process. It has CONNECTIONS connections and sends LINES lines at once on
// each.

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <exception>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <dlfcn.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <spawn.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <event2/event.h>

#include "waterspout/address.h"
#include "waterspout/ioloop.h"
#include "waterspout/iostream.h"

#include "base/unique_fd.h"

extern char** environ;

namespace {

using waterspout::Address;
using waterspout::IOLoop;
using waterspout::IOStream;
using waterspout::UniqueFd;

constexpr std::size_t kLineSize = 64;  // bytes, its end included
constexpr std::uint64_t kWarmUp = 2000;
constexpr std::uint64_t kMeasured = 20000;
// The end of a server whose client does not come, and the other way round.
constexpr unsigned kLongestRun = 300;  // seconds, under callgrind too

struct Counts {
  std::uint64_t recv = 0;
  std::uint64_t send = 0;
  std::uint64_t epoll_wait = 0;
  std::uint64_t epoll_ctl = 0;
  std::uint64_t others = 0;  ///< read and write: the wake-ups of a loop
  std::uint64_t allocations = 0;
};

// Constant-initialised: the C library allocates before main.
constinit Counts counts;

struct Setup {
  std::string server;
  std::uint64_t connections;
  std::uint64_t lines;     ///< sent at once on each connection
  std::uint64_t requests;  ///< in all, and rounded down to whole rounds
};

template <class Result>
Result checked(Result result, const char* operation) {
  if (result < 0) {
    throw std::system_error(errno, std::generic_category(), operation);
  }
  return result;
}

/// Remembers the counts when the steady state begins and when it ends.
class Meter {
 public:
  void count_request() {
    requests_ += 1;
    if (requests_ == kWarmUp) {
      begin_ = counts;
    } else if (requests_ == kWarmUp + kMeasured) {
      end_ = counts;
    }
  }

  [[nodiscard]] double each(std::uint64_t Counts::*which) const {
    return static_cast<double>(end_.*which - begin_.*which) / kMeasured;
  }

 private:
  std::uint64_t requests_ = 0;
  Counts begin_;
  Counts end_;
};

UniqueFd listen_on_loopback() {
  UniqueFd listener(
      checked(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket"));
  const Address address("127.0.0.1", 0);
  checked(bind(listener.get(), address.data(),
               static_cast<socklen_t>(address.size())),
          "bind");
  checked(listen(listener.get(), 128), "listen");
  return listener;
}

int accept_next(int listener) {
  return checked(
      accept4(listener, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK),
      "accept4");
}

/// As a user writes it. Ends when its last client has gone.
class WaterspoutServer {
 public:
  explicit WaterspoutServer(Meter& meter) : meter_(meter) {}

  void serve(int listener, std::uint64_t connections) {
    open_ = connections;
    for (std::uint64_t i = 0; i < connections; ++i) {
      const auto stream = IOStream::create(loop_, accept_next(listener));
      stream->set_close_callback([this] { one_has_gone(); });
      echo_next_line(stream);
    }
    loop_.start();
  }

 private:
  // The callbacks' `this` is good: serve() returns when all streams are closed.
  void echo_next_line(const std::shared_ptr<IOStream>& stream) {
    stream->read_until("\n", [this, stream](std::string_view line) {
      meter_.count_request();
      stream->write(line, [this, stream] { echo_next_line(stream); });
    });
  }

  void one_has_gone() {
    open_ -= 1;
    if (open_ == 0) {
      loop_.stop();
    }
  }

  IOLoop loop_;
  Meter& meter_;
  std::uint64_t open_ = 0;
};

/// The least that an event loop on libevent can do: one event a connection,
/// which stays registered, one recv and one send. It looks at no line.
class LibeventServer {
 public:
  explicit LibeventServer(Meter& meter) : meter_(meter) {
    const std::unique_ptr<event_config, void (*)(event_config*)> config(
        event_config_new(), event_config_free);
    event_config_set_flag(
        config.get(), EVENT_BASE_FLAG_NOLOCK | EVENT_BASE_FLAG_NO_CACHE_TIME);
    base_.reset(event_base_new_with_config(config.get()));
  }

  void serve(int listener, std::uint64_t connections) {
    std::vector<std::unique_ptr<Connection>> all;
    for (std::uint64_t i = 0; i < connections; ++i) {
      all.push_back(std::make_unique<Connection>(*this, accept_next(listener)));
    }
    event_base_dispatch(base_.get());  // until no event is left
  }

 private:
  struct Connection {
    Connection(LibeventServer& its_server, int socket)
        : server(its_server),
          fd(socket),
          readable(event_new(server.base_.get(), socket, EV_READ | EV_PERSIST,
                             &Connection::on_readable, this),
                   event_free) {
      event_add(readable.get(), nullptr);
    }

    static void on_readable(int fd, short /*what*/, void* self) noexcept {
      auto& connection = *static_cast<Connection*>(self);
      auto& scratch = connection.server.scratch_;
      const ssize_t size = recv(fd, scratch.data(), scratch.size(), 0);
      if (size <= 0) {
        connection.readable.reset();
        return;
      }
      const auto bytes = static_cast<std::size_t>(size);
      for (std::size_t i = 0; i < bytes / kLineSize; ++i) {
        connection.server.meter_.count_request();
      }
      send(fd, scratch.data(), bytes, MSG_NOSIGNAL);
    }

    LibeventServer& server;
    UniqueFd fd;
    std::unique_ptr<event, void (*)(event*)> readable;
  };

  Meter& meter_;
  std::unique_ptr<event_base, void (*)(event_base*)> base_{nullptr,
                                                           event_base_free};
  std::array<char, 65536> scratch_{};
};

// The other process: plain blocking sockets.
void run_client(std::uint16_t port, const Setup& setup) {
  const Address server("127.0.0.1", port);
  std::vector<UniqueFd> sockets;
  for (std::uint64_t i = 0; i < setup.connections; ++i) {
    UniqueFd fd(checked(socket(AF_INET, SOCK_STREAM, 0), "socket"));
    checked(
        connect(fd.get(), server.data(), static_cast<socklen_t>(server.size())),
        "connect");
    const int on = 1;
    checked(setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on),
            "setsockopt");
    sockets.push_back(std::move(fd));
  }
  std::string lines;
  for (std::uint64_t i = 0; i < setup.lines; ++i) {
    lines += std::string(kLineSize - 1, 'x') + "\n";
  }
  std::string answer(lines.size(), '\0');
  const std::uint64_t at_once = setup.connections * setup.lines;
  for (std::uint64_t round = 0; round < setup.requests / at_once; ++round) {
    for (const UniqueFd& fd : sockets) {
      checked(send(fd.get(), lines.data(), lines.size(), MSG_NOSIGNAL), "send");
    }
    for (const UniqueFd& fd : sockets) {
      checked(recv(fd.get(), answer.data(), answer.size(), MSG_WAITALL),
              "recv");
    }
  }
}

pid_t start_client(const char* program, int listener, const Setup& setup) {
  std::array<std::string, 7> words = {
      program,
      "client",
      std::to_string(Address::local_of(listener).port()),
      setup.server,
      std::to_string(setup.connections),
      std::to_string(setup.lines),
      std::to_string(setup.requests)};
  std::array<char*, words.size() + 1> arguments{};
  for (std::size_t i = 0; i < words.size(); ++i) {
    arguments.at(i) = words.at(i).data();
  }
  pid_t client = -1;
  const int error = posix_spawn(&client, program, nullptr, nullptr,
                                arguments.data(), environ);
  if (error != 0) {
    throw std::system_error(error, std::generic_category(), program);
  }
  return client;
}

Meter run(const char* program, const Setup& setup) {
  const UniqueFd listener = listen_on_loopback();
  const pid_t client = start_client(program, listener.get(), setup);
  Meter meter;
  if (setup.server == "waterspout") {
    WaterspoutServer(meter).serve(listener.get(), setup.connections);
  } else if (setup.server == "libevent") {
    LibeventServer(meter).serve(listener.get(), setup.connections);
  } else {
    throw std::invalid_argument("unknown server: " + setup.server);
  }
  int status = 0;
  checked(waitpid(client, &status, 0), "waitpid");
  if (status != 0) {
    throw std::runtime_error("the client failed");
  }
  return meter;
}

void print_row(const Setup& setup, const Meter& meter) {
  const double recv = meter.each(&Counts::recv);
  const double send = meter.each(&Counts::send);
  const double wait = meter.each(&Counts::epoll_wait);
  const double control = meter.each(&Counts::epoll_ctl);
  const double others = meter.each(&Counts::others);
  std::printf("%-10s %11d %5d %6.3f %6.3f %10.3f %9.3f %6.3f %6.3f %11.3f\n",
              setup.server.c_str(), static_cast<int>(setup.connections),
              static_cast<int>(setup.lines), recv, send, wait, control, others,
              recv + send + wait + control + others,
              meter.each(&Counts::allocations));
}

void print_table(const char* program) {
  std::puts(
      "echo of a 64-byte line over loopback TCP: system calls and allocations\n"
      "of the server for each request, in the steady state\n\n"
      "server     connections lines   recv   send epoll_wait epoll_ctl "
      "others  calls allocations");
  for (const char* const server : {"waterspout", "libevent"}) {
    for (const auto& [connections, lines] :
         {std::pair(1, 1), std::pair(16, 1), std::pair(1, 16)}) {
      const Setup setup{server, static_cast<std::uint64_t>(connections),
                        static_cast<std::uint64_t>(lines),
                        kWarmUp + kMeasured + 1000};
      print_row(setup, run(program, setup));
    }
  }
  std::puts(
      "\nThe ideal is one recv and one send for each batch of lines that "
      "arrives, and one\nepoll_wait for all connections that are ready at "
      "once: 3 calls with one connection,\n2 + 1/16 with sixteen, 3/16 with "
      "sixteen lines at once; and nothing else.");
}

Setup parse_setup(char** words) {
  return {words[0], std::stoull(words[1]), std::stoull(words[2]),
          std::stoull(words[3])};
}

}  // namespace

int main(int argc, char** argv) {
  alarm(kLongestRun);
  try {
    if (argc == 7 && std::string_view(argv[1]) == "client") {
      run_client(static_cast<std::uint16_t>(std::stoi(argv[2])),
                 parse_setup(argv + 3));
    } else if (argc == 5) {
      run(argv[0], parse_setup(argv + 1));
    } else {
      print_table(argv[0]);
    }
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "echo_cost: %s\n", error.what());
    return 1;
  }
}

// The C library's functions, in front of its own: they count for every library
// in the process.

namespace {

template <class Function>
Function* next(const char* name) {
  return reinterpret_cast<Function*>(dlsym(RTLD_NEXT, name));
}

}  // namespace

extern "C" {

ssize_t recv(int fd, void* buffer, size_t size, int flags) {
  static auto* const real = next<decltype(recv)>("recv");
  counts.recv += 1;
  return real(fd, buffer, size, flags);
}

ssize_t send(int fd, const void* buffer, size_t size, int flags) {
  static auto* const real = next<decltype(send)>("send");
  counts.send += 1;
  return real(fd, buffer, size, flags);
}

ssize_t sendmsg(int fd, const msghdr* message, int flags) {
  static auto* const real = next<decltype(sendmsg)>("sendmsg");
  counts.send += 1;
  return real(fd, message, flags);
}

ssize_t read(int fd, void* buffer, size_t size) {
  static auto* const real = next<decltype(read)>("read");
  counts.others += 1;
  return real(fd, buffer, size);
}

ssize_t write(int fd, const void* buffer, size_t size) {
  static auto* const real = next<decltype(write)>("write");
  counts.others += 1;
  return real(fd, buffer, size);
}

int epoll_wait(int epoll, epoll_event* events, int capacity, int timeout) {
  static auto* const real = next<decltype(epoll_wait)>("epoll_wait");
  counts.epoll_wait += 1;
  return real(epoll, events, capacity, timeout);
}

int epoll_ctl(int epoll, int operation, int fd, epoll_event* event) noexcept {
  static auto* const real = next<decltype(epoll_ctl)>("epoll_ctl");
  counts.epoll_ctl += 1;
  return real(epoll, operation, fd, event);
}

// glibc's own, under the names that it keeps for the purpose.
void* __libc_malloc(size_t size);                      // NOLINT
void* __libc_memalign(size_t alignment, size_t size);  // NOLINT
void* __libc_calloc(size_t count, size_t size);        // NOLINT
void* __libc_realloc(void* old, size_t size);          // NOLINT

void* malloc(size_t size) noexcept {
  counts.allocations += 1;
  return __libc_malloc(size);
}

// What operator new takes for what is aligned.
void* aligned_alloc(size_t alignment, size_t size) noexcept {
  counts.allocations += 1;
  return __libc_memalign(alignment, size);
}

void* calloc(size_t count, size_t size) noexcept {
  counts.allocations += 1;
  return __libc_calloc(count, size);
}

void* realloc(void* old, size_t size) noexcept {
  counts.allocations += 1;
  return __libc_realloc(old, size);
}

}  // extern "C"
