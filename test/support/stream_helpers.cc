#include "support/stream_helpers.h"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <ctime>
#include <functional>
#include <string>
#include <string_view>

#include <poll.h>
#include <sys/socket.h>

#include <doctest/doctest.h>
#include <event2/event.h>

namespace waterspout::test {

namespace {

constexpr int kPollMilliseconds = 5000;

}  // namespace

namespace detail {

void FreeBase::operator()(event_base* base) const noexcept {
  event_base_free(base);
}

BaseHolder::BaseHolder() : base_(event_base_new()) {}

}  // namespace detail

bool SteppedLoop::step() {
  const auto before = loop().statistics().turns;
  // EVLOOP_NONBLOCK alone goes on while anything is active.
  event_base_loop(lent_base(), EVLOOP_ONCE | EVLOOP_NONBLOCK);
  return loop().statistics().turns != before;
}

void SteppedLoop::settle(int max_steps) {
  for (int steps = 0; steps < max_steps; ++steps) {
    if (!step() && loop().statistics().callbacks == 0) {
      return;
    }
  }
  FAIL_CHECK("the loop did not settle within ", max_steps, " steps");
}

bool SteppedLoop::run_until(const std::function<bool()>& condition,
                            Milliseconds limit) {
  const auto deadline = std::chrono::steady_clock::now() + limit;
  while (!condition()) {
    if (step()) {
      continue;
    }
    if (std::chrono::steady_clock::now() >= deadline) {
      FAIL_CHECK("the condition did not hold within ", limit.count(), " ms");
      return false;
    }
    poll(nullptr, 0, 1);  // leaves the processor to whoever makes it hold
  }
  return true;
}

void EventLog::add(std::string_view entry) {
  if (!text_.empty()) {
    text_ += ' ';
  }
  text_ += entry;
}

std::vector<std::string> words(std::size_t length) {
  std::vector<std::string> all;
  for (unsigned bits = 0; bits < 1U << length; ++bits) {
    std::string word;
    for (std::size_t i = 0; i < length; ++i) {
      word += (bits >> i & 1U) != 0 ? 'b' : 'a';
    }
    all.push_back(word);
  }
  return all;
}

std::string make_pattern(std::size_t size) {
  std::string bytes(size, '\0');
  std::uint32_t state = 1;
  for (char& byte : bytes) {
    state = state * 1664525 + 1013904223;
    byte = static_cast<char>(state >> 24);
  }
  return bytes;
}

void bound_kernel_buffers(int fd, int bytes) {
  for (const int option : {SO_SNDBUF, SO_RCVBUF}) {
    REQUIRE(setsockopt(fd, SOL_SOCKET, option, &bytes, sizeof(bytes)) == 0);
  }
}

void wait_readable(int fd) {
  pollfd wanted{.fd = fd, .events = POLLIN, .revents = 0};
  REQUIRE(poll(&wanted, 1, kPollMilliseconds) == 1);
}

std::chrono::nanoseconds cpu_time() {
  timespec used{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
  return std::chrono::seconds(used.tv_sec) +
         std::chrono::nanoseconds(used.tv_nsec);
}

}  // namespace waterspout::test
