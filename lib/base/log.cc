#include "waterspout/log.h"

#include <array>
#include <cstdio>
#include <ctime>
#include <stdexcept>

#include <unistd.h>

#include "waterspout/error.h"

namespace waterspout {
namespace {

char letter_of(LogLevel level) {
  constexpr std::string_view kLetters = "DIWE";
  return kLetters[static_cast<std::size_t>(level)];
}

// "iostream" for ".../lib/stream/iostream.cc".
std::string_view module_of(Origin origin) {
  std::string_view name = origin.file();
  name.remove_prefix(name.rfind('/') + 1);  // npos + 1 is 0
  return name.substr(0, name.find('.'));
}

void write_to_standard_error(const LogRecord& record) {
  std::string line =
      format_log_record(record, std::chrono::system_clock::now());
  line += '\n';
  // One write: lines of several threads and processes do not mix. There is
  // nobody left to tell if it fails.
  [[maybe_unused]] const auto written =
      ::write(STDERR_FILENO, line.data(), line.size());
}

// A record is one line, whatever a peer or an exception has put into it.
void append_line(std::string& line, std::string_view message) {
  for (const char byte : message) {
    const bool control =
        static_cast<unsigned char>(byte) < 0x20 || byte == 0x7f;
    line += control ? escape_bytes({&byte, 1}) : std::string(1, byte);
  }
}

}  // namespace

std::string format_log_record(const LogRecord& record,
                              std::chrono::system_clock::time_point time) {
  using std::chrono::duration_cast;
  using std::chrono::milliseconds;
  const std::time_t seconds = std::chrono::system_clock::to_time_t(time);
  const auto since_epoch =
      duration_cast<milliseconds>(time.time_since_epoch()).count();
  std::tm local{};
  ::localtime_r(&seconds, &local);
  std::array<char, 32> date{};
  std::strftime(date.data(), date.size(), "%y%m%d %H:%M:%S", &local);
  std::array<char, 64> prefix{};
  std::snprintf(prefix.data(), prefix.size(), "[%c %s.%03d ",
                letter_of(record.level), date.data(),
                static_cast<int>(since_epoch % 1000));
  std::string line(prefix.data());
  line.append(module_of(record.origin)).append(":");
  line += std::to_string(record.origin.line()) + "] ";
  append_line(line, record.message);
  return line;
}

Logger::Logger(Function function, LogLevel level)
    : function_(std::move(function)), level_(level) {
  if (!function_) {
    throw std::invalid_argument("Logger: function: is empty");
  }
}

void Logger::log(LogLevel level, LogCategory category, std::string_view message,
                 Origin origin) const noexcept {
  if (!enabled(level)) {
    return;
  }
  const LogRecord record{level, category, message, origin};
  try {
    if (function_) {
      function_(record);
    } else {
      write_to_standard_error(record);
    }
  } catch (...) {
    constexpr std::string_view kNotice = "waterspout: a log function threw\n";
    [[maybe_unused]] const auto written =
        ::write(STDERR_FILENO, kNotice.data(), kNotice.size());
  }
}

void Logger::debug(std::string_view message, Origin origin) const noexcept {
  log(LogLevel::debug, LogCategory::application, message, origin);
}

void Logger::info(std::string_view message, Origin origin) const noexcept {
  log(LogLevel::info, LogCategory::application, message, origin);
}

void Logger::warning(std::string_view message, Origin origin) const noexcept {
  log(LogLevel::warning, LogCategory::application, message, origin);
}

void Logger::error(std::string_view message, Origin origin) const noexcept {
  log(LogLevel::error, LogCategory::application, message, origin);
}

}  // namespace waterspout
