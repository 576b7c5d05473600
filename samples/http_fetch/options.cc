#include "http_fetch/options.h"

#include <charconv>
#include <system_error>

#include <getopt.h>

#include "http_fetch/text.h"

namespace http_fetch {

namespace {

constexpr const char* kUsage =
    R"(usage: http_fetch [OPTION]... URL...
Fetches http and https URLs by HTTP/1.0, all at the same time; the bodies go to
standard output in the order given.

  -o FILE             write the body to FILE, which appears when it is complete
                      (one URL only; - is standard output)
  -i                  write the response head before the body
  -I                  ask for the head only (HEAD), and write it
  -v                  show request and response heads on standard error
  -f                  if the status is 400 or more, write no body and exit 22
  -L                  follow up to 10 redirects
  -H 'Name: value'    send this header field, perhaps instead of our own
  --timeout SECONDS   bound on each fetch as a whole (30)
  --max-size BYTES    give up on a longer body
  --cacert FILE       https: trust these authorities, not the system's
  --insecure          https: trust anybody who answers
  --cert FILE         https: present this certificate to who asks for one
  --key FILE          https: its key, if that is in a file of its own
  -h, --help          this text

Exit status: 0 all is well, 1 a fetch failed, 2 the command line is wrong,
22 nothing but statuses under -f went wrong.
)";

// What getopt_long answers for options that have no letter.
constexpr int kTimeout = 256;
constexpr int kMaxSize = 257;
constexpr int kCaFile = 258;
constexpr int kInsecure = 259;
constexpr int kCertificateFile = 260;
constexpr int kKeyFile = 261;

constexpr option kLongOptions[] = {
    {"timeout", required_argument, nullptr, kTimeout},
    {"max-size", required_argument, nullptr, kMaxSize},
    {"cacert", required_argument, nullptr, kCaFile},
    {"insecure", no_argument, nullptr, kInsecure},
    {"cert", required_argument, nullptr, kCertificateFile},
    {"key", required_argument, nullptr, kKeyFile},
    {"help", no_argument, nullptr, 'h'},
    {nullptr, 0, nullptr, 0}};

// All of `text` as a number; nothing if it is none or out of range.
template <class Number>
std::optional<Number> parse_all(std::string_view text) {
  Number number{};
  const auto [end, error] =
      std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) {
    return std::nullopt;
  }
  return number;
}

std::chrono::nanoseconds parse_timeout(std::string_view text) {
  constexpr double kShortest = 1e-3;
  constexpr double kLongest = 1e9;  // 31 years; more nanoseconds might overflow
  const std::optional<double> seconds = parse_all<double>(text);
  if (!seconds || !(*seconds >= kShortest && *seconds <= kLongest)) {
    throw UsageError("--timeout: '" + std::string(text) +
                     "' is no number of seconds from 0.001 to 1e9");
  }
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
      std::chrono::duration<double>(*seconds));
}

std::uint64_t parse_max_size(std::string_view text) {
  const auto bytes = parse_all<std::uint64_t>(text);
  if (!bytes) {
    throw UsageError("--max-size: '" + std::string(text) +
                     "' is no number of bytes");
  }
  return *bytes;
}

// A field that announces a body would have the server wait for one.
bool announces_body(const HeaderField& field) {
  return same_ignoring_case(field.name, "Content-Length") ||
         same_ignoring_case(field.name, "Transfer-Encoding");
}

HeaderField parse_header(std::string_view text) try {
  HeaderField field = parse_field(text);
  if (announces_body(field)) {
    throw std::runtime_error('\'' + field.name +
                             "' announces a body, and none is sent");
  }
  return field;
} catch (const std::runtime_error& error) {
  throw UsageError(std::string("-H: ") + error.what());
}

std::string parse_file_name(const char* option, std::string_view text) {
  if (text.empty()) {
    throw UsageError(std::string(option) + ": an empty file name");
  }
  return std::string(text);
}

std::string parse_output_file(std::string_view text) {
  return text == "-" ? std::string() : parse_file_name("-o", text);
}

// getopt's way to name the culprit: a letter in optopt, or the word itself.
[[noreturn]] void refuse_option(int answer, char** argv) {
  const std::string name = optopt > 0 && optopt < kTimeout
                               ? std::string("-") + static_cast<char>(optopt)
                               : std::string(argv[optind - 1]);
  throw UsageError(name + (answer == ':' ? ": its argument is missing"
                                         : ": no such option"));
}

// Returns false for any other option.
bool apply_tls_option(int option, Options& options) {
  switch (option) {
    case kCaFile:
      options.ca_file = parse_file_name("--cacert", optarg);
      return true;
    case kInsecure:
      options.insecure = true;
      return true;
    case kCertificateFile:
      options.certificate_file = parse_file_name("--cert", optarg);
      return true;
    case kKeyFile:
      options.key_file = parse_file_name("--key", optarg);
      return true;
    default:
      return false;
  }
}

void apply_option(int option, char** argv, Options& options) {
  switch (option) {
    case 'o':
      options.output_file = parse_output_file(optarg);
      return;
    case 'i':
      options.include_head = true;
      return;
    case 'I':
      options.method = Method::head;
      options.include_head = true;  // a HEAD has nothing else to show
      return;
    case 'v':
      options.verbose = true;
      return;
    case 'f':
      options.fail_on_status = true;
      return;
    case 'L':
      options.follow_redirects = true;
      return;
    case 'H':
      options.headers.push_back(parse_header(optarg));
      return;
    case 'h':
      options.help = true;
      return;
    case kTimeout:
      options.timeout = parse_timeout(optarg);
      return;
    case kMaxSize:
      options.max_size = parse_max_size(optarg);
      return;
    default:
      if (!apply_tls_option(option, options)) {
        refuse_option(option, argv);
      }
  }
}

void check_together(const Options& options) {
  if (options.urls.empty()) {
    throw UsageError("no URL");
  }
  if (!options.output_file.empty() && options.urls.size() > 1) {
    throw UsageError("-o takes one body, and there are " +
                     std::to_string(options.urls.size()) + " URLs");
  }
  if (!options.key_file.empty() && options.certificate_file.empty()) {
    throw UsageError("--key: needs a --cert");
  }
  if (!options.ca_file.empty() && options.insecure) {
    throw UsageError("--cacert: of no use with --insecure");
  }
}

}  // namespace

Options parse_options(int argc, char** argv) {
  Options options;
  optind = 0;  // begin anew, also in a second call
  // The ':' in front leaves the messages to us.
  int option = 0;
  while ((option = getopt_long(argc, argv, ":o:iIvfLH:h",
                               std::data(kLongOptions), nullptr)) != -1) {
    apply_option(option, argv, options);
  }
  options.urls.assign(argv + optind, argv + argc);
  if (!options.help) {
    check_together(options);
  }
  return options;
}

const char* usage() noexcept { return kUsage; }

}  // namespace http_fetch
