// A program that was written for libevent, and now has waterspout in it too:
// one event_base, dispatched by the application, with an evhttp server, an
// admin connection on bufferevents, and waterspout streams that fetch from an
// upstream server.
//
//   $ python3 -m http.server --bind 127.0.0.1 8000 &
//   $ ./build/samples/embed_libevent --port 8080 --upstream 127.0.0.1:8000
//   http on 127.0.0.1:8080
//   admin on 127.0.0.1:40263
//   $ curl 'http://127.0.0.1:8080/proxy?path=/README.md'
//   $ printf 'status\n' | nc -q 1 127.0.0.1 40263
//   proxied=1 failed=0 abandoned=0 under_way=0 streams=0
//   $ printf 'echo\nhello\nback\nstatus\n' | nc -q 1 127.0.0.1 40263
//   hello
//   back
//   proxied=1 failed=0 abandoned=0 under_way=0 streams=0
//
// Shows: IOLoop on a borrowed event_base, a chain of callbacks from connect to
// the end of the body, one ExceptionStackContext for the whole chain, a timeout
// around it, who has to outlive whom, and connections that change hands between
// bufferevents and streams.
//
// Read embed_libevent/upstream_fetch.cc for the waterspout half, then
// embed_libevent/proxy_server.cc for how an evhttp request waits for it, and
// AdminServer::hand_over for how a bufferevent becomes a stream.

#include <charconv>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

#include <netdb.h>
#include <sys/socket.h>

#include "waterspout/address.h"
#include "waterspout/ioloop.h"

#include "embed_libevent/admin_server.h"
#include "embed_libevent/owners.h"
#include "embed_libevent/proxy_server.h"
#include "embed_libevent/upstream_fetch.h"

namespace {

using embed_libevent::AdminServer;
using embed_libevent::Event;
using embed_libevent::EventBase;
using embed_libevent::not_null;
using embed_libevent::ProxyServer;
using embed_libevent::Upstream;

constexpr std::string_view kUsage =
    "usage: embed_libevent --port N --upstream HOST:PORT [--timeout SECONDS] "
    "[--once]\n";

struct Options {
  std::uint16_t port = 0;
  std::string upstream;
  std::chrono::seconds time_limit{10};
  bool once = false;  ///< stop after the first request to /proxy
};

// Thrown for a command line that cannot be understood.
class UsageError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

std::uint16_t parse_number(const std::string& text) {
  std::uint16_t number = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, number);
  if (error != std::errc() || stop != end) {
    throw UsageError("not a number from 0 to 65535: '" + text + "'");
  }
  return number;
}

Options parse_options(int argc, char** argv) {
  Options options;
  bool has_port = false;
  for (int i = 1; i < argc; ++i) {
    const std::string_view name = argv[i];
    if (name == "--once") {
      options.once = true;
      continue;
    }
    if (i + 1 == argc) {
      throw UsageError("unknown, or without its value: " + std::string(name));
    }
    const std::string value = argv[++i];
    if (name == "--port") {
      options.port = parse_number(value);
      has_port = true;
    } else if (name == "--upstream") {
      options.upstream = value;
    } else if (name == "--timeout") {
      options.time_limit = std::chrono::seconds(parse_number(value));
    } else {
      throw UsageError("unknown option: " + std::string(name));
    }
  }
  if (!has_port || options.upstream.empty()) {
    throw UsageError("--port and --upstream are needed");
  }
  return options;
}

// Blocks on the name server, which is fine here: no event is dispatched yet.
Upstream find_upstream(const std::string& text) {
  const std::size_t colon = text.rfind(':');
  if (colon == std::string::npos) {
    throw UsageError("not HOST:PORT: '" + text + "'");
  }
  std::string host = text.substr(0, colon);
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') {
    host = host.substr(1, host.size() - 2);
  }
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const std::string port = text.substr(colon + 1);
  const int error = getaddrinfo(host.c_str(), port.c_str(), &hints, &found);
  if (error != 0) {
    throw std::runtime_error("upstream " + text + ": " + gai_strerror(error));
  }
  const std::unique_ptr<addrinfo, embed_libevent::FreeWith<freeaddrinfo>> owner(
      found);
  return {waterspout::Address::from_sockaddr(found->ai_addr, found->ai_addrlen),
          text};
}

std::string describe(const ProxyServer& proxy, const waterspout::IOLoop& loop) {
  const ProxyServer::Counters& counters = proxy.counters();
  return "proxied=" + std::to_string(counters.proxied) +
         " failed=" + std::to_string(counters.failed) +
         " abandoned=" + std::to_string(counters.abandoned) +
         " under_way=" + std::to_string(proxy.under_way()) +
         " streams=" + std::to_string(loop.statistics().streams);
}

// Signals stay libevent's, as they were: waterspout leaves them alone.
Event stop_on_signal(event_base* base, int signum) {
  Event signal(not_null(event_new(
      base, signum, EV_SIGNAL | EV_PERSIST,
      [](evutil_socket_t, short, void* argument) {
        event_base_loopexit(static_cast<event_base*>(argument), nullptr);
      },
      base)));
  event_add(signal.get(), nullptr);
  return signal;
}

void run(const Options& options) {
  // For libevent's sockets; waterspout's raise no SIGPIPE.
  std::signal(SIGPIPE, SIG_IGN);
  Upstream upstream = find_upstream(options.upstream);

  // The order of teardown is this order backwards: first the servers, whose
  // requests end their fetches and with them their streams; then the loop,
  // which takes its events off the base and would close streams that were left;
  // and at last the base that all of them stand on.
  const EventBase base(not_null(event_base_new()));
  waterspout::IOLoop loop(base.get());
  ProxyServer proxy(base.get(), loop,
                    {options.port, std::move(upstream), options.time_limit});
  const auto stop = [&base] { event_base_loopexit(base.get(), nullptr); };
  const AdminServer admin(
      loop, {[&proxy, &loop] { return describe(proxy, loop); }, stop});
  const Event interrupt = stop_on_signal(base.get(), SIGINT);
  const Event terminate = stop_on_signal(base.get(), SIGTERM);
  if (options.once) {
    proxy.set_over_callback(stop);
  }

  std::printf("http on 127.0.0.1:%d\nadmin on 127.0.0.1:%d\n", proxy.port(),
              admin.port());
  std::fflush(stdout);

  // Not loop.start(): the base is the application's, which dispatches it as it
  // always has. That runs the loop's callbacks, timeouts and streams too.
  if (event_base_dispatch(base.get()) < 0) {
    throw std::runtime_error("event_base_dispatch failed");
  }
}

}  // namespace

int main(int argc, char** argv) {
  try {
    run(parse_options(argc, argv));
    return 0;
  } catch (const UsageError& error) {
    std::fprintf(stderr, "embed_libevent: %s\n%s", error.what(), kUsage.data());
    return 2;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "embed_libevent: %s\n", error.what());
    return 1;
  }
}
