// "Data comes to callbacks as a std::string_view that lives until the callback
// returns, whatever the callback does": every way by which data gets to a
// callback, with everything that a callback can do to spoil it. The address
// sanitizer sees what the comparison does not.

#include <cstddef>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include <doctest/doctest.h>

#include "waterspout/iostream.h"

#include "support/stream_helpers.h"
#include "support/stream_pair.h"

using waterspout::IOStream;
using waterspout::LogLevel;
using waterspout::test::kUnix;
using waterspout::test::make_pattern;
using waterspout::test::make_raw_pair;
using waterspout::test::RawPeer;
using waterspout::test::SteppedLoop;

namespace {

// Says at the end of the callback, also when that throws, whether the bytes are
// still the same.
class StillThere {
 public:
  explicit StillThere(std::string_view view) : view_(view), copy_(view) {}
  ~StillThere() { CHECK(std::string_view(view_) == copy_); }

  StillThere(const StillThere&) = delete;
  StillThere& operator=(const StillThere&) = delete;

 private:
  std::string_view view_;
  std::string copy_;
};

struct ViewTest {
  SteppedLoop loop;
  RawPeer pair = make_raw_pair(loop, {}, kUnix);
  RawPeer other = make_raw_pair(loop, {}, kUnix);
  std::function<void(ViewTest&, std::string_view)> action;
  int runs = 0;

  // The callback under test: acts once, on the first data it gets.
  auto callback() {
    return [this](std::string_view data) {
      const StillThere check(data);
      runs += 1;
      if (runs == 1) {
        action(*this, data);
      }
    };
  }

  void send(std::string_view data) {
    pair.peer.send(data);
    loop.settle();
  }
};

// A way by which data gets to a callback.
struct Path {
  const char* name;
  std::function<void(ViewTest&)> run;
};

const std::vector<Path>& paths() {
  static const std::vector<Path> all = {
      {"straight from an arrival",
       [](ViewTest& t) {
         t.pair.stream->read_bytes(6, t.callback());
         t.send("abcdef");
       }},
      {"from an arrival with more behind it",
       [](ViewTest& t) {
         t.pair.stream->read_until("\n", t.callback());
         t.send("abcdef\nghi\njkl\n");
       }},
      {"from the buffer",
       [](ViewTest& t) {
         t.pair.stream->read_until("\n", [&t](std::string_view) {
           t.pair.stream->read_until("\n", t.callback());
         });
         t.send("abcdef\nghi\njkl\n");
       }},
      {"joined from two arrivals",
       [](ViewTest& t) {
         t.pair.stream->read_until("\n", t.callback());
         t.send("abc");
         t.send("def\nghi\njkl\n");
       }},
      {"a known length in many arrivals",
       [](ViewTest& t) {
         const std::string piece = make_pattern(50'000);
         t.pair.stream->read_bytes(175'000, t.callback());
         for (int i = 0; i < 4; ++i) {
           t.send(piece);
         }
       }},
      {"a part",
       [](ViewTest& t) {
         t.pair.stream->read_bytes(6, {.partial = true}, t.callback());
         t.send("abcdefghi");
       }},
      {"a piece",
       [](ViewTest& t) {
         t.pair.stream->read_bytes(100, {.streaming_callback = t.callback()},
                                   [](std::string_view) {});
         t.send("abcdefghi");
       }},
      {"a piece from the buffer",
       [](ViewTest& t) {
         t.pair.stream->read_bytes(3, [&t](std::string_view) {
           t.pair.stream->read_until_close({.streaming_callback = t.callback()},
                                           [](std::string_view) {});
         });
         t.send("abcdefghi");
       }},
      {"all until the end",
       [](ViewTest& t) {
         t.pair.stream->read_until_close(t.callback());
         t.send("abc");
         t.send("def");
         t.pair.peer.shutdown();
         t.loop.settle();
       }},
      {"from a closed stream",
       [](ViewTest& t) {
         t.pair.stream->read_bytes(100, [](std::string_view) {});
         t.send("abc");
         t.send("defghi");
         t.pair.stream->close();
         t.pair.stream->read_bytes(6, t.callback());
         t.loop.settle();
       }},
  };
  return all;
}

void ignore(std::string_view) {}

// Starts a read where the stream can take one; a closed one may refuse it.
void try_to_read(IOStream& stream) {
  if (stream.closed()) {
    stream.read_until_close(ignore);
  } else if (!stream.reading()) {
    stream.read_bytes(3, ignore);
  }
}

void run_all_paths(
    const std::function<void(ViewTest&, std::string_view)>& action,
    bool throws = false) {
  for (const Path& path : paths()) {
    CAPTURE(path.name);
    ViewTest t;
    if (throws) {
      t.loop.expect_log(LogLevel::error, "Exception in callback");
    }
    t.action = action;
    const std::weak_ptr<IOStream> watch = t.pair.stream;
    path.run(t);
    CHECK(t.runs >= 1);
    // A read that is still pending keeps a stream that nobody holds.
    if (const auto stream = watch.lock()) {
      stream->close();
    }
    t.other.stream->close();
    t.loop.settle();
  }
}

}  // namespace

TEST_SUITE_BEGIN("iostream_view");

TEST_CASE("The data lives until the callback returns, though it closes") {
  run_all_paths([](ViewTest& t, std::string_view) { t.pair.stream->close(); });
}

TEST_CASE("The data lives until the callback returns, though it reads on") {
  SUBCASE("what is buffered") {
    run_all_paths(
        [](ViewTest& t, std::string_view) { try_to_read(*t.pair.stream); });
  }
  SUBCASE("what has just arrived") {
    run_all_paths([](ViewTest& t, std::string_view) {
      if (!t.pair.stream->closed()) {
        t.pair.peer.send("############");
      }
      try_to_read(*t.pair.stream);
    });
  }
  SUBCASE("and closes") {
    run_all_paths([](ViewTest& t, std::string_view) {
      try_to_read(*t.pair.stream);
      t.pair.stream->close();
    });
  }
}

TEST_CASE("The data lives until the callback returns, though it writes it") {
  run_all_paths([](ViewTest& t, std::string_view data) {
    if (!t.pair.stream->closed()) {
      t.pair.stream->write(data);
      t.pair.stream->write(data);
      CHECK(t.pair.peer.send_some("#####") == 5);
    }
  });
}

TEST_CASE("The data lives until the callback returns, though it throws") {
  run_all_paths(
      [](ViewTest&, std::string_view) {
        throw std::runtime_error("on purpose");
      },
      true);
}

TEST_CASE(
    "The data lives until the callback returns, though it drops the last "
    "reference") {
  SUBCASE("of an open stream") {
    run_all_paths([](ViewTest& t, std::string_view) { t.pair.stream.reset(); });
  }
  SUBCASE("after closing") {
    run_all_paths([](ViewTest& t, std::string_view) {
      t.pair.stream->close();
      t.pair.stream.reset();
    });
  }
  SUBCASE("after reading on") {
    run_all_paths([](ViewTest& t, std::string_view) {
      const std::weak_ptr<IOStream> watch = t.pair.stream;
      try_to_read(*t.pair.stream);
      t.pair.stream.reset();
      if (const auto stream = watch.lock()) {
        stream->close();
      }
    });
  }
}

// A protected pair cannot be made inside a callback.
TEST_CASE(
    "The data lives until the callback returns, though it uses another "
    "stream" *
    doctest::skip(waterspout::test::over_tls())) {
  run_all_paths([](ViewTest& t, std::string_view) {
    t.other.peer.send("############");
    t.other.stream->read_bytes(12, ignore);
    t.other.stream->write("############");
    const RawPeer third = make_raw_pair(t.loop, {}, kUnix);
    third.peer.send("############");
    third.stream->read_until_close(ignore);
    third.stream->close();
  });
}

TEST_SUITE_END();
