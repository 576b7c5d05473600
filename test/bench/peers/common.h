// What the peers of bench_server have in common: their command line, their
// listening socket and how they tell errors.
//
//   NAME MODE PORT [--tls CERTIFICATE KEY]
//
// The modes and the rest are bench_server's; line2 is line here, since none of
// them waits for a write before it reads on.

#pragma once

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <system_error>

#include "base/unique_fd.h"

namespace peers {

using waterspout::UniqueFd;

enum class Mode : std::uint8_t { line, bytes64k, sink, source, http, churn };

struct Setup {
  Mode mode = Mode::line;
  std::uint16_t port = 0;             ///< 0: the kernel picks one
  const char* certificate = nullptr;  ///< null: no TLS
  const char* key = nullptr;
};

constexpr std::size_t kMessageSize = 65536;
constexpr std::size_t kMaxLine = std::size_t{1024} * 1024;
constexpr std::size_t kScratchSize = std::size_t{128} * 1024;

/// Where a server receives, for all its clients. It begins with a page, so that
/// copying is as fast as in our Scratch, whose header says why.
struct alignas(4096) Scratch {
  std::array<char, kScratchSize> bytes;
};

/// A client that lets this much of its answers lie is not read from.
constexpr std::size_t kMaxUnsent = std::size_t{128} * 1024;

constexpr int kBacklog = 4096;

/// How long a server that has run out of descriptors accepts nobody.
constexpr int kRest = 100;  // milliseconds

constexpr std::string_view kResponse =
    "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
    "Content-Length: 12\r\n\r\nHello, world";

/// What the mode source sends: kMessageSize bytes, or the `left` that are left.
std::string_view source_piece(std::size_t left);

/// The number that a line starts with, and 0 if it does not.
std::size_t parse_count(std::string_view line);

/// Throws std::system_error that names `operation` for a negative result.
template <class Result>
Result checked(Result result, const char* operation) {
  if (result < 0) {
    throw std::system_error(errno, std::generic_category(), operation);
  }
  return result;
}

/// A non-blocking socket that listens on 127.0.0.1. Its clients inherit its
/// TCP_NODELAY, which every mode but churn has on.
UniqueFd listen_on_loopback(const Setup& setup);

/// Tells whoever started the server that clients can connect.
void announce(int listener);

enum class Tls : std::uint8_t { refused, spoken };

/// The body of main: serves what the command line asks for. Returns the exit
/// status; what was wrong is on standard error then.
int run(int argc, char** argv, Tls tls, void (*serve)(const Setup& setup));

}  // namespace peers
