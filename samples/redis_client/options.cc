#include "redis_client/options.h"

#include <charconv>
#include <cstdlib>
#include <iterator>
#include <limits>
#include <string_view>
#include <system_error>

#include <getopt.h>

namespace redis_client {

namespace {

constexpr const char* kUsage =
    R"(usage: redis_client [OPTION]... [COMMAND [ARG...]]
Sends a command to a Redis server and shows the reply. Without a command it
reads commands from standard input, one a line, until its end or "quit".
SUBSCRIBE, PSUBSCRIBE and MONITOR go on to show what comes.

  --host H            the server's name or address (127.0.0.1)
  --port N            its port (6379)
  --unix PATH         its Unix domain socket, instead of both
  --tls               protect the connection; the certificate must be good
  --cacert FILE       trust this authority rather than the system's
  --insecure          trust anybody
  --user U            the user who logs in, with a password
  --password P        the password; where there is none, the environment's
                      REDISCLI_AUTH, which others cannot see, is asked too
  --database N        the database to select (0)
  --repeat N          send the command N times, without waiting for replies (1)
  --timeout SECONDS   bound on connecting (10), and on every reply (none)
  --raw, --no-raw     show replies as they are, or with types and quotes; if
                      neither is given, with types on a terminal
  -h, --help          this text

Exit status: 0 all is well, 1 a command failed or was refused, or there was no
connection, 2 the command line is wrong.
)";

enum Answer {
  host = 256,
  port,
  unix_path,
  tls,
  cacert,
  insecure,
  user,
  password,
  database,
  repeat,
  timeout,
  raw,
  no_raw,
};

constexpr option kLongOptions[] = {
    {"host", required_argument, nullptr, Answer::host},
    {"port", required_argument, nullptr, Answer::port},
    {"unix", required_argument, nullptr, Answer::unix_path},
    {"tls", no_argument, nullptr, Answer::tls},
    {"cacert", required_argument, nullptr, Answer::cacert},
    {"insecure", no_argument, nullptr, Answer::insecure},
    {"user", required_argument, nullptr, Answer::user},
    {"password", required_argument, nullptr, Answer::password},
    {"database", required_argument, nullptr, Answer::database},
    {"repeat", required_argument, nullptr, Answer::repeat},
    {"timeout", required_argument, nullptr, Answer::timeout},
    {"raw", no_argument, nullptr, Answer::raw},
    {"no-raw", no_argument, nullptr, Answer::no_raw},
    {"help", no_argument, nullptr, 'h'},
    {nullptr, 0, nullptr, 0}};

template <class Number>
Number parse_number(const std::string& name, std::string_view text,
                    Number lowest,
                    Number highest = std::numeric_limits<Number>::max()) {
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

std::chrono::nanoseconds parse_timeout(std::string_view text) {
  constexpr double kShortest = 1e-3;
  constexpr double kLongest = 1e9;  // 31 years; more nanoseconds might overflow
  double seconds = 0;
  const char* const end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, seconds);
  if (error != std::errc() || rest != end ||
      !(seconds >= kShortest && seconds <= kLongest)) {
    throw UsageError("--timeout: '" + std::string(text) +
                     "' is no number of seconds from 0.001 to 1e9");
  }
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
      std::chrono::duration<double>(seconds));
}

// getopt's way to name the culprit: a letter in optopt, or the word itself.
[[noreturn]] void refuse_option(int answer, char** argv) {
  const std::string name = optopt > 0 && optopt < Answer::host
                               ? std::string("-") + static_cast<char>(optopt)
                               : std::string(argv[optind - 1]);
  throw UsageError(name + (answer == ':' ? ": its argument is missing"
                                         : ": no such option"));
}

// The options that say where the server is.
bool apply_server_option(int answer, Options& options) {
  switch (answer) {
    case Answer::host:
      options.host = optarg;
      return true;
    case Answer::port:
      options.port = parse_number<std::uint16_t>("--port", optarg, 1);
      return true;
    case Answer::unix_path:
      options.unix_path = optarg;
      return true;
    case Answer::tls:
      options.tls = true;
      return true;
    case Answer::cacert:
      options.ca_file = optarg;
      return true;
    case Answer::insecure:
      options.insecure = true;
      return true;
    default:
      return false;
  }
}

void apply_option(int answer, char** argv, Options& options) {
  switch (answer) {
    case Answer::user:
      options.user = optarg;
      return;
    case Answer::password:
      options.password = optarg;
      return;
    case Answer::database:
      options.database = parse_number<int>("--database", optarg, 0);
      return;
    case Answer::repeat:
      options.repeat = parse_number<std::uint64_t>("--repeat", optarg, 1);
      return;
    case Answer::timeout:
      options.timeout = parse_timeout(optarg);
      return;
    case Answer::raw:
      options.format = Options::Format::raw;
      return;
    case Answer::no_raw:
      options.format = Options::Format::typed;
      return;
    case 'h':
      options.help = true;
      return;
    default:
      if (!apply_server_option(answer, options)) {
        refuse_option(answer, argv);
      }
  }
}

void check(const Options& options) {
  if ((!options.ca_file.empty() || options.insecure) && !options.tls) {
    throw UsageError("--cacert, --insecure: of no use without --tls");
  }
  if (!options.ca_file.empty() && options.insecure) {
    throw UsageError("--cacert: of no use with --insecure");
  }
  if (options.tls && !options.unix_path.empty()) {
    throw UsageError("--tls: not over a Unix domain socket");
  }
  if (!options.user.empty() && options.password.empty()) {
    throw UsageError("--user: needs a --password");
  }
  if (options.repeat > 1 && options.command.empty()) {
    throw UsageError("--repeat: needs a command");
  }
}

}  // namespace

Options parse_options(int argc, char** argv) {
  Options options;
  optind = 0;  // begin anew, also in a second call
  // '+': what stands behind the command's name is the command's, also where it
  // looks like an option. ':': the messages are ours.
  int answer = 0;
  while ((answer = getopt_long(argc, argv, "+:h", std::data(kLongOptions),
                               nullptr)) != -1) {
    apply_option(answer, argv, options);
  }
  options.command.assign(argv + optind, argv + argc);
  const char* const password = std::getenv("REDISCLI_AUTH");
  if (options.password.empty() && password != nullptr) {
    options.password = password;
  }
  if (!options.help) {
    check(options);
  }
  return options;
}

const char* usage() noexcept { return kUsage; }

}  // namespace redis_client
