// Passes TCP connections on to another server, with or without TLS on either
// side.
//
//   $ tcp_proxy --listen 127.0.0.1:8001 --to 127.0.0.1:8000 &
//   $ http_fetch http://127.0.0.1:8001/
//
// Shows: half-closed streams; pipe_both, which carries both directions with
// back-pressure; TCPClient, one deadline over names, addresses and handshakes.
// Read tcp_proxy/proxy_server.cc: the whole proxy is one function there.

#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "serve/serve.h"
#include "tcp_proxy/proxy_server.h"

namespace {

constexpr const char* kUsage =
    "usage: tcp_proxy --listen ADDRESS --to ADDRESS [options]\n"
    "  --listen ADDRESS  HOST:PORT, or :PORT for all interfaces\n"
    "  --to ADDRESS      HOST:PORT of the server\n"
    "  --tls-cert FILE   clients speak TLS: the certificate (PEM)\n"
    "  --tls-key FILE    its key, if that is in a file of its own\n"
    "  --to-tls          speak TLS to the server\n"
    "  --cacert FILE     what it is verified by (the system's store)\n"
    "  --insecure        do not verify it\n";

struct HostAndPort {
  std::string host;
  std::uint16_t port = 0;
};

HostAndPort parse_address(const std::string& option, const std::string& text) {
  const std::size_t colon = text.rfind(':');
  HostAndPort address;
  const char* const end = text.data() + text.size();
  const char* const digits =
      colon == std::string::npos ? end : text.data() + colon + 1;
  const auto [rest, error] = std::from_chars(digits, end, address.port);
  if (error != std::errc() || rest != end) {
    throw serve::UsageError(option + ": \"" + text + "\" is not HOST:PORT");
  }
  address.host = text.substr(0, colon);
  if (address.host.size() > 2 && address.host.front() == '[' &&
      address.host.back() == ']') {
    address.host = address.host.substr(1, address.host.size() - 2);
  }
  return address;
}

std::string take(std::vector<std::string>& arguments, const char* option) {
  return serve::take_value(arguments, option).value_or("");
}

HostAndPort take_address(std::vector<std::string>& arguments,
                         const char* option) {
  const std::string text = take(arguments, option);
  if (text.empty()) {
    throw serve::UsageError(std::string(option) + " is needed");
  }
  return parse_address(option, text);
}

tcp_proxy::Upstream take_upstream(std::vector<std::string>& arguments) {
  const HostAndPort to = take_address(arguments, "--to");
  const bool tls = serve::take_flag(arguments, "--to-tls");
  const bool insecure = serve::take_flag(arguments, "--insecure");
  waterspout::SSLOptions options;
  options.ca_file = take(arguments, "--cacert");
  if (insecure) {
    options.verify = waterspout::SSLVerify::none;
  }
  if (!tls && (insecure || !options.ca_file.empty())) {
    throw serve::UsageError("--cacert and --insecure are for --to-tls");
  }
  tcp_proxy::Upstream upstream{to.host, to.port};
  if (tls) {
    upstream.tls = waterspout::SSLContext::client(options);
  }
  return upstream;
}

int run(std::vector<std::string> arguments) {
  serve::Options options;
  const HostAndPort listen = take_address(arguments, "--listen");
  options.address = listen.host;
  options.port = listen.port;
  options.tls_cert = take(arguments, "--tls-cert");
  options.tls_key = take(arguments, "--tls-key");
  const tcp_proxy::Upstream upstream = take_upstream(arguments);
  if (!arguments.empty()) {
    throw serve::UsageError("unknown argument: " + arguments.front());
  }
  return serve::run("tcp_proxy", options,
                    [&](waterspout::IOLoop& loop,
                        const waterspout::TCPServer::Options& server_options) {
                      return std::make_unique<tcp_proxy::ProxyServer>(
                          loop, server_options, upstream);
                    });
}

}  // namespace

int main(int argc, char** argv) try {
  std::vector<std::string> arguments(argv + 1, argv + argc);
  if (arguments == std::vector<std::string>{"--help"}) {
    std::fputs(kUsage, stdout);
    return EXIT_SUCCESS;
  }
  return run(std::move(arguments));
} catch (const serve::UsageError& error) {
  std::fprintf(stderr, "tcp_proxy: %s (see tcp_proxy --help)\n", error.what());
  return 2;
} catch (const std::exception& error) {
  std::fprintf(stderr, "tcp_proxy: %s\n", error.what());
  return EXIT_FAILURE;
}
