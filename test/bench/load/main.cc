// The client of ./dev bench: puts one workload on a server and prints what came
// of it, a figure a line.
//
//   bench_load WORKLOAD PORT [--OPTION VALUE]...
//
// The workloads and the options' meanings are in workloads.h. --pid names the
// server's process, whose processor time and memory are then figures too.

#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <optional>
#include <stdexcept>
#include <system_error>
#include <vector>

#include <sys/resource.h>
#include <unistd.h>

#include "load/workloads.h"

namespace {

using load::Figures;
using load::ServerProcess;
using load::Setup;

// The end of a run whose server has stopped answering, under valgrind too.
constexpr unsigned kLongestRun = 300;  // seconds

const std::map<std::string_view, Figures (*)(const Setup&)> kWorkloads = {
    {"echo", load::echo},       {"http", load::http},
    {"churn", load::churn},     {"send", load::send},
    {"receive", load::receive}, {"idle", load::idle},
    {"fair", load::fair},       {"fair-beside-flood", load::fair_beside_flood},
};

const std::map<std::string_view, std::size_t Setup::*> kCounts = {
    {"--connections", &Setup::connections},
    {"--in-flight", &Setup::in_flight},
    {"--size", &Setup::size},
    {"--operations", &Setup::operations},
    {"--warm-up", &Setup::warm_up},
};

class UsageError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

template <class Number>
Number parse(std::string_view text) {
  Number number = 0;
  const char* const end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, number);
  if (rest != end || error != std::errc()) {
    throw UsageError("not a number: " + std::string(text));
  }
  return number;
}

// Ten thousand connections need more than a shell allows at first.
void allow_many_descriptors() {
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

Figures run(const std::vector<std::string_view>& arguments) {
  if (arguments.size() < 2) {
    throw UsageError("usage: bench_load WORKLOAD PORT [--OPTION VALUE]...");
  }
  const auto workload = kWorkloads.find(arguments[0]);
  if (workload == kWorkloads.end()) {
    throw UsageError("no such workload: " + std::string(arguments[0]));
  }
  Setup setup;
  setup.port = parse<std::uint16_t>(arguments[1]);
  std::optional<ServerProcess> server;
  for (std::size_t i = 2; i < arguments.size(); i += 2) {
    const std::string_view option = arguments[i];
    if (i + 1 == arguments.size()) {
      throw UsageError(std::string(option) + ": needs a value");
    }
    const std::string_view value = arguments[i + 1];
    if (option == "--pid") {
      setup.server = &server.emplace(parse<pid_t>(value));
    } else if (option == "--tls") {
      setup.tls = parse<int>(value) != 0;
    } else if (const auto count = kCounts.find(option);
               count != kCounts.end()) {
      setup.*count->second = parse<std::size_t>(value);
    } else {
      throw UsageError("no such option: " + std::string(option));
    }
  }
  return workload->second(setup);
}

}  // namespace

int main(int argc, char** argv) try {
  ::alarm(kLongestRun);
  allow_many_descriptors();
  for (const auto& [name, value] : run({argv + 1, argv + argc})) {
    std::printf("%s %.3f\n", name.c_str(), value);
  }
  return EXIT_SUCCESS;
} catch (const UsageError& error) {
  std::fprintf(stderr, "bench_load: %s\n", error.what());
  return 2;
} catch (const std::exception& error) {
  std::fprintf(stderr, "bench_load: %s\n", error.what());
  return EXIT_FAILURE;
}
