#include "http_fetch/console.h"

#include <system_error>

#include <unistd.h>

#include "http_fetch/file.h"

namespace http_fetch {

namespace {

constexpr std::string_view kEraseLine = "\r\x1b[K";

// If nobody listens to what goes wrong, there is nobody to tell that either.
void write_error_output(const std::string& text) {
  try {
    write_all(STDERR_FILENO, text, "standard error");
  } catch (const std::system_error&) {
  }
}

}  // namespace

void Console::line(std::string_view text) {
  std::string output(bar_.empty() ? std::string_view() : kEraseLine);
  output.append(text).append("\n").append(bar_);
  write_error_output(output);
}

void Console::show_bar(std::string_view bar) {
  if (bar == bar_) {
    return;
  }
  bar_ = bar;
  write_error_output(std::string(kEraseLine) + bar_);
}

}  // namespace http_fetch
