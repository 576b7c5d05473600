// Serves the files of a directory by HTTP.
//
//   $ http_server --port 8000 . &
//   $ curl -i http://127.0.0.1:8000/README.md
//
// Shows: a protocol above TCPServer; a connection that is a chain of callbacks
// with a timeout that moves along; files of any size in bounded memory; an end
// in order. Read http_server/connection.cc first, the chain itself; then
// request.cc, which knows nothing of streams; and response.cc, which knows
// nothing of either.

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <memory>
#include <string>
#include <vector>

#include "http_server/files.h"
#include "http_server/server.h"
#include "serve/serve.h"

namespace {

std::string take_directory(const std::vector<std::string>& arguments) {
  for (const std::string& argument : arguments) {
    if (argument.size() > 1 && argument.front() == '-') {
      throw serve::UsageError("unknown option: " + argument);
    }
  }
  if (arguments.size() != 1) {
    throw serve::UsageError("needs one directory");
  }
  return arguments.front();
}

}  // namespace

int main(int argc, char** argv) try {
  std::vector<std::string> arguments(argv + 1, argv + argc);
  if (arguments == std::vector<std::string>{"--help"}) {
    std::printf("usage: http_server [options] DIR\n%s", serve::options_help());
    return EXIT_SUCCESS;
  }
  const serve::Options options = serve::take_options(arguments, 8000);
  const auto directory =
      std::make_shared<const http_server::Directory>(take_directory(arguments));
  return serve::run("http_server", options,
                    [&](waterspout::IOLoop& loop,
                        const waterspout::TCPServer::Options& server_options) {
                      return std::make_unique<http_server::HTTPServer>(
                          loop, directory, http_server::HTTPServer::Options(),
                          server_options);
                    });
} catch (const serve::UsageError& error) {
  std::fprintf(stderr, "http_server: %s (see http_server --help)\n",
               error.what());
  return 2;
} catch (const std::exception& error) {
  std::fprintf(stderr, "http_server: %s\n", error.what());
  return EXIT_FAILURE;
}
