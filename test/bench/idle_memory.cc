// What a connection on which nothing happens costs in heap memory: the stream,
// its transport, its events and what libevent keeps for each descriptor. The
// kernel's own memory for the sockets is not counted.
//
// Prints a table. It needs two descriptors for each of its connections.

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <exception>
#include <functional>
#include <memory>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <malloc.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <event2/bufferevent.h>
#include <event2/event.h>

#include "waterspout/ioloop.h"
#include "waterspout/iostream.h"

#include "base/unique_fd.h"
#include "loop/event.h"
#include "stream/read_request.h"
#include "stream/socket_transport.h"
#include "stream/stream_core.h"
#include "stream/write_queue.h"

namespace {

using waterspout::IOLoop;
using waterspout::IOStream;
using waterspout::UniqueFd;
using Streams = std::vector<std::shared_ptr<IOStream>>;

constexpr std::size_t kConnections = 4000;

struct Pair {
  UniqueFd ours;
  UniqueFd peer;
};

Pair make_pair() {
  std::array<int, 2> fds{};
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0,
                 fds.data()) != 0) {
    throw std::system_error(errno, std::generic_category(), "socketpair");
  }
  return {UniqueFd(fds[0]), UniqueFd(fds[1])};
}

// Bytes in use, the large blocks that are mapped on their own included.
std::size_t heap_bytes() {
  const auto info = mallinfo2();
  return info.uordblks + info.hblkhd;
}

void run_briefly(IOLoop& loop) {
  loop.call_later(std::chrono::milliseconds(5), [&loop] { loop.stop(); });
  loop.start();
}

// What is there before the first connection: the scratch buffer, the pools,
// libevent's table of descriptors.
void warm_up(IOLoop& loop, const std::vector<Pair>& pairs) {
  UniqueFd ours(dup(pairs.back().ours.get()));
  const auto stream = IOStream::create(loop, ours.release());
  stream->read_until(
      "\n", [&stream](std::string_view) { stream->write("done\n", [] {}); });
  send(pairs.back().peer.get(), "line\n", 5, MSG_NOSIGNAL);
  run_briefly(loop);
}

/// Heap bytes for each of kConnections streams after `begin` was called with
/// each and the loop has run.
double measure(const std::function<void(IOStream&, int peer)>& begin) {
  IOLoop loop;
  std::vector<Pair> pairs;
  for (std::size_t i = 0; i < kConnections; ++i) {
    pairs.push_back(make_pair());
  }
  warm_up(loop, pairs);
  Streams streams;
  streams.reserve(kConnections);
  const std::size_t before = heap_bytes();
  for (Pair& pair : pairs) {
    streams.push_back(IOStream::create(loop, pair.ours.release()));
    begin(*streams.back(), pair.peer.get());
  }
  run_briefly(loop);
  return static_cast<double>(heap_bytes() - before) / kConnections;
}

// One request and its answer, and then the wait for the next request.
void serve(IOStream& stream) {
  stream.read_until("\n", [&stream](std::string_view line) {
    stream.write(line, [&stream] { serve(stream); });
  });
}

void ignore(int /*fd*/, short /*what*/, void* /*object*/) {}

/// For scale: the same with libevent's own stream.
double measure_bufferevents() {
  const std::unique_ptr<event_base, void (*)(event_base*)> base(
      event_base_new(), event_base_free);
  std::vector<Pair> pairs;
  for (std::size_t i = 0; i < kConnections; ++i) {
    pairs.push_back(make_pair());
  }
  using BufferEvent = std::unique_ptr<bufferevent, void (*)(bufferevent*)>;
  std::vector<BufferEvent> all;
  all.reserve(kConnections);
  // libevent's table of descriptors, as in warm_up().
  const UniqueFd last(dup(pairs.back().ours.get()));
  event_base_once(base.get(), last.get(), EV_WRITE, ignore, nullptr, nullptr);
  event_base_loop(base.get(), EVLOOP_ONCE);
  const std::size_t before = heap_bytes();
  for (const Pair& pair : pairs) {
    all.emplace_back(bufferevent_socket_new(base.get(), pair.ours.get(), 0),
                     bufferevent_free);
    bufferevent_enable(all.back().get(), EV_READ);
  }
  const double each = static_cast<double>(heap_bytes() - before) / kConnections;
  all.clear();
  event_base_loop(base.get(), EVLOOP_NONBLOCK);  // frees them
  return each;
}

void print_row(const char* what, double bytes) {
  std::printf("%-46s %6.0f\n", what, bytes);
}

void print_heap() {
  std::printf("heap bytes for each of %zu idle connections\n\n", kConnections);
  print_row("open", measure([](IOStream&, int) {}));
  print_row("with a close callback", measure([](IOStream& stream, int) {
              stream.set_close_callback([] {});
            }));
  print_row("in read_until", measure([](IOStream& stream, int) {
              stream.read_until("\n", [](std::string_view) {});
            }));
  print_row("in read_until, with a close callback",
            measure([](IOStream& stream, int) {
              stream.set_close_callback([] {});
              stream.read_until("\n", [](std::string_view) {});
            }));
  print_row("the same, after a request of 64 bytes",
            measure([](IOStream& stream, int peer) {
              stream.set_close_callback([] {});
              serve(stream);
              const std::string_view line =
                  "123456789012345678901234567890123456789012345678901234567890"
                  "123\n";
              send(peer, line.data(), line.size(), MSG_NOSIGNAL);
            }));
  print_row("a bufferevent that reads, for scale", measure_bufferevents());
}

void print_sizes() {
  using waterspout::detail::StreamCore;
  const std::pair<const char*, std::size_t> sizes[] = {
      {"IOStream", sizeof(IOStream)},
      {"StreamCore", sizeof(StreamCore)},
      {"  of it ReadRequest", sizeof(waterspout::ReadRequest)},
      {"  of it WriteQueue", sizeof(waterspout::WriteQueue)},
      {"  of it ReadBuffer", sizeof(waterspout::ReadBuffer)},
      {"  of it Event", sizeof(waterspout::Event)},
      {"  of it a callback", sizeof(IOStream::CloseCallback)},
      {"SocketTransport", sizeof(waterspout::SocketTransport)},
      {"libevent's struct event, one a direction used",
       event_get_struct_event_size()},
  };
  std::puts("\nsizes in bytes\n");
  for (const auto& [name, size] : sizes) {
    std::printf("%-46s %6zu\n", name, size);
  }
  std::puts(
      "\nThe ideal is one object and one struct event: no buffer is held while "
      "nothing\nis in it. libevent adds 24 bytes and a slot for each "
      "descriptor.");
}

void allow_descriptors(rlim_t count) {
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = std::min(std::max(limit.rlim_cur, count), limit.rlim_max);
  setrlimit(RLIMIT_NOFILE, &limit);
}

}  // namespace

int main() {
  try {
    allow_descriptors(3 * kConnections);
    print_heap();
    print_sizes();
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "idle_memory: %s\n", error.what());
    return 1;
  }
}
