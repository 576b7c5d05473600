// The server that ./dev bench measures, written as a user would write it, with
// public headers alone. Its peers in test/bench/peers do the same work with
// other libraries.
//
//   bench_server MODE PORT [--tls CERTIFICATE KEY]
//
// Serves on 127.0.0.1 until SIGTERM; port 0 is one that the kernel picks.
// Prints "listening on PORT" once clients can connect. The modes are in kModes.

#include <algorithm>
#include <array>
#include <charconv>
#include <csignal>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "waterspout/ioloop.h"
#include "waterspout/iostream.h"
#include "waterspout/ssl.h"
#include "waterspout/tcpserver.h"

namespace {

using waterspout::IOLoop;
using waterspout::IOStream;
using waterspout::TCPServer;

using StreamPointer = std::shared_ptr<IOStream>;
using Serve = void (*)(StreamPointer stream);

constexpr std::size_t kMessageSize = 65536;

// Sends every line back; the next read is chained on the write's callback. The
// stream is handed on from callback to callback.
void echo_line(StreamPointer stream) {
  IOStream& from = *stream;
  from.read_until("\n",
                  [stream = std::move(stream)](std::string_view line) mutable {
                    IOStream& to = *stream;
                    to.write(line, [stream = std::move(stream)]() mutable {
                      echo_line(std::move(stream));
                    });
                  });
}

// The same, and the next read is asked for right after the write.
void echo_line_at_once(StreamPointer stream) {
  IOStream& from = *stream;
  from.read_until("\n",
                  [stream = std::move(stream)](std::string_view line) mutable {
                    stream->write(line);
                    echo_line_at_once(std::move(stream));
                  });
}

void echo_message(StreamPointer stream) {
  IOStream& from = *stream;
  from.read_bytes(kMessageSize, [stream = std::move(stream)](
                                    std::string_view message) mutable {
    IOStream& to = *stream;
    to.write(message, [stream = std::move(stream)]() mutable {
      echo_message(std::move(stream));
    });
  });
}

void read_to_the_end(StreamPointer stream) {
  stream->read_until_close({.streaming_callback = [](std::string_view) {}},
                           [](std::string_view) {});
}

// Begins with a page, as that of the peers does.
struct alignas(4096) Piece {
  Piece() { bytes.fill('x'); }
  std::array<char, kMessageSize> bytes;
};

void send_bytes(StreamPointer stream, std::size_t left) {
  static const Piece piece;
  if (left == 0) {
    read_to_the_end(stream);
    return;
  }
  const std::size_t size = std::min(left, kMessageSize);
  stream->write({piece.bytes.data(), size},
                [stream, left = left - size] { send_bytes(stream, left); });
}

// Reads one line, a number, and sends as many bytes.
void send_what_is_asked(StreamPointer stream) {
  stream->read_until("\n", [stream](std::string_view line) {
    std::size_t count = 0;
    std::from_chars(line.data(), line.data() + line.size(), count);
    send_bytes(stream, count);
  });
}

void answer_request(StreamPointer stream) {
  IOStream& from = *stream;
  from.read_until("\r\n\r\n",
                  [stream = std::move(stream)](std::string_view) mutable {
                    IOStream& to = *stream;
                    to.write(
                        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
                        "Content-Length: 12\r\n\r\nHello, world",
                        [stream = std::move(stream)]() mutable {
                          answer_request(std::move(stream));
                        });
                  });
}

void echo_one_line(StreamPointer stream) {
  stream->read_until("\n", [stream](std::string_view line) {
    stream->write(line);
    stream->close_after_writing();
  });
}

const std::map<std::string_view, Serve> kModes = {
    {"line", echo_line},
    {"line2", echo_line_at_once},
    {"bytes64k", echo_message},
    {"sink", read_to_the_end},
    {"source", send_what_is_asked},
    {"http", answer_request},
    {"churn", echo_one_line},
};

class BenchServer final : public TCPServer {
 public:
  BenchServer(IOLoop& loop, TCPServer::Options options, Serve serve)
      : TCPServer(loop, std::move(options)), serve_(serve) {}

 protected:
  void handle_stream(StreamPointer stream,
                     const waterspout::Address& /*address*/) override {
    serve_(std::move(stream));
  }

 private:
  Serve serve_;
};

class UsageError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

std::uint16_t parse_port(std::string_view text) {
  std::uint16_t port = 0;
  const char* const end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, port);
  if (rest != end || error != std::errc()) {
    throw UsageError("not a port: " + std::string(text));
  }
  return port;
}

void run(const std::vector<std::string>& arguments) {
  const bool tls = arguments.size() == 5 && arguments[2] == "--tls";
  if (arguments.size() != 2 && !tls) {
    throw UsageError("usage: bench_server MODE PORT [--tls CERTIFICATE KEY]");
  }
  const auto mode = kModes.find(arguments[0]);
  if (mode == kModes.end()) {
    throw UsageError("no such mode: " + arguments[0]);
  }
  TCPServer::Options options;
  options.nodelay = mode->first != "churn";
  if (tls) {
    options.ssl = waterspout::SSLContext::server(
        {.certificate_file = arguments[3], .key_file = arguments[4]});
  }
  IOLoop loop;
  BenchServer server(loop, std::move(options), mode->second);
  server.listen(parse_port(arguments[1]), "127.0.0.1");
  loop.add_signal_handler(SIGTERM, [&loop](int) { loop.stop(); });
  std::printf("listening on %d\n", int{server.addresses().front().port()});
  std::fflush(stdout);
  loop.start();
}

}  // namespace

int main(int argc, char** argv) try {
  run({argv + 1, argv + argc});
  return EXIT_SUCCESS;
} catch (const UsageError& error) {
  std::fprintf(stderr, "bench_server: %s\n", error.what());
  return 2;
} catch (const std::exception& error) {
  std::fprintf(stderr, "bench_server: %s\n", error.what());
  return EXIT_FAILURE;
}
