// How read_until searches: right for every small world. That each byte is
// searched once is counted by test/bench/check_linear.py.

#include <algorithm>
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <doctest/doctest.h>

#include "waterspout/iostream.h"

#include "support/loop_fixture.h"
#include "support/stream_helpers.h"
#include "support/stream_pair.h"

using waterspout::IOStream;
using waterspout::test::kManyTurns;
using waterspout::test::make_raw_pair;
using waterspout::test::RawPeer;
using waterspout::test::SteppedLoop;
using waterspout::test::words;

namespace {

// The 14 delimiters of one to three letters.
std::vector<std::string> small_delimiters() {
  std::vector<std::string> all;
  for (const std::size_t length : {1UL, 2UL, 3UL}) {
    const std::vector<std::string> some = words(length);
    all.insert(all.end(), some.begin(), some.end());
  }
  return all;
}

// One stream, on which every search leaves nothing behind for the next.
class Searcher {
 public:
  Searcher() { loop_.bound_turns(kManyTurns); }

  // Sends `text`, cut behind byte i where bit i of `cuts` is set, and then the
  // delimiter, so that there is always something to find. True if it is found
  // as soon as it has come, and as string::find finds it.
  bool finds(std::string_view delimiter, const std::string& text,
             unsigned cuts) {
    const std::string all = text + std::string(delimiter);
    const std::size_t end = all.find(delimiter) + delimiter.size();
    std::string got;
    bool right = true;
    pair_.stream->read_until(delimiter,
                             [&](std::string_view data) { got = data; });
    std::size_t begin = 0;
    for (std::size_t i = 0; i < all.size(); ++i) {
      if ((cuts >> i & 1U) != 0 || i + 1 == all.size()) {
        send(std::string_view(all).substr(begin, i + 1 - begin));
        begin = i + 1;
        right = right && got.empty() == (begin < end);
      }
    }
    right = right && got == all.substr(0, end);
    return right && take(all.size() - end) == all.substr(end);
  }

  // As above, with all of it in the buffer when the search begins.
  bool finds_in_buffer(std::string_view delimiter, const std::string& text) {
    const std::string all = text + std::string(delimiter);
    const std::size_t end = all.find(delimiter) + delimiter.size();
    std::string got;
    pair_.stream->read_bytes(1, [](std::string_view) {});
    send("-" + all);
    pair_.stream->read_until(delimiter,
                             [&](std::string_view data) { got = data; });
    loop_.settle();
    return got == all.substr(0, end) &&
           take(all.size() - end) == all.substr(end);
  }

 private:
  void send(std::string_view data) {
    pair_.peer.send(data);
    loop_.settle();
  }

  std::string take(std::size_t count) {
    std::string taken;
    pair_.stream->read_bytes(count,
                             [&](std::string_view data) { taken = data; });
    loop_.settle();
    return taken;
  }

  SteppedLoop loop_;
  RawPeer pair_ = make_raw_pair(loop_, {}, false);
};

}  // namespace

TEST_SUITE_BEGIN("iostream_search");

TEST_CASE("IOStream::read_until finds overlapping delimiters, however cut") {
  Searcher searcher;
  for (const std::string& delimiter : small_delimiters()) {
    CAPTURE(delimiter);
    for (std::size_t length = 0; length <= 5; ++length) {
      for (const std::string& text : words(length)) {
        CAPTURE(text);
        const std::size_t places = length + delimiter.size() - 1;
        for (unsigned cuts = 0; cuts < 1U << std::min(places, length + 1);
             ++cuts) {
          CAPTURE(cuts);
          CHECK(searcher.finds(delimiter, text, cuts));
        }
      }
    }
  }
}

TEST_CASE("IOStream::read_until finds the first delimiter, cut once anywhere") {
  Searcher searcher;
  for (const std::string& delimiter : small_delimiters()) {
    CAPTURE(delimiter);
    for (const std::string& text : words(7)) {
      CAPTURE(text);
      for (std::size_t cut = 0; cut < text.size(); ++cut) {
        CHECK(searcher.finds(delimiter, text, 1U << cut));
      }
    }
  }
}

TEST_CASE("IOStream::read_until finds the first delimiter in the buffer") {
  Searcher searcher;
  for (const std::string& delimiter : small_delimiters()) {
    CAPTURE(delimiter);
    for (std::size_t length = 0; length <= 7; ++length) {
      for (const std::string& text : words(length)) {
        CAPTURE(text);
        CHECK(searcher.finds_in_buffer(delimiter, text));
      }
    }
  }
}

TEST_SUITE_END();
