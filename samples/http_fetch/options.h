// The command line of http_fetch.

#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "http_fetch/http_head.h"

namespace http_fetch {

/// What the user asked for: one member for each option.
struct Options {
  bool help = false;
  bool include_head = false;      ///< -i, and -I
  bool verbose = false;           ///< -v
  bool fail_on_status = false;    ///< -f
  bool follow_redirects = false;  ///< -L
  Method method = Method::get;    ///< -I
  std::string output_file;        ///< -o; empty: standard output
  std::vector<HeaderField> headers;
  std::chrono::nanoseconds timeout = std::chrono::seconds(30);
  std::optional<std::uint64_t> max_size;  ///< bytes
  std::string ca_file;           ///< --cacert; empty: the system's store
  bool insecure = false;         ///< --insecure
  std::string certificate_file;  ///< --cert; empty: none
  std::string key_file;          ///< --key; empty: in certificate_file
  std::vector<std::string> urls;
};

class UsageError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Errors: throws UsageError, which says what is wrong.
[[nodiscard]] Options parse_options(int argc, char** argv);

/// The text of --help.
[[nodiscard]] const char* usage() noexcept;

}  // namespace http_fetch
