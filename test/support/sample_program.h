// Runs a sample as a user would.

#pragma once

#include <cstdint>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "support/program.h"

namespace waterspout::test {

/// The command line that runs the sample `name`.
inline std::vector<std::string> sample_command(
    const std::string& name, std::vector<std::string> arguments) {
  const char* folder = std::getenv("WATERSPOUT_SAMPLES_DIR");
  if (folder == nullptr) {
    throw std::runtime_error("WATERSPOUT_SAMPLES_DIR is not set");
  }
  arguments.insert(arguments.begin(), std::string(folder) + "/" + name);
  return arguments;
}

/// The port in the first "NAME: listening on ADDRESS:PORT" of `text`.
inline std::uint16_t announced_port(const std::string& text) {
  const std::size_t begin = text.find("listening on ");
  const std::size_t end = text.find('\n', begin);
  if (begin == std::string::npos || end == std::string::npos) {
    throw std::runtime_error("no port in: " + text);
  }
  const std::size_t colon = text.rfind(':', end);
  return static_cast<std::uint16_t>(
      std::stoul(text.substr(colon + 1, end - colon - 1)));
}

}  // namespace waterspout::test
