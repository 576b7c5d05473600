#include "reverse_server/options.h"

#include <cstdint>
#include <string_view>

#include "reverse_server/framed_server.h"

namespace reverse_server {

namespace {

constexpr const char* kUsage =
    R"(usage: reverse_server run|start|stop|restart [OPTION]...
Serves requests "00005abcde" (their length, then that many bytes) with their
bytes in reverse, "00005edcba", any number of them on a connection.

  run             serve in the foreground
  start           serve in the background
  stop            end the server in the background
  restart         stop, then start

  --address A     listen on A: an IP address or a host name (all interfaces)
  --port N        listen on port N; 0 lets the system choose (9090)
  --digits N      width of the header that says the length, 1 to 10 (5)
  --pidfile FILE  where the server's process id is (reverse_server.pid)
  --logfile FILE  where a server in the background writes what it has to say
                  (/dev/null)
  -h, --help      this text

Exit status: 0 all is well, 1 it failed, 2 the command line is wrong.
)";

constexpr std::uint16_t kDefaultPort = 9090;

std::string take_file_name(std::vector<std::string>& arguments,
                           const std::string& option,
                           const std::string& otherwise) {
  std::string name = serve::take_value(arguments, option).value_or(otherwise);
  if (name.empty()) {
    throw serve::UsageError(option + ": an empty file name");
  }
  return name;
}

bool is_command(std::string_view word) {
  return word == "run" || word == "start" || word == "stop" ||
         word == "restart";
}

}  // namespace

Options parse_options(std::vector<std::string> arguments) {
  Options options;
  if (serve::take_flag(arguments, "--help") ||
      serve::take_flag(arguments, "-h")) {
    options.help = true;
    return options;
  }
  options.listen.address =
      serve::take_value(arguments, "--address").value_or("");
  options.listen.port =
      serve::take_number<std::uint16_t>(arguments, "--port", 0, 65535)
          .value_or(kDefaultPort);
  options.digits =
      serve::take_number(arguments, "--digits", 1, FramedServer::kMaxDigits)
          .value_or(options.digits);
  options.pid_file = take_file_name(arguments, "--pidfile", options.pid_file);
  options.log_file = take_file_name(arguments, "--logfile", options.log_file);
  if (arguments.empty()) {
    throw serve::UsageError("it takes one of run, start, stop and restart");
  }
  for (const std::string& argument : arguments) {
    if (!is_command(argument)) {
      throw serve::UsageError("unknown argument: " + argument);
    }
  }
  if (arguments.size() > 1) {
    throw serve::UsageError("more than one command: " + arguments[1]);
  }
  options.command = arguments.front();
  return options;
}

const char* usage() noexcept { return kUsage; }

}  // namespace reverse_server
