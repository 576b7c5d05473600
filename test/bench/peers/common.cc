#include "peers/common.h"

#include <algorithm>
#include <charconv>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <map>
#include <span>
#include <stdexcept>
#include <string>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

namespace peers {
namespace {

const std::map<std::string_view, Mode> kModes = {
    {"line", Mode::line},         {"line2", Mode::line},
    {"bytes64k", Mode::bytes64k}, {"sink", Mode::sink},
    {"source", Mode::source},     {"http", Mode::http},
    {"churn", Mode::churn},
};

class UsageError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

std::uint16_t parse_port(std::string_view text) {
  std::uint16_t port = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, port);
  if (error != std::errc{} || stop != end) {
    throw UsageError("not a port: " + std::string(text));
  }
  return port;
}

Setup parse(std::span<char* const> arguments, Tls tls) {
  const bool with_tls =
      arguments.size() == 5 && std::string_view(arguments[2]) == "--tls";
  if (arguments.size() != 2 && !with_tls) {
    throw UsageError(std::string("usage: ") + program_invocation_short_name +
                     " MODE PORT" +
                     (tls == Tls::spoken ? " [--tls CERTIFICATE KEY]" : ""));
  }
  if (with_tls && tls == Tls::refused) {
    throw UsageError("--tls: this server speaks no TLS");
  }
  const auto mode = kModes.find(arguments[0]);
  if (mode == kModes.end()) {
    throw UsageError(std::string("no such mode: ") + arguments[0]);
  }
  Setup setup{.mode = mode->second, .port = parse_port(arguments[1])};
  if (with_tls) {
    setup.certificate = arguments[3];
    setup.key = arguments[4];
  }
  return setup;
}

void switch_on(const UniqueFd& socket, int level, int option) {
  const int on = 1;
  checked(::setsockopt(socket.get(), level, option, &on, sizeof on),
          "setsockopt");
}

/// It begins with a page, for every server alike: malloc(3) puts it where the
/// heap of the program happens to end, and the kernel copies from there at
/// another pace.
struct alignas(4096) Piece {
  Piece() { bytes.fill('x'); }
  std::array<char, kMessageSize> bytes;
};

}  // namespace

std::string_view source_piece(std::size_t left) {
  static const Piece piece;
  return {piece.bytes.data(), std::min(left, kMessageSize)};
}

std::size_t parse_count(std::string_view line) {
  std::size_t count = 0;
  std::from_chars(line.data(), line.data() + line.size(), count);
  return count;
}

UniqueFd listen_on_loopback(const Setup& setup) {
  UniqueFd listener(
      checked(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0),
              "socket"));
  switch_on(listener, SOL_SOCKET, SO_REUSEADDR);
  if (setup.mode != Mode::churn) {
    switch_on(listener, IPPROTO_TCP, TCP_NODELAY);
  }
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(setup.port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  checked(::bind(listener.get(), reinterpret_cast<const sockaddr*>(&address),
                 sizeof address),
          "bind");
  checked(::listen(listener.get(), kBacklog), "listen");
  return listener;
}

void announce(int listener) {
  sockaddr_in address{};
  socklen_t size = sizeof address;
  checked(::getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size),
          "getsockname");
  std::printf("listening on %d\n", int{ntohs(address.sin_port)});
  checked(std::fflush(stdout), "standard output");
}

// OpenSSL and some of the libraries write without MSG_NOSIGNAL.
int run(int argc, char** argv, Tls tls, void (*serve)(const Setup& setup)) try {
  std::signal(SIGPIPE, SIG_IGN);
  const std::span<char* const> arguments(argv, static_cast<std::size_t>(argc));
  serve(parse(arguments.subspan(1), tls));
  return EXIT_SUCCESS;
} catch (const UsageError& error) {
  std::fprintf(stderr, "%s: %s\n", program_invocation_short_name, error.what());
  return 2;
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s: %s\n", program_invocation_short_name, error.what());
  return EXIT_FAILURE;
}

}  // namespace peers
