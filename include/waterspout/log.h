// Logging: four levels, two categories, one line a record, as Tornado prints
// it:
//
//   [W 261120 14:05:07.482 iostream:614] connect: 127.0.0.1:9: Connection
//   refused
//
// Floor 0, base. There is no global logger: each IOLoop has one
// (IOLoop::logger) and everything on that loop logs there.

#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <string_view>

#include "waterspout/export.h"
#include "waterspout/origin.h"

namespace waterspout {

enum class LogLevel {
  debug,    ///< mechanics
  info,     ///< a peer did something allowed but final
  warning,  ///< the environment misbehaved and the library coped
  error,    ///< somebody must mend code
};

enum class LogCategory {
  general,      ///< the library's own (Tornado: tornado.general)
  application,  ///< the user's code (Tornado: tornado.application)
};

/// One record. The views live until the log function returns.
struct LogRecord {
  LogLevel level = LogLevel::info;
  LogCategory category = LogCategory::general;
  std::string_view message;  ///< without a line's end; not escaped
  Origin origin;             ///< where it was logged
};

/// `record` as one line without its end, with `time` in local time:
/// "[E 261120 14:05:07.482 module:line] message".
[[nodiscard]] WATERSPOUT_API std::string format_log_record(
    const LogRecord& record, std::chrono::system_clock::time_point time);

/// Takes records at or above its level to a function: by default one write to
/// standard error each, formatted by format_log_record.
///
/// Thread: a loop's logger belongs to the loop's thread. The default function
/// may be called from any thread.
class WATERSPOUT_API Logger {
 public:
  using Function = std::function<void(const LogRecord&)>;

  /// Standard error, from LogLevel::warning up.
  Logger() = default;

  /// `function` must not be empty (std::invalid_argument). What it throws is
  /// swallowed after a line on standard error: logging never fails its caller.
  explicit Logger(Function function, LogLevel level = LogLevel::warning);

  /// Replaces the function; an empty one restores standard error.
  void set_function(Function function) { function_ = std::move(function); }

  /// Drops records below `level` from now on.
  void set_level(LogLevel level) noexcept { level_ = level; }
  [[nodiscard]] LogLevel level() const noexcept { return level_; }
  [[nodiscard]] bool enabled(LogLevel level) const noexcept {
    return level >= level_;
  }

  void log(LogLevel level, LogCategory category, std::string_view message,
           Origin origin = Origin::here()) const noexcept;

  /// The user's own records: category application.
  void debug(std::string_view message,
             Origin origin = Origin::here()) const noexcept;
  void info(std::string_view message,
            Origin origin = Origin::here()) const noexcept;
  void warning(std::string_view message,
               Origin origin = Origin::here()) const noexcept;
  void error(std::string_view message,
             Origin origin = Origin::here()) const noexcept;

 private:
  Function function_;  // empty: standard error
  LogLevel level_ = LogLevel::warning;
};

}  // namespace waterspout
