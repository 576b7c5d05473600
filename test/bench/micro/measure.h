// How the programs of this folder time their works and print what came of it.

#pragma once

#include <chrono>
#include <cstddef>
#include <ctime>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace micro {

/// One line of a program's table.
struct Work {
  std::string name;          ///< "post, in batches of 1000"
  std::string_view library;  ///< who does it
  /// Does the work many times; gives what one operation took, in nanoseconds.
  std::function<double()> round;
  std::size_t bytes = 0;  ///< of an operation, where these matter
  int rounds = 5;
};

/// What the process has spent, so that others on the machine count little.
constexpr clockid_t kProcessorTime = CLOCK_PROCESS_CPUTIME_ID;
/// For works of several threads.
constexpr clockid_t kElapsedTime = CLOCK_MONOTONIC;

inline double nanoseconds(clockid_t clock) {
  timespec time{};
  ::clock_gettime(clock, &time);
  return static_cast<double>(time.tv_sec) * 1e9 +
         static_cast<double>(time.tv_nsec);
}

/// What each of the `operations` that `work()` does takes.
template <class Function>
double nanoseconds_each(std::size_t operations, Function&& work,
                        clockid_t clock = kProcessorTime) {
  const double begin = nanoseconds(clock);
  work();
  return (nanoseconds(clock) - begin) / static_cast<double>(operations);
}

/// Calls `operation()` as often as it says, and gives what one call takes.
template <class Function>
double repeat(std::size_t operations, Function&& operation) {
  return nanoseconds_each(operations, [&] {
    for (std::size_t i = 0; i < operations; ++i) {
      operation();
    }
  });
}

/// Makes the compiler believe that `value` is read and changed here.
template <class Value>
void touch(Value& value) noexcept {
  asm volatile("" : : "r"(&value) : "memory");
}

/// Runs the works whose line holds the program's one argument, all without
/// one, and prints the table. Works of one name follow each other in `works`;
/// their rounds are taken in turns, and compared to the first. Returns main's
/// status.
int run_main(const std::vector<Work>& works, int argc, char** argv) noexcept;

}  // namespace micro
