// Fetches URLs by HTTP/1.0, plain or under TLS, as curl would: files,
// redirects, failures and all.
//
//   $ http_fetch -i http://127.0.0.1:8000/
//   $ http_fetch -L -o page.html https://example.org/
//   $ http_fetch http://one.example/ http://two.example/    (at the same time)
//
// Shows: a protocol as a chain of callbacks, and exceptions of a whole chain
// caught in one place. Read http_fetch/exchange.cc first, the chain itself;
// then body_reader.cc, its second half; fetch.cc, which keeps the guard around
// both; and session.cc, which owns the loop.

#include <csignal>
#include <cstdio>
#include <exception>

#include "http_fetch/file.h"
#include "http_fetch/options.h"
#include "http_fetch/session.h"

int main(int argc, char** argv) try {
  const http_fetch::Options options = http_fetch::parse_options(argc, argv);
  if (options.help) {
    std::fputs(http_fetch::usage(), stdout);
    return 0;
  }
  http_fetch::reserve_standard_streams();
  // Whoever stops reading our output is told of as any other failure is. (The
  // library's own writes raise no SIGPIPE.)
  std::signal(SIGPIPE, SIG_IGN);
  return http_fetch::Session(options).run();
} catch (const http_fetch::UsageError& error) {
  std::fprintf(stderr, "http_fetch: %s (see http_fetch --help)\n",
               error.what());
  return 2;
} catch (const std::exception& error) {
  std::fprintf(stderr, "http_fetch: %s\n", error.what());
  return 1;
}
