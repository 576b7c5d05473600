#include "reverse_server/options.h"

#include <charconv>
#include <cstdint>
#include <iterator>
#include <string_view>
#include <system_error>

#include <getopt.h>

#include "reverse_server/framed_server.h"

namespace reverse_server {

using serve::UsageError;

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

constexpr option kLongOptions[] = {{"address", required_argument, nullptr, 'a'},
                                   {"port", required_argument, nullptr, 'p'},
                                   {"digits", required_argument, nullptr, 'd'},
                                   {"pidfile", required_argument, nullptr, 'f'},
                                   {"logfile", required_argument, nullptr, 'l'},
                                   {"help", no_argument, nullptr, 'h'},
                                   {nullptr, 0, nullptr, 0}};

template <class Number>
Number parse_number(const std::string& name, std::string_view text,
                    Number lowest, Number highest) {
  Number number = 0;
  const char* const end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, number);
  if (error != std::errc() || rest != end || number < lowest ||
      number > highest) {
    throw UsageError(name + ": '" + std::string(text) + "' is no number from " +
                     std::to_string(lowest) + " to " + std::to_string(highest));
  }
  return number;
}

std::string parse_file_name(const std::string& name, std::string_view text) {
  if (text.empty()) {
    throw UsageError(name + ": an empty file name");
  }
  return std::string(text);
}

void apply_option(int option, char** argv, Options& options) {
  switch (option) {
    case 'a':
      options.listen.address = optarg;
      return;
    case 'p':
      options.listen.port =
          parse_number<std::uint16_t>("--port", optarg, 0, 65535);
      return;
    case 'd':
      options.digits =
          parse_number("--digits", optarg, 1, FramedServer::kMaxDigits);
      return;
    case 'f':
      options.pid_file = parse_file_name("--pidfile", optarg);
      return;
    case 'l':
      options.log_file = parse_file_name("--logfile", optarg);
      return;
    case 'h':
      options.help = true;
      return;
    default:
      throw UsageError(
          std::string(argv[optind - 1]) +
          (option == ':' ? ": its argument is missing" : ": no such option"));
  }
}

bool is_command(std::string_view word) {
  return word == "run" || word == "start" || word == "stop" ||
         word == "restart";
}

}  // namespace

Options parse_options(int argc, char** argv) {
  Options options;
  options.listen.port = kDefaultPort;
  optind = 0;  // begin anew, also in a second call
  // The ':' in front leaves the messages to us.
  int option = 0;
  while ((option = getopt_long(argc, argv, ":h", std::data(kLongOptions),
                               nullptr)) != -1) {
    apply_option(option, argv, options);
  }
  if (options.help) {
    return options;
  }
  if (optind + 1 != argc || !is_command(argv[optind])) {
    throw UsageError("it takes one of run, start, stop and restart");
  }
  options.command = argv[optind];
  return options;
}

const char* usage() noexcept { return kUsage; }

}  // namespace reverse_server
