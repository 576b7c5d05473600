// A name service for one test, in place of the C library's.
//
// Linking fake_names.cc into a test program puts its getaddrinfo before that of
// the C library, for every library in the process. Without a FakeNames it
// passes everything on.

#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace waterspout::test {

/// Answers the names that it was told, and EAI_NONAME for all others, as long
/// as it lives. One at a time; for any thread.
class FakeNames {
 public:
  /// False under the sanitizers, which make threads in a way of their own.
  static const bool kFailsThreads;

  FakeNames();

  /// Lets everybody go who is held, and waits until they have.
  ~FakeNames();

  FakeNames(const FakeNames&) = delete;
  FakeNames& operator=(const FakeNames&) = delete;

  void add(const std::string& name, std::vector<std::string> literals);

  /// `code` is an EAI_ value; `system_error` goes with EAI_SYSTEM.
  void add_failure(const std::string& name, int code, int system_error = 0);

  /// Questions for `name` get no answer until release().
  void hold(const std::string& name);
  void release();

  /// The next `count` threads cannot be made: EAGAIN.
  static void fail_threads(int count);

  /// Names asked for so far, in the order in which they were.
  [[nodiscard]] std::vector<std::string> asked() const;

  /// How many are held now, and how many were at once.
  [[nodiscard]] std::size_t held() const;
  [[nodiscard]] std::size_t most_held() const;
};

}  // namespace waterspout::test
