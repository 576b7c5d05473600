// What the sample servers have in common: where they listen, in how many
// processes, and how they end.

#pragma once

#include <charconv>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "waterspout/ioloop.h"
#include "waterspout/tcpserver.h"

namespace serve {

class UsageError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

struct Options {
  std::string address;      ///< --address; empty: all interfaces
  std::uint16_t port = 0;   ///< --port; 0: the kernel picks one
  std::string unix_path;    ///< --unix; "@name" is abstract; instead of TCP
  int processes = 1;        ///< --processes; 0: one for every core
  std::string tls_cert;     ///< --tls-cert: with it, clients speak TLS
  std::string tls_key;      ///< --tls-key; empty: in the same file
  bool reuse_port = false;  ///< --reuse-port: a listener for each process
};

/// Takes the options above, and their values, out of `arguments` (main's,
/// without the program's name); what it does not know it leaves there.
/// `default_port` is that of a command line without --port.
/// Errors: throws UsageError, which says what is wrong.
[[nodiscard]] Options take_options(std::vector<std::string>& arguments,
                                   std::uint16_t default_port);

/// Takes one option and its value, or a flag, out of `arguments`.
/// Errors: take_value throws UsageError for an option without its value.
[[nodiscard]] std::optional<std::string> take_value(
    std::vector<std::string>& arguments, const std::string& name);
[[nodiscard]] bool take_flag(std::vector<std::string>& arguments,
                             const std::string& name);

/// Takes one option whose value is a number. Errors: throws UsageError for any
/// value that is none from `lowest` to `highest`.
template <class Number>
[[nodiscard]] std::optional<Number> take_number(
    std::vector<std::string>& arguments, const std::string& name, Number lowest,
    Number highest) {
  const std::optional<std::string> text = take_value(arguments, name);
  if (!text) {
    return std::nullopt;
  }
  Number number = 0;
  const char* const end = text->data() + text->size();
  const auto [rest, error] = std::from_chars(text->data(), end, number);
  if (error != std::errc() || rest != end || number < lowest ||
      number > highest) {
    throw UsageError(name + ": \"" + *text + "\" is no number from " +
                     std::to_string(lowest) + " to " + std::to_string(highest));
  }
  return number;
}

/// The lines of --help that explain the options above.
[[nodiscard]] const char* options_help() noexcept;

/// Makes the server of one process; `options` are what it passes to TCPServer.
using MakeServer = std::function<std::unique_ptr<waterspout::TCPServer>(
    waterspout::IOLoop& loop, const waterspout::TCPServer::Options& options)>;

/// Serves until SIGTERM or SIGINT, and then for at most a moment until open
/// streams have finished. Prints "NAME: listening on ADDRESS" for every address
/// on standard output, once clients can connect. Sockets that the process has
/// inherited (waterspout::inherited_sockets) go before the options. Returns
/// the program's exit status. Errors: throws what the library throws.
[[nodiscard]] int run(std::string_view name, const Options& options,
                      const MakeServer& make_server);

}  // namespace serve
