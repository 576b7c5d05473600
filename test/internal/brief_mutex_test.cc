#include "base/brief_mutex.h"

#include <atomic>
#include <mutex>
#include <thread>
#include <vector>

#include <doctest/doctest.h>

using waterspout::BriefMutex;

TEST_SUITE_BEGIN("brief_mutex");

TEST_CASE("sections of several threads exclude each other") {
  BriefMutex mutex;
  int count = 0;  // under mutex
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int j = 0; j < 10000; ++j) {
        const std::lock_guard lock(mutex);
        ++count;
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  CHECK(count == 40000);
}

TEST_CASE("a section that lasts is waited for") {
  BriefMutex mutex;
  mutex.lock();
  std::atomic<bool> about_to_lock = false;
  bool ended = false;  // under mutex
  std::thread other([&] {
    about_to_lock = true;
    const std::lock_guard lock(mutex);
    CHECK(ended);
  });
  while (!about_to_lock) {
    std::this_thread::yield();
  }
  for (int i = 0; i < 10000; ++i) {
    std::this_thread::yield();  // longer than it tries
  }
  ended = true;
  mutex.unlock();
  other.join();
}

TEST_SUITE_END();
