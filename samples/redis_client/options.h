// The command line of redis_client.

#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

namespace redis_client {

/// What the user asked for: one member for each option.
struct Options {
  enum class Format { automatic, raw, typed };

  bool help = false;
  std::string host = "127.0.0.1";
  std::uint16_t port = 6379;
  std::string unix_path;
  bool tls = false;
  std::string ca_file;
  bool insecure = false;
  std::string user;
  std::string password;
  int database = 0;
  std::uint64_t repeat = 1;
  std::optional<std::chrono::nanoseconds> timeout;
  Format format = Format::automatic;
  std::vector<std::string> command;  ///< empty: read them from standard input
};

class UsageError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Errors: throws UsageError, which says what is wrong.
[[nodiscard]] Options parse_options(int argc, char** argv);

/// The text of --help.
[[nodiscard]] const char* usage() noexcept;

}  // namespace redis_client
