#include <charconv>
#include <cstdlib>
#include <optional>
#include <stdexcept>
#include <string>

#include <unistd.h>

#include "waterspout/error.h"
#include "waterspout/netutil.h"

#include "net/listener.h"

namespace waterspout {
namespace {

// SD_LISTEN_FDS_START of sd_listen_fds(3).
constexpr int kFirst = 3;

constexpr const char* kInheritedSockets = "inherited_sockets";

std::optional<int> parse_number(std::string_view digits) {
  int number = 0;
  const char* const end = digits.data() + digits.size();
  const auto [rest, error] = std::from_chars(digits.data(), end, number);
  if (error != std::errc() || rest != end || number < 0) {
    return std::nullopt;
  }
  return number;
}

std::string take_variable(const char* name) {
  const char* const found = std::getenv(name);  // NOLINT(concurrency-mt-unsafe)
  std::string value = found != nullptr ? found : "";
  ::unsetenv(name);  // NOLINT(concurrency-mt-unsafe): the header says so
  return value;
}

}  // namespace

std::vector<Socket> inherited_sockets() {
  const std::string process = take_variable("LISTEN_PID");
  const std::string count_text = take_variable("LISTEN_FDS");
  take_variable("LISTEN_FDNAMES");
  if (parse_number(process) != ::getpid() || count_text.empty()) {
    return {};
  }
  const std::optional<int> count = parse_number(count_text);
  if (!count) {
    throw std::invalid_argument(std::string(kInheritedSockets) +
                                ": LISTEN_FDS: \"" + escape_bytes(count_text) +
                                "\" is no count");
  }
  std::vector<Socket> sockets;
  for (int fd = kFirst; fd - kFirst < *count; ++fd) {
    prepare_listener(fd, kInheritedSockets);
    sockets.emplace_back(fd);
  }
  return sockets;
}

}  // namespace waterspout
