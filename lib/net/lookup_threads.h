// LookupThreads: threads that ask getaddrinfo(3).

#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <system_error>
#include <vector>

#include "waterspout/address.h"

#include "base/unique_fd.h"

namespace waterspout {

/// One question to the C library, and later its answer.
struct Lookup {
  std::string host;
  std::uint16_t port = 0;
  int family = 0;

  int code = 0;          ///< of getaddrinfo
  int system_error = 0;  ///< errno, for EAI_SYSTEM
  std::vector<Address> addresses = {};
};

/// A pool that grows to its bound. It is shared between its user and its
/// threads, which are detached: the last one to leave frees it. Every function
/// but the threads' own is for the user's thread.
///
/// A lookup travels from map to map as one node, so that handing over an answer
/// cannot fail for want of memory.
class LookupThreads : public std::enable_shared_from_this<LookupThreads> {
 public:
  using Id = std::uint64_t;
  using Lookups = std::map<Id, Lookup>;

  explicit LookupThreads(std::size_t most_threads)
      : most_threads_(most_threads) {}

  /// The descriptor that is readable once there are answers. Made by the first
  /// call. Errors: throws std::system_error.
  [[nodiscard]] int answers_fd();

  /// Requires: ids rise. Errors: of the system where no thread can be started
  ///   and there is none; nothing was asked then.
  [[nodiscard]] std::error_code ask(Id id, Lookup lookup);

  /// Nobody waits for the answer any more.
  void forget(Id id) noexcept;

  /// The answers since the last call.
  [[nodiscard]] Lookups take_answers();

  /// The threads end, each as soon as the C library lets it.
  void close() noexcept;

 private:
  void start_thread();
  void work() noexcept;

  const std::size_t most_threads_;
  UniqueFd answers_fd_;  // written to, and closed, under the mutex

  std::mutex mutex_;
  std::condition_variable changed_;
  // Under the mutex from here on.
  Lookups waiting_;
  Lookups answered_;
  std::size_t threads_ = 0;
  std::size_t idle_ = 0;
  bool closed_ = false;
};

}  // namespace waterspout
