// The command line of reverse_server.

#pragma once

#include <string>
#include <vector>

#include "serve/serve.h"

namespace reverse_server {

/// What the user asked for.
struct Options {
  bool help = false;
  std::string command;                          ///< run, start, stop or restart
  serve::Options listen;                        ///< --address, --port
  int digits = 5;                               ///< --digits
  std::string pid_file = "reverse_server.pid";  ///< --pidfile
  std::string log_file = "/dev/null";           ///< --logfile
};

/// `arguments` are main's, without the program's name.
/// Errors: throws serve::UsageError, which says what is wrong.
[[nodiscard]] Options parse_options(std::vector<std::string> arguments);

/// The text of --help.
[[nodiscard]] const char* usage() noexcept;

}  // namespace reverse_server
