#include "serve/serve.h"

#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <utility>

#include <unistd.h>

#include "waterspout/address.h"
#include "waterspout/netutil.h"
#include "waterspout/process.h"
#include "waterspout/ssl.h"

namespace serve {
namespace {

using waterspout::Socket;
using waterspout::TCPServer;

constexpr waterspout::Duration kTimeToFinish = std::chrono::milliseconds(500);

/// What a Unix domain socket leaves behind goes when its server ends, but not
/// when a process that the server has forked does.
class SocketFile {
 public:
  explicit SocketFile(std::string path) : path_(std::move(path)) {}
  ~SocketFile() {
    if (!path_.empty() && ::getpid() == process_) {
      ::unlink(path_.c_str());
    }
  }
  SocketFile(const SocketFile&) = delete;
  SocketFile& operator=(const SocketFile&) = delete;

 private:
  const std::string path_;
  const pid_t process_ = ::getpid();
};

std::vector<Socket> bind(const Options& options) {
  if (options.unix_path.empty()) {
    return waterspout::bind_sockets(options.port, options.address,
                                    {.reuse_port = options.reuse_port});
  }
  std::string path = options.unix_path;
  if (path.front() == '@') {
    path.front() = '\0';
  }
  std::vector<Socket> sockets;
  sockets.push_back(waterspout::bind_unix_socket(path));
  return sockets;
}

void announce(std::string_view name, const std::vector<Socket>& sockets) {
  for (const Socket& socket : sockets) {
    std::printf("%.*s: listening on %s\n", static_cast<int>(name.size()),
                name.data(), socket.local_address().to_string().c_str());
  }
  std::fflush(stdout);
}

// Before anything is served or forked: a bad certificate ends the program.
TCPServer::Options server_options(const Options& options) {
  TCPServer::Options server;
  if (!options.tls_cert.empty()) {
    waterspout::SSLOptions tls;
    tls.certificate_file = options.tls_cert;
    tls.key_file = options.tls_key;
    server.ssl = waterspout::SSLContext::server(tls);
  } else if (!options.tls_key.empty()) {
    throw UsageError("--tls-key: needs a --tls-cert");
  }
  return server;
}

void serve_until_told_to_end(std::vector<Socket> sockets,
                             const TCPServer::Options& options,
                             const MakeServer& make_server) {
  waterspout::IOLoop loop;
  const auto server = make_server(loop, options);
  server->add_sockets(std::move(sockets));
  const auto end = [&](int /*signum*/) {
    if (!server->draining()) {
      server->drain(kTimeToFinish,
                    [&loop](TCPServer::Drained) { loop.stop(); });
    }
  };
  loop.add_signal_handler(SIGTERM, end);
  loop.add_signal_handler(SIGINT, end);
  loop.start();
}

}  // namespace

std::optional<std::string> take_value(std::vector<std::string>& arguments,
                                      const std::string& name) {
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const auto at = arguments.begin() + static_cast<std::ptrdiff_t>(i);
    if (arguments[i].starts_with(name + "=")) {
      std::string value = arguments[i].substr(name.size() + 1);
      arguments.erase(at);
      return value;
    }
    if (arguments[i] == name) {
      if (i + 1 == arguments.size()) {
        throw UsageError(name + ": needs a value");
      }
      std::string value = arguments[i + 1];
      arguments.erase(at, at + 2);
      return value;
    }
  }
  return std::nullopt;
}

bool take_flag(std::vector<std::string>& arguments, const std::string& name) {
  return std::erase(arguments, name) != 0;
}

Options take_options(std::vector<std::string>& arguments,
                     std::uint16_t default_port) {
  Options options;
  const auto address = take_value(arguments, "--address");
  const auto port = take_number<std::uint16_t>(arguments, "--port", 0, 65535);
  const auto path = take_value(arguments, "--unix");
  options.processes =
      take_number(arguments, "--processes", 0, 1000).value_or(1);
  options.reuse_port = take_flag(arguments, "--reuse-port");
  options.tls_cert = take_value(arguments, "--tls-cert").value_or("");
  options.tls_key = take_value(arguments, "--tls-key").value_or("");
  options.address = address.value_or("");
  options.port = port.value_or(default_port);
  options.unix_path = path.value_or("");
  if (path && path->empty()) {
    throw UsageError("--unix: needs a path");
  }
  if (path && (address || port || options.reuse_port)) {
    throw UsageError(
        "--unix: takes neither --address, --port nor --reuse-port");
  }
  if (options.reuse_port && options.processes != 1 && options.port == 0) {
    throw UsageError(
        "--reuse-port: the processes need a --port on which to meet");
  }
  return options;
}

const char* options_help() noexcept {
  return "  --address A     listen on A: an IP address or a host name (all "
         "interfaces)\n"
         "  --port N        listen on port N; 0 lets the system choose\n"
         "  --unix PATH     listen on a Unix domain socket; @NAME is abstract\n"
         "  --processes N   serve in N processes; 0 is one for every core (1)\n"
         "  --reuse-port    give each process a listening socket of its own\n"
         "  --tls-cert FILE speak TLS with this certificate (PEM)\n"
         "  --tls-key FILE  its key, if that is in a file of its own\n";
}

int run(std::string_view name, const Options& options,
        const MakeServer& make_server) {
  const TCPServer::Options tcp_options = server_options(options);
  std::vector<Socket> sockets = waterspout::inherited_sockets();
  const bool one_each =
      sockets.empty() && options.reuse_port && options.processes != 1;
  std::optional<SocketFile> file;
  if (sockets.empty() && !one_each) {
    sockets = bind(options);
    file.emplace(options.unix_path);
  }
  announce(name, sockets);
  if (options.processes != 1 &&
      !waterspout::fork_processes(options.processes)) {
    return EXIT_SUCCESS;
  }
  if (one_each) {
    sockets = bind(options);
    announce(name, sockets);
  }
  serve_until_told_to_end(std::move(sockets), tcp_options, make_server);
  return EXIT_SUCCESS;
}

}  // namespace serve
