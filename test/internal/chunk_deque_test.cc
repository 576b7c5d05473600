#include "base/chunk_deque.h"

#include <array>
#include <cstddef>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <sys/uio.h>

#include <doctest/doctest.h>

#include "base/chunk_pool.h"

using waterspout::Chunk;
using waterspout::ChunkDeque;
using waterspout::ChunkPool;
using waterspout::find_bytes;

namespace {

using Strings = std::vector<std::string>;

Strings chunks_of(const ChunkDeque& deque) {
  Strings chunks;
  for (const Chunk* chunk = deque.first(); chunk != nullptr;
       chunk = chunk->next) {
    chunks.emplace_back(reinterpret_cast<const char*>(chunk + 1) + chunk->begin,
                        chunk->size());
  }
  return chunks;
}

std::string all_of(const ChunkDeque& deque) {
  std::string all;
  for (const std::string& chunk : chunks_of(deque)) {
    all += chunk;
  }
  return all;
}

void append_all(ChunkDeque& deque, const Strings& chunks) {
  for (const std::string& chunk : chunks) {
    deque.append_chunk(chunk);
  }
}

// The chunks of Tornado's doctests after merge_prefix(size).
Strings merged(std::size_t size) {
  ChunkPool pool;
  ChunkDeque deque(pool);
  append_all(deque, {"abc", "de", "fghi", "j"});
  deque.merge_prefix(size);
  CHECK(deque.size() == 10);
  return chunks_of(deque);
}

// Calls `function` with every string of up to `longest` letters a and b.
template <class Function>
void for_every_string(std::size_t longest, Function function) {
  for (std::size_t length = 0; length <= longest; ++length) {
    for (std::size_t bits = 0; bits < (std::size_t{1} << length); ++bits) {
      std::string text;
      for (std::size_t i = 0; i < length; ++i) {
        text += ((bits >> i) & 1U) != 0 ? 'b' : 'a';
      }
      function(text);
    }
  }
}

// Fills `deque` with `text`, cut behind letter i where bit i of `cuts` is set.
void fill_cut(ChunkDeque& deque, std::string_view text, std::size_t cuts) {
  std::string piece;
  for (std::size_t i = 0; i < text.size(); ++i) {
    piece += text[i];
    if (((cuts >> i) & 1U) != 0 || i + 1 == text.size()) {
      deque.append_chunk(piece);
      piece.clear();
    }
  }
}

}  // namespace

TEST_SUITE_BEGIN("chunk_deque");

TEST_CASE("ChunkDeque::merge_prefix joins and splits the first chunks") {
  CHECK(merged(5) == Strings{"abcde", "fghi", "j"});
  CHECK(merged(7) == Strings{"abcdefg", "hi", "j"});
  CHECK(merged(3) == Strings{"abc", "de", "fghi", "j"});  // it was that long
  CHECK(merged(100) == Strings{"abcdefghij"});
}

TEST_CASE(
    "ChunkDeque::merge_prefix does what Tornado's doctests say, one "
    "after the other") {
  ChunkPool pool;
  ChunkDeque deque(pool);
  append_all(deque, {"abc", "de", "fghi", "j"});

  deque.merge_prefix(5);
  CHECK(chunks_of(deque) == Strings{"abcde", "fghi", "j"});
  deque.merge_prefix(7);
  CHECK(chunks_of(deque) == Strings{"abcdefg", "hi", "j"});
  deque.merge_prefix(3);
  CHECK(chunks_of(deque) == Strings{"abc", "defg", "hi", "j"});
  deque.merge_prefix(100);
  CHECK(chunks_of(deque) == Strings{"abcdefghij"});
}

TEST_CASE("ChunkDeque::merge_prefix gives an empty deque one empty chunk") {
  for (const std::size_t size : {0U, 1U, 1000U}) {
    ChunkPool pool;
    ChunkDeque deque(pool);
    deque.merge_prefix(size);
    CHECK(chunks_of(deque) == Strings{""});
    CHECK(deque.empty());
    deque.append("x");
    CHECK(all_of(deque) == "x");
  }
}

TEST_CASE("ChunkDeque::merge_prefix of nothing makes the first chunk empty") {
  ChunkPool pool;
  ChunkDeque deque(pool);
  append_all(deque, {"ab", "c"});
  deque.merge_prefix(0);
  CHECK(deque.front().empty());
  CHECK(all_of(deque) == "abc");
  CHECK(deque.find("a", 0) == 0);
  deque.consume(1);
  CHECK(all_of(deque) == "bc");
}

TEST_CASE(
    "ChunkDeque::merge_prefix leaves a first chunk of that size where it "
    "is") {
  ChunkPool pool;
  ChunkDeque deque(pool);
  append_all(deque, {"abc", "de"});
  const char* const before = deque.front().data();
  deque.merge_prefix(3);
  CHECK(deque.front().data() == before);
}

TEST_CASE(
    "ChunkDeque::merge_prefix gives the first bytes for every cut and "
    "size") {
  constexpr std::string_view kText = "abcdefg";
  for (std::size_t cuts = 0; cuts < 64; ++cuts) {
    for (std::size_t consumed = 0; consumed <= kText.size(); ++consumed) {
      for (std::size_t size = 0; size <= kText.size() + 1; ++size) {
        ChunkPool pool;
        ChunkDeque deque(pool);
        fill_cut(deque, kText, cuts);
        deque.consume(consumed);
        deque.merge_prefix(size);
        const std::string_view left = kText.substr(consumed);
        CHECK(deque.front() == left.substr(0, size));
        CHECK(all_of(deque) == left);
        CHECK(deque.size() == left.size());
      }
    }
  }
}

TEST_CASE(
    "ChunkDeque::find finds the first occurrence from every start, "
    "however the bytes are cut") {
  for_every_string(6, [](const std::string& text) {
    const std::size_t all_cuts =
        text.empty() ? 1 : std::size_t{1} << (text.size() - 1);
    for (std::size_t cuts = 0; cuts < all_cuts; ++cuts) {
      ChunkPool pool;
      ChunkDeque deque(pool);
      fill_cut(deque, text, cuts);
      bool all_found = true;
      for_every_string(3, [&](const std::string& needle) {
        for (std::size_t from = 0; !needle.empty() && from <= text.size() + 1;
             ++from) {
          all_found =
              all_found && deque.find(needle, from) == text.find(needle, from);
        }
      });
      CAPTURE(text);
      CAPTURE(cuts);
      CHECK(all_found);
    }
  });
}

TEST_CASE(
    "find_bytes finds what string_view::find finds, past false hits too") {
  std::size_t compared = 0;
  bool all_found = true;
  for (const std::size_t false_hits : {0UL, 1UL, 15UL, 16UL, 17UL, 100UL}) {
    for (const std::string needle : {"ab", "aab", "aba", "abcdefgh", "ba"}) {
      std::string text;
      for (std::size_t i = 0; i < false_hits; ++i) {
        text += "a-";
      }
      text += "b" + needle + needle + "a";
      for (std::size_t from = 0; from <= text.size() + 1; ++from) {
        for (const std::string_view part :
             {std::string_view(text), std::string_view(text).substr(1),
              std::string_view(text).substr(0, text.size() - 2)}) {
          all_found = all_found &&
                      find_bytes(part, needle, from) == part.find(needle, from);
          ++compared;
        }
      }
    }
  }
  CHECK(all_found);
  CHECK(compared > 1000);
}

TEST_CASE("ChunkDeque::find finds a needle that spans many chunks") {
  ChunkPool pool;
  ChunkDeque deque(pool);
  for (int i = 0; i < 1000; ++i) {
    deque.append_chunk("a");
  }
  deque.append_chunk("b");
  const std::string needle = std::string(500, 'a') + "b";
  CHECK(deque.find(needle, 0) == 500);
  CHECK(deque.find(needle, 500) == 500);
  CHECK(deque.find(needle, 501) == ChunkDeque::npos);
}

TEST_CASE("ChunkDeque::find counts what was consumed out") {
  ChunkPool pool;
  ChunkDeque deque(pool);
  append_all(deque, {"xab", "cab", "c"});
  deque.consume(2);
  CHECK(deque.find("abc", 0) == 2);
  CHECK(deque.find("bc", 0) == 0);
}

TEST_CASE("ChunkDeque::append keeps the bytes in order, whatever the sizes") {
  ChunkPool pool;
  ChunkDeque deque(pool);
  std::string expected;
  for (std::size_t i = 0; i < 300; ++i) {
    const std::string piece(i * 7 % 1000, static_cast<char>('a' + i % 26));
    deque.append(piece);
    expected += piece;
    CHECK(deque.size() == expected.size());
  }
  CHECK(all_of(deque) == expected);
}

TEST_CASE("ChunkDeque::append never moves what is there") {
  ChunkPool pool;
  ChunkDeque deque(pool);
  deque.append("frozen");
  const char* const address = deque.front().data();
  for (int i = 0; i < 1000; ++i) {
    deque.append(std::string(100, 'x'));
  }
  CHECK(deque.front().data() == address);
  CHECK(deque.front().substr(0, 6) == "frozen");
}

TEST_CASE("ChunkDeque::append_chunk begins a chunk of its own") {
  ChunkPool pool;
  ChunkDeque deque(pool);
  deque.append("ab");
  deque.append_chunk("cd");
  CHECK(chunks_of(deque) == Strings{"ab", "cd"});
}

TEST_CASE(
    "ChunkDeque::reserve gives room behind the last byte, and commit "
    "takes it") {
  ChunkPool pool;
  ChunkDeque deque(pool);
  deque.append("ab");
  const auto room = deque.reserve(70'000);
  CHECK(room.size() >= 70'000);
  std::memcpy(room.data(), "cde", 3);
  deque.commit(3);
  CHECK(all_of(deque) == "abcde");
  const auto more = deque.reserve(2);
  CHECK(more.data() == room.data() + 3);
  deque.commit(0);
  CHECK(deque.size() == 5);
}

TEST_CASE("ChunkDeque::prefix gives the first bytes in one piece") {
  ChunkPool pool;
  ChunkDeque deque(pool);
  append_all(deque, {"abc", "de", "fghi"});
  const char* const address = deque.front().data();
  CHECK(deque.prefix(2) == "ab");
  CHECK(deque.prefix(2).data() == address);  // was in one piece
  CHECK(deque.prefix(4) == "abcd");
  CHECK(deque.prefix(9) == "abcdefghi");
  CHECK(deque.prefix(0).empty());
}

TEST_CASE(
    "ChunkDeque::make_contiguous puts everything into one chunk with "
    "room behind it") {
  ChunkPool pool;
  ChunkDeque deque(pool);
  CHECK(deque.make_contiguous().size() >= 1);
  CHECK(deque.front().empty());
  append_all(deque, {"abc", "de"});
  deque.consume(1);

  auto room = deque.make_contiguous();
  CHECK(chunks_of(deque) == Strings{"bcde"});
  CHECK(room.size() >= 1);
  CHECK(room.data() == deque.front().data() + 4);

  room = deque.make_contiguous(1000);
  CHECK(room.size() >= 996);
  room.front() = 'f';
  deque.commit(1);
  CHECK(chunks_of(deque) == Strings{"bcdef"});
}

TEST_CASE(
    "ChunkDeque::make_contiguous after every append moves each byte a "
    "few times only") {
  ChunkPool pool;
  ChunkDeque deque(pool);
  const char* place = nullptr;
  int moves = 0;
  for (int i = 0; i < 100'000; ++i) {
    deque.append("x");
    static_cast<void>(deque.make_contiguous());
    moves += deque.front().data() != place ? 1 : 0;
    place = deque.front().data();
  }
  CHECK(deque.front().size() == 100'000);
  CHECK(moves < 20);  // doubles its room each time
}

TEST_CASE(
    "ChunkDeque::pin_prefix keeps a view of what it drops, whatever is "
    "done to the deque") {
  for (const std::size_t size : {0U, 1U, 3U, 4U, 6U}) {
    ChunkPool pool;
    ChunkDeque deque(pool);
    append_all(deque, {"abc", "de", "f"});
    const std::string_view pinned = deque.pin_prefix(size);
    CHECK(pinned == std::string_view("abcdef").substr(0, size));
    CHECK(deque.size() == 6 - size);
    CHECK(all_of(deque) == std::string_view("abcdef").substr(size));

    deque.append(std::string(1000, 'x'));
    deque.merge_prefix(1);
    static_cast<void>(deque.make_contiguous());
    deque.consume(deque.size());
    deque.append("y");
    deque.clear();
    CHECK(pinned == std::string_view("abcdef").substr(0, size));
    deque.unpin();
    CHECK(deque.empty());
  }
}

TEST_CASE("ChunkDeque::pin_prefix may be left pinned at the deque's end") {
  ChunkPool pool;
  {
    ChunkDeque deque(pool);
    append_all(deque, {"abc", "de"});
    CHECK(deque.pin_prefix(3) == "abc");
  }
  ChunkDeque deque(pool);
  deque.append("abc");
  CHECK(deque.pin_prefix(2) == "ab");
  ChunkDeque moved(std::move(deque));
  CHECK(all_of(moved) == "c");
  moved.unpin();
}

TEST_CASE("ChunkDeque::truncate drops everything behind the first bytes") {
  for (std::size_t size = 0; size <= 6; ++size) {
    ChunkPool pool;
    ChunkDeque deque(pool);
    append_all(deque, {"abc", "de", "f"});
    deque.truncate(size);
    CHECK(deque.size() == size);
    CHECK(all_of(deque) == std::string_view("abcdef").substr(0, size));
    deque.append("x");
    CHECK(all_of(deque) ==
          std::string(std::string_view("abcdef").substr(0, size)) + "x");
  }
}

TEST_CASE("ChunkDeque::consume drops chunks from the front") {
  ChunkPool pool;
  ChunkDeque deque(pool);
  append_all(deque, {"abc", "de", "fghi"});
  deque.consume(0);
  CHECK(deque.size() == 9);
  deque.consume(1);
  CHECK(chunks_of(deque) == Strings{"bc", "de", "fghi"});
  deque.consume(4);
  CHECK(chunks_of(deque) == Strings{"fghi"});
  deque.consume(4);
  CHECK(deque.empty());
  CHECK(deque.front().empty());
  deque.append("again");
  CHECK(all_of(deque) == "again");
}

TEST_CASE(
    "ChunkDeque::gather fills as many pieces as there is room for, and "
    "skips empty chunks") {
  ChunkPool pool;
  ChunkDeque deque(pool);
  append_all(deque, {"ab", "", "c", "def"});
  std::array<iovec, 8> pieces{};
  REQUIRE(deque.gather(pieces) == 3);
  CHECK(pieces[0].iov_len == 2);
  CHECK(pieces[1].iov_len == 1);
  CHECK(std::string_view(static_cast<const char*>(pieces[2].iov_base),
                         pieces[2].iov_len) == "def");
  CHECK(deque.gather({pieces.data(), 2}) == 2);
  CHECK(deque.gather({pieces.data(), 0}) == 0);
  deque.clear();
  CHECK(deque.gather(pieces) == 0);
}

TEST_CASE("ChunkDeque can be moved") {
  ChunkPool pool;
  ChunkDeque first(pool);
  append_all(first, {"ab", "c"});
  ChunkDeque second(std::move(first));
  CHECK(all_of(second) == "abc");
  CHECK(first.empty());
  ChunkDeque third(pool);
  third.append("x");
  third = std::move(second);
  CHECK(all_of(third) == "abc");
}

TEST_SUITE_END();
