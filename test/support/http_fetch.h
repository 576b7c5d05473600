// Runs the sample http_fetch as a user would.

#pragma once

#include <string>
#include <utility>
#include <vector>

#include "support/program.h"
#include "support/sample_program.h"

namespace waterspout::test {

inline std::vector<std::string> http_fetch_command(
    std::vector<std::string> arguments) {
  return sample_command("http_fetch", std::move(arguments));
}

inline ProgramResult http_fetch(std::vector<std::string> arguments,
                                const Program::Options& options = {}) {
  return run_program(http_fetch_command(std::move(arguments)), options);
}

/// An answer of six bytes; and that with its body.
inline const std::string kHead = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n";
inline const std::string kHello = kHead + "hello\n";

}  // namespace waterspout::test
