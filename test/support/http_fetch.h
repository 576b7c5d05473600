// Runs the sample http_fetch as a user would.

#pragma once

#include <cstdlib>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "support/program.h"

namespace waterspout::test {

inline std::vector<std::string> http_fetch_command(
    std::vector<std::string> arguments) {
  const char* folder = std::getenv("WATERSPOUT_SAMPLES_DIR");
  if (folder == nullptr) {
    throw std::runtime_error("WATERSPOUT_SAMPLES_DIR is not set");
  }
  arguments.insert(arguments.begin(), std::string(folder) + "/http_fetch");
  return arguments;
}

inline ProgramResult http_fetch(std::vector<std::string> arguments,
                                const Program::Options& options = {}) {
  return run_program(http_fetch_command(std::move(arguments)), options);
}

}  // namespace waterspout::test
