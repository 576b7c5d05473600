// Sends every line back to whoever has sent it.
//
//   $ echo_server --port 7000 &
//   $ printf 'hello\n' | nc -q1 127.0.0.1 7000
//   hello
//
// Shows: a server as a subclass of TCPServer; a connection as a loop of two
// callbacks, in which the next line is read when the last one has been taken,
// so that a client which does not read cannot make the server store. Read
// serve/serve.cc for the processes, TLS and the end.

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <memory>
#include <string>
#include <vector>

#include "waterspout/iostream.h"
#include "waterspout/tcpserver.h"

#include "serve/serve.h"

namespace {

using waterspout::IOStream;

constexpr std::size_t kLongestLine = std::size_t{1} << 20;

class EchoServer : public waterspout::TCPServer {
 public:
  using TCPServer::TCPServer;

 protected:
  void handle_stream(std::shared_ptr<IOStream> stream,
                     const waterspout::Address& /*address*/) override {
    echo_line(stream);
  }

  void handle_drain(IOStream& stream) override { stream.close_after_writing(); }

 private:
  static void echo_line(const std::shared_ptr<IOStream>& stream) {
    stream->read_until("\n", {.max_bytes = kLongestLine},
                       [stream](std::string_view line) {
                         stream->write(line, [stream] { echo_line(stream); });
                       });
  }
};

}  // namespace

int main(int argc, char** argv) try {
  std::vector<std::string> arguments(argv + 1, argv + argc);
  if (arguments == std::vector<std::string>{"--help"}) {
    std::printf("usage: echo_server [options]\n%s", serve::options_help());
    return EXIT_SUCCESS;
  }
  const serve::Options options = serve::take_options(arguments, 7000);
  if (!arguments.empty()) {
    throw serve::UsageError("unknown argument: " + arguments.front());
  }
  return serve::run("echo_server", options,
                    [](waterspout::IOLoop& loop,
                       const waterspout::TCPServer::Options& server_options) {
                      return std::make_unique<EchoServer>(loop, server_options);
                    });
} catch (const serve::UsageError& error) {
  std::fprintf(stderr, "echo_server: %s (see echo_server --help)\n",
               error.what());
  return 2;
} catch (const std::exception& error) {
  std::fprintf(stderr, "echo_server: %s\n", error.what());
  return EXIT_FAILURE;
}
