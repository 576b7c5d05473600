#include "http_server/http_date.h"

#include <array>
#include <cstddef>
#include <cstdio>

#include "http_fetch/text.h"

namespace http_server {

namespace {

using http_fetch::is_digit;

constexpr std::array<std::string_view, 7> kDays = {
    "Sunday",   "Monday", "Tuesday", "Wednesday",
    "Thursday", "Friday", "Saturday"};
constexpr std::array<std::string_view, 12> kMonths = {
    "Jan", "Feb", "Mar", "Apr", "May", "Jun",
    "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
constexpr std::size_t kShortName = 3;  // letters

/// Takes a text apart from its beginning. What does not fit is told at the end.
class Scanner {
 public:
  explicit Scanner(std::string_view text) : rest_(text) {}

  void literal(std::string_view expected) {
    if (rest_.starts_with(expected)) {
      rest_.remove_prefix(expected.size());
    } else {
      fits_ = false;
    }
  }

  int number(std::size_t digits) {
    int value = 0;
    for (; digits > 0; --digits) {
      if (rest_.empty() || !is_digit(rest_.front())) {
        fits_ = false;
        return 0;
      }
      value = value * 10 + (rest_.front() - '0');
      rest_.remove_prefix(1);
    }
    return value;
  }

  void day_name(std::size_t letters) {
    for (const std::string_view day : kDays) {
      const std::string_view name = day.substr(0, letters);
      if (rest_.starts_with(name)) {
        rest_.remove_prefix(name.size());
        return;
      }
    }
    fits_ = false;
  }

  unsigned month() {
    for (unsigned i = 0; i < kMonths.size(); ++i) {
      if (rest_.starts_with(kMonths[i])) {
        rest_.remove_prefix(kMonths[i].size());
        return i + 1;
      }
    }
    fits_ = false;
    return 0;
  }

  // A day below 10 that is filled up with a space.
  unsigned padded_day() {
    const bool one_digit = rest_.starts_with(' ');
    if (one_digit) {
      rest_.remove_prefix(1);
    }
    return static_cast<unsigned>(number(one_digit ? 1 : 2));
  }

  [[nodiscard]] bool has_ended_well() const { return fits_ && rest_.empty(); }

 private:
  std::string_view rest_;
  bool fits_ = true;
};

struct Fields {
  int year = 0;
  unsigned month = 0;
  unsigned day = 0;
  int hour = 0;
  int minute = 0;
  int second = 0;
};

void scan_time(Scanner& scanner, Fields& fields) {
  fields.hour = scanner.number(2);
  scanner.literal(":");
  fields.minute = scanner.number(2);
  scanner.literal(":");
  fields.second = scanner.number(2);
}

// A leap second, 60, is the second after it: system clocks have none.
std::optional<Date> to_date(const Fields& fields) {
  const std::chrono::year_month_day day{std::chrono::year(fields.year),
                                        std::chrono::month(fields.month),
                                        std::chrono::day(fields.day)};
  if (!day.ok() || fields.hour > 23 || fields.minute > 59 ||
      fields.second > 60) {
    return std::nullopt;
  }
  return std::chrono::sys_days(day) + std::chrono::hours(fields.hour) +
         std::chrono::minutes(fields.minute) +
         std::chrono::seconds(fields.second);
}

// "Sun, 06 Nov 1994 08:49:37 GMT"
std::optional<Date> parse_current_form(std::string_view text) {
  Scanner scanner(text);
  Fields fields;
  scanner.day_name(kShortName);
  scanner.literal(", ");
  fields.day = static_cast<unsigned>(scanner.number(2));
  scanner.literal(" ");
  fields.month = scanner.month();
  scanner.literal(" ");
  fields.year = scanner.number(4);
  scanner.literal(" ");
  scan_time(scanner, fields);
  scanner.literal(" GMT");
  return scanner.has_ended_well() ? to_date(fields) : std::nullopt;
}

int year_of(Date date) {
  const std::chrono::year_month_day day(
      std::chrono::floor<std::chrono::days>(date));
  return static_cast<int>(day.year());
}

// "Sunday, 06-Nov-94 08:49:37 GMT"
std::optional<Date> parse_rfc850_form(std::string_view text, Date now) {
  Scanner scanner(text);
  Fields fields;
  scanner.day_name(std::string_view::npos);
  scanner.literal(", ");
  fields.day = static_cast<unsigned>(scanner.number(2));
  scanner.literal("-");
  fields.month = scanner.month();
  scanner.literal("-");
  const int short_year = scanner.number(2);
  scanner.literal(" ");
  scan_time(scanner, fields);
  scanner.literal(" GMT");
  if (!scanner.has_ended_well()) {
    return std::nullopt;
  }
  const int last_year = year_of(now) + 50;
  fields.year = last_year - (last_year - short_year) % 100;
  return to_date(fields);
}

// "Sun Nov  6 08:49:37 1994"
std::optional<Date> parse_asctime_form(std::string_view text) {
  Scanner scanner(text);
  Fields fields;
  scanner.day_name(kShortName);
  scanner.literal(" ");
  fields.month = scanner.month();
  scanner.literal(" ");
  fields.day = scanner.padded_day();
  scanner.literal(" ");
  scan_time(scanner, fields);
  scanner.literal(" ");
  fields.year = scanner.number(4);
  return scanner.has_ended_well() ? to_date(fields) : std::nullopt;
}

}  // namespace

std::string format_date(Date date) {
  const auto midnight = std::chrono::floor<std::chrono::days>(date);
  const std::chrono::year_month_day day(midnight);
  const std::chrono::hh_mm_ss time(date - midnight);
  const std::string_view name =
      kDays[std::chrono::weekday(midnight).c_encoding()];
  const std::string_view month =
      kMonths[static_cast<unsigned>(day.month()) - 1];
  std::array<char, 32> text{};
  const int size = std::snprintf(
      text.data(), text.size(), "%.3s, %02u %.3s %04d %02d:%02d:%02d GMT",
      name.data(), static_cast<unsigned>(day.day()), month.data(),
      static_cast<int>(day.year()), static_cast<int>(time.hours().count()),
      static_cast<int>(time.minutes().count()),
      static_cast<int>(time.seconds().count()));
  return std::string(text.data(), static_cast<std::size_t>(size));
}

std::optional<Date> parse_date(std::string_view text, Date now) {
  std::optional<Date> date = parse_current_form(text);
  if (!date) {
    date = parse_rfc850_form(text, now);
  }
  return date ? date : parse_asctime_form(text);
}

}  // namespace http_server
