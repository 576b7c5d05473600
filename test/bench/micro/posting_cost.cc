// What it costs to have a loop call something soon: in batches, from another
// thread, and chained.
//
//   posting_cost [PART OF A WORK'S NAME]

#include <cstddef>
#include <thread>
#include <vector>

#include "asio_loop.h"
#include "libevent_loop.h"
#include "libuv_loop.h"
#include "measure.h"
#include "waterspout_loop.h"

namespace {

using micro::AsioLoop;
using micro::LibeventLoop;
using micro::LibuvLoop;
using micro::WaterspoutLoop;
using micro::Work;

constexpr std::size_t kBatch = 1000;
constexpr std::size_t kBatches = 1000;
constexpr std::size_t kFromThread = 1'000'000;
constexpr std::size_t kChained = 200'000;

/// A batch's last function posts the next batch.
template <class Loop>
class Batches {
 public:
  double round() {
    post_batch();
    return micro::nanoseconds_each(kBatch * kBatches, [&] { loop_.run(); });
  }

 private:
  void post_batch() {
    for (std::size_t i = 1; i < kBatch; ++i) {
      loop_.post([this] { ++called_; });
    }
    loop_.post([this] { end_batch(); });
  }

  void end_batch() {
    ++called_;
    if (called_ == kBatch * kBatches) {
      loop_.stop();
    } else {
      post_batch();
    }
  }

  Loop loop_;
  std::size_t called_ = 0;
};

/// Another thread posts as fast as it can while the loop runs.
template <class Loop>
class FromThread {
 public:
  double round() {
    return micro::nanoseconds_each(
        kFromThread,
        [&] {
          std::thread thread([&] { post_all(); });
          loop_.run();
          thread.join();
        },
        micro::kElapsedTime);
  }

 private:
  void post_all() {
    for (std::size_t i = 0; i < kFromThread; ++i) {
      loop_.post_from_any_thread([this] {
        if (++called_ == kFromThread) {
          loop_.stop();
        }
      });
    }
  }

  Loop loop_;
  std::size_t called_ = 0;
};

/// Each function posts the next: descriptors are polled in between.
template <class Loop>
class Chained {
 public:
  double round() {
    post_next();
    return micro::nanoseconds_each(kChained, [&] { loop_.run(); });
  }

 private:
  void post_next() {
    loop_.post([this] {
      if (++called_ == kChained) {
        loop_.stop();
      } else {
        post_next();
      }
    });
  }

  Loop loop_;
  std::size_t called_ = 0;
};

template <template <class> class Kind, class Loop>
Work work_of(const char* name) {
  return {.name = name, .library = Loop::kName, .round = [] {
            Kind<Loop> work;
            return work.round();
          }};
}

template <template <class> class Kind>
void add_works(std::vector<Work>& works, const char* name) {
  works.push_back(work_of<Kind, WaterspoutLoop>(name));
  works.push_back(work_of<Kind, LibeventLoop>(name));
  works.push_back(work_of<Kind, LibuvLoop>(name));
  works.push_back(work_of<Kind, AsioLoop>(name));
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<Work> works;
  add_works<Batches>(works, "post, in batches of 1000");
  add_works<FromThread>(works, "post, from another thread");
  add_works<Chained>(works, "post, chained, polling in between");
  return micro::run_main(works, argc, argv);
}
