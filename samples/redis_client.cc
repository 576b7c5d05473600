// Talks to a Redis server, as redis-cli does: one command, or a prompt.
//
//   $ redis_client SET greeting hello
//   OK
//   $ redis_client --repeat 1000 INCR counter        (all sent at once)
//   $ redis_client SUBSCRIBE news
//   $ redis_client
//   127.0.0.1:6379> LRANGE list 0 -1
//
// Shows: TCPClient; a protocol with pipelined requests, and messages in between
// that nobody asked for; connections that are made again, with back-off. Read
// redis_client/client.cc first, which is the client and knows nothing of the
// program; then connection.cc, the chain that reads; and session.cc, which uses
// the client.

#include <csignal>
#include <cstdio>
#include <exception>

#include "redis_client/options.h"
#include "redis_client/output.h"
#include "redis_client/session.h"

int main(int argc, char** argv) try {
  const redis_client::Options options = redis_client::parse_options(argc, argv);
  if (options.help) {
    std::fputs(redis_client::usage(), stdout);
    return 0;
  }
  redis_client::reserve_standard_streams();
  // Whoever stops reading our output is told of as any other failure is. (The
  // library's own writes raise no SIGPIPE.)
  std::signal(SIGPIPE, SIG_IGN);
  return redis_client::Session(options).run();
} catch (const redis_client::UsageError& error) {
  std::fprintf(stderr, "redis_client: %s (see redis_client --help)\n",
               error.what());
  return 2;
} catch (const std::exception& error) {
  std::fprintf(stderr, "redis_client: %s\n", error.what());
  return 1;
}
