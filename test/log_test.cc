#include "waterspout/log.h"

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdlib>
#include <ctime>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <sys/socket.h>
#include <unistd.h>

#include <doctest/doctest.h>

#include "support/sockets.h"

using waterspout::format_log_record;
using waterspout::LogCategory;
using waterspout::Logger;
using waterspout::LogLevel;
using waterspout::LogRecord;
using waterspout::Origin;

namespace {

using namespace std::chrono_literals;

// Standard error, replaced by a socket that keeps the bounds of writes.
class StandardError {
 public:
  StandardError() : saved_(dup(STDERR_FILENO)) {
    std::array<int, 2> fds{};
    REQUIRE(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, fds.data()) == 0);
    reader_ = waterspout::test::UniquePeerFd(fds[0]);
    dup2(fds[1], STDERR_FILENO);
    close(fds[1]);
  }
  ~StandardError() { restore(); }
  StandardError(const StandardError&) = delete;
  StandardError& operator=(const StandardError&) = delete;

  // Puts standard error back and returns what was written, write by write.
  std::vector<std::string> restore() {
    if (saved_ >= 0) {
      dup2(saved_, STDERR_FILENO);
      close(std::exchange(saved_, -1));
    }
    std::vector<std::string> writes;
    for (;;) {
      std::string text = reader_.recv();
      if (text.empty()) {
        return writes;
      }
      writes.push_back(std::move(text));
    }
  }

 private:
  int saved_;
  waterspout::test::UniquePeerFd reader_;
};

// 2026-11-20 14:05:07 UTC.
constexpr std::chrono::system_clock::time_point kMoment{1795183507s};

std::string format(LogLevel level, std::chrono::milliseconds fraction = 482ms) {
  setenv("TZ", "UTC0", 1);
  tzset();
  return format_log_record({.level = level,
                            .message = "connect: refused",
                            .origin = Origin("/x/lib/stream/iostream.cc", 614)},
                           kMoment + fraction);
}

struct Kept {
  LogLevel level;
  LogCategory category;
  std::string message;
  std::string origin;
};

Logger keep_in(std::vector<Kept>& kept, LogLevel level) {
  return Logger(
      [&kept](const LogRecord& record) {
        kept.push_back({.level = record.level,
                        .category = record.category,
                        .message = std::string(record.message),
                        .origin = record.origin.to_string()});
      },
      level);
}

}  // namespace

TEST_SUITE_BEGIN("log");

TEST_CASE("format_log_record writes the line that Tornado writes") {
  CHECK(format(LogLevel::warning) ==
        "[W 261120 14:05:07.482 iostream:614] connect: refused");
}

TEST_CASE("format_log_record has a letter for every level") {
  CHECK(format(LogLevel::debug).starts_with("[D "));
  CHECK(format(LogLevel::info).starts_with("[I "));
  CHECK(format(LogLevel::warning).starts_with("[W "));
  CHECK(format(LogLevel::error).starts_with("[E "));
}

TEST_CASE("format_log_record pads the milliseconds") {
  CHECK(format(LogLevel::info, 0ms).find(":07.000 ") != std::string::npos);
  CHECK(format(LogLevel::info, 5ms).find(":07.005 ") != std::string::npos);
}

TEST_CASE("format_log_record uses local time") {
  setenv("TZ", "XYZ-3:30", 1);  // east of Greenwich, in POSIX's words
  tzset();
  const std::string line =
      format_log_record({.message = "x", .origin = {}}, kMoment);

  CHECK(line.find("261120 17:35:07.000") != std::string::npos);
}

TEST_CASE("Logger writes to standard error by default, one write a record") {
  const Logger logger;
  StandardError standard_error;

  logger.warning("first");
  logger.error("second");

  const std::vector<std::string> writes = standard_error.restore();
  REQUIRE(writes.size() == 2);
  CHECK(writes[0].starts_with("[W "));
  CHECK(writes[0].ends_with("] first\n"));
  CHECK(writes[0].find(" log_test:") != std::string::npos);
  CHECK(writes[1].starts_with("[E "));
  CHECK(writes[1].ends_with("] second\n"));
}

TEST_CASE("Logger drops what is below warning by default") {
  const Logger logger;
  StandardError standard_error;

  logger.debug("mechanics");
  logger.info("a peer");

  CHECK(standard_error.restore().empty());
  CHECK(logger.level() == LogLevel::warning);
}

TEST_CASE("Logger keeps records at or above its level and drops the others") {
  constexpr std::array kLevels{LogLevel::debug, LogLevel::info,
                               LogLevel::warning, LogLevel::error};
  for (std::size_t least = 0; least < kLevels.size(); ++least) {
    std::vector<Kept> kept;
    Logger logger = keep_in(kept, LogLevel::debug);
    logger.set_level(kLevels.at(least));
    for (const LogLevel level : kLevels) {
      CHECK(logger.enabled(level) == (level >= kLevels.at(least)));
      logger.log(level, LogCategory::general, "x");
    }
    CHECK(kept.size() == kLevels.size() - least);
  }
}

TEST_CASE("Logger tells level, category, message and origin") {
  std::vector<Kept> kept;
  const Logger logger = keep_in(kept, LogLevel::debug);

  logger.log(LogLevel::info, LogCategory::general, "ours",
             Origin("a/b.cc", 12));

  REQUIRE(kept.size() == 1);
  CHECK(kept[0].level == LogLevel::info);
  CHECK(kept[0].category == LogCategory::general);
  CHECK(kept[0].message == "ours");
  CHECK(kept[0].origin == "b.cc:12");
}

TEST_CASE(
    "Logger files the user's own records under application, with their "
    "place") {
  std::vector<Kept> kept;
  const Logger logger = keep_in(kept, LogLevel::debug);

  const int line = __LINE__;
  logger.debug("d");
  logger.info("i");
  logger.warning("w");
  logger.error("e");

  REQUIRE(kept.size() == 4);
  for (std::size_t i = 0; i < kept.size(); ++i) {
    CHECK(kept[i].category == LogCategory::application);
    CHECK(kept[i].level == static_cast<LogLevel>(i));
    CHECK(kept[i].origin ==
          "log_test.cc:" + std::to_string(line + 1 + static_cast<int>(i)));
  }
}

TEST_CASE("Logger refuses an empty function") {
  CHECK_THROWS_AS(Logger{Logger::Function{}}, std::invalid_argument);
}

TEST_CASE(
    "Logger::set_function replaces the function, and an empty one "
    "restores standard error") {
  std::vector<Kept> first;
  std::vector<Kept> second;
  Logger logger = keep_in(first, LogLevel::info);
  logger.set_function([&](const LogRecord& record) {
    second.push_back(
        {.level = record.level, .category = {}, .message = {}, .origin = {}});
  });
  logger.info("to the second");
  CHECK(first.empty());
  CHECK(second.size() == 1);

  StandardError standard_error;
  logger.set_function({});
  logger.info("to standard error");
  const std::vector<std::string> writes = standard_error.restore();
  REQUIRE(writes.size() == 1);
  CHECK(writes[0].ends_with("] to standard error\n"));
}

TEST_CASE(
    "Logger swallows what its function throws, after a line on standard "
    "error") {
  const Logger logger([](const LogRecord&) { throw std::runtime_error("no"); });
  StandardError standard_error;

  logger.error("lost");

  const std::vector<std::string> writes = standard_error.restore();
  REQUIRE(writes.size() == 1);
  CHECK(writes[0].ends_with("\n"));
}

TEST_CASE(
    "Logger swallows what its function throws that is no "
    "std::exception") {
  const Logger logger([](const LogRecord&) { throw 7; });
  StandardError standard_error;

  logger.error("lost");

  CHECK(standard_error.restore().size() == 1);
}

TEST_CASE("Logger survives a standard error that is closed") {
  const Logger logger;
  const int saved = dup(STDERR_FILENO);
  close(STDERR_FILENO);

  logger.error("nobody hears");

  dup2(saved, STDERR_FILENO);
  close(saved);
}

TEST_SUITE_END();
