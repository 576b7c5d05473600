#include "http_fetch/progress.h"

#include <algorithm>
#include <chrono>
#include <cstdio>

namespace http_fetch {

namespace {

constexpr std::uint64_t kLarge = std::uint64_t{1} << 20;  // bytes
constexpr std::chrono::milliseconds kRedrawPeriod{100};
constexpr int kBarWidth = 30;  // characters

std::string mebibytes(std::uint64_t bytes) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f",
                static_cast<double>(bytes) / (1 << 20));
  return text;
}

}  // namespace

std::string progress_bar(const BodyBytes& bytes) {
  if (!bytes.expected || *bytes.expected == 0) {
    return mebibytes(bytes.received) + " MiB";
  }
  const double part = std::min(1.0, static_cast<double>(bytes.received) /
                                        static_cast<double>(*bytes.expected));
  std::string bar(static_cast<std::size_t>(part * kBarWidth), '#');
  bar.resize(kBarWidth, ' ');
  char percent[8];
  std::snprintf(percent, sizeof percent, "%3d%%", static_cast<int>(part * 100));
  return '[' + bar + "] " + percent + "  " + mebibytes(bytes.received) +
         " of " + mebibytes(*bytes.expected) + " MiB";
}

Progress::Progress(waterspout::IOLoop& loop, Console& console)
    : console_(console), redraw_(loop, kRedrawPeriod, [this] { redraw(); }) {}

void Progress::stop() {
  redraw_.stop();
  console_.show_bar({});
}

void Progress::expect(std::optional<std::uint64_t> length) {
  if (bytes_.expected && length) {
    *bytes_.expected += *length;
  } else {
    bytes_.expected.reset();
  }
}

void Progress::redraw() {
  if (std::max(bytes_.received, bytes_.expected.value_or(0)) >= kLarge) {
    console_.show_bar(progress_bar(bytes_));
  }
}

}  // namespace http_fetch
