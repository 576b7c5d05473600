#include "stream/read_buffer.h"

#include <algorithm>
#include <cstddef>
#include <new>
#include <string>
#include <string_view>

#include <doctest/doctest.h>

#include "support/failing_memory.h"

namespace {

using waterspout::ChunkPool;
using waterspout::ReadBuffer;
using waterspout::test::FailingMemory;
using waterspout::test::kReplacesNew;

// A place where bytes are received, over and over.
struct Receiver {
  void receive(std::string_view data) {
    std::copy(data.begin(), data.end(), place.begin());
    buffer.receive(std::string_view(place).substr(0, data.size()));
  }
  void receive_and_store(std::string_view data) {
    receive(data);
    buffer.store(pool);
    std::fill(place.begin(), place.end(), '?');
  }
  // The bytes, as text that outlives the view.
  std::string take(std::size_t size) {
    const std::string text(buffer.take(size));
    buffer.end_view();
    return text;
  }

  ChunkPool pool;
  std::string place = std::string(64, '?');
  ReadBuffer buffer;
};

}  // namespace

TEST_SUITE_BEGIN("read_buffer");

TEST_CASE("what has just come is read where it lies") {
  Receiver t;
  CHECK(t.buffer.empty());
  t.receive("one two");
  CHECK(t.buffer.size() == 7);
  CHECK_FALSE(t.buffer.has_stored());
  CHECK(t.buffer.take_incoming(4).data() == t.place.data());
  CHECK(t.buffer.take(3).data() == t.place.data() + 4);
  CHECK(t.buffer.empty());
}

TEST_CASE("what is stored outlives the place where it was received, in order") {
  Receiver t;
  t.receive_and_store("abc");
  t.receive_and_store("def");
  CHECK(t.buffer.has_stored());
  CHECK(t.buffer.size() == 6);
  CHECK(t.take(4) == "abcd");
  CHECK(t.buffer.stored_size() == 2);
  t.receive("gh");
  CHECK(t.buffer.size() == 4);
  t.buffer.store(t.pool);
  CHECK(t.take(4) == "efgh");
  CHECK(t.buffer.empty());
}

TEST_CASE("a view of what is stored lives until it is ended") {
  Receiver t;
  t.receive_and_store("abcdef");
  const std::string_view view = t.buffer.take(6);
  CHECK(t.buffer.empty());
  t.receive_and_store("ghi");  // as the next input while a callback runs
  CHECK(view == "abcdef");
  t.buffer.end_view();
  CHECK(t.take(3) == "ghi");
}

TEST_CASE("memory is held only while something is stored") {
  Receiver t;
  t.receive_and_store("abc");
  CHECK(t.pool.kept_bytes() == 0);
  CHECK(t.take(3) == "abc");
  CHECK(t.pool.kept_bytes() != 0);  // the chunk is back
  const std::size_t kept = t.pool.kept_bytes();
  CHECK(t.buffer.reserve(10, t.pool).size() == 10);
  CHECK(t.pool.kept_bytes() < kept);
  t.buffer.give_room_back();
  CHECK(t.pool.kept_bytes() == kept);
}

TEST_CASE("bytes received behind what is stored are in one piece with it") {
  Receiver t;
  t.receive_and_store("abc");
  const auto room = t.buffer.reserve(3, t.pool);
  std::fill_n(room.begin(), 2, 'x');
  t.buffer.commit(2);
  CHECK(t.buffer.stored().front() == "abcxx");
  t.buffer.give_room_back();  // nothing to free: something is stored
  CHECK(t.take(5) == "abcxx");
}

TEST_CASE("everything can be taken or dropped, stored or not") {
  Receiver t;
  t.receive_and_store(std::string(50, 'a'));
  t.receive("bc");
  CHECK(t.buffer.take_all() == std::string(50, 'a') + "bc");
  CHECK(t.buffer.empty());
  CHECK(t.buffer.take_all().empty());
  t.receive_and_store("abc");
  t.receive("def");
  t.buffer.clear();
  CHECK(t.buffer.empty());
}

TEST_CASE("what there is no memory to store is gone, and nothing else" *
          doctest::skip(!kReplacesNew)) {
  for (const std::size_t before : {0U, 1U}) {
    CAPTURE(before);
    Receiver t;
    t.receive("abc");
    {
      const FailingMemory failing(before, 1);
      CHECK_THROWS_AS(t.buffer.store(t.pool), std::bad_alloc);
    }
    CHECK(t.buffer.empty());
    t.receive_and_store("def");
    CHECK(t.take(3) == "def");
  }
}

TEST_SUITE_END();
