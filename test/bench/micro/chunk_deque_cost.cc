// What the buffer of a stream costs: each of its operations, together with the
// ones that bring it back to where it began.
//
//   chunk_deque_cost [PART OF A WORK'S NAME]

#include <array>
#include <cstddef>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include <sys/uio.h>

#include "base/chunk_deque.h"
#include "measure.h"

namespace {

using micro::repeat;
using micro::touch;
using micro::Work;
using waterspout::ChunkDeque;
using waterspout::ChunkPool;

constexpr std::size_t kSmall = 64;
constexpr std::size_t kMiddle = 4096;
constexpr std::size_t kLarge = 65536;
constexpr std::size_t kPieces = 16;

/// Fewer operations on more bytes.
constexpr std::size_t operations(std::size_t size) {
  return size <= kSmall ? 1'000'000 : size <= kMiddle ? 200'000 : 10'000;
}

template <std::size_t Size>
double append_and_consume() {
  ChunkPool pool;
  ChunkDeque deque(pool);
  const std::string data(Size, 'x');
  return repeat(operations(Size), [&] {
    deque.append(data);
    touch(deque);
    deque.consume(Size);
  });
}

template <std::size_t Size>
double reserve_commit_and_consume() {
  ChunkPool pool;
  ChunkDeque deque(pool);
  return repeat(operations(kSmall), [&] {
    auto room = deque.reserve(Size);
    touch(room);
    deque.commit(Size);
    deque.consume(Size);
  });
}

/// The bytes come all at once and go in lines of kSmall.
double consume_lines() {
  ChunkPool pool;
  ChunkDeque deque(pool);
  const std::string data(kLarge, 'x');
  return micro::nanoseconds_each(100 * kLarge / kSmall, [&] {
    for (int i = 0; i < 100; ++i) {
      deque.append(data);
      while (!deque.empty()) {
        std::string_view line = deque.prefix(kSmall);
        touch(line);
        deque.consume(kSmall);
      }
    }
  });
}

template <std::size_t Size>
void append_pieces(ChunkDeque& deque, std::size_t count) {
  static const std::string piece(Size, 'x');
  for (std::size_t i = 0; i < count; ++i) {
    deque.append_chunk(piece);
  }
}

double gather() {
  ChunkPool pool;
  ChunkDeque deque(pool);
  append_pieces<kSmall>(deque, kPieces);
  std::array<iovec, kPieces> pieces{};
  return repeat(operations(kSmall), [&] {
    if (deque.gather(pieces) != kPieces) {
      throw std::logic_error("gather: not all pieces");
    }
    touch(pieces);
  });
}

/// Two chunks become one, which is what a delimiter behind a seam costs.
template <std::size_t Size>
double merge_prefix() {
  ChunkPool pool;
  ChunkDeque deque(pool);
  return repeat(operations(Size), [&] {
    append_pieces<Size / 2>(deque, 2);
    deque.merge_prefix(Size);
    touch(deque);
    deque.consume(Size);
  });
}

template <std::size_t Size>
double append_pieces_and_consume() {
  ChunkPool pool;
  ChunkDeque deque(pool);
  return repeat(operations(Size), [&] {
    append_pieces<Size / 2>(deque, 2);
    touch(deque);
    deque.consume(Size);
  });
}

double find_in(ChunkDeque& deque, std::string_view delimiter) {
  const std::size_t size = deque.size();
  deque.append(delimiter);
  return repeat(operations(size), [&] {
    if (deque.find(delimiter, 0) != size) {
      throw std::logic_error("find: not at the end");
    }
  });
}

template <std::size_t Size>
double find_byte() {
  ChunkPool pool;
  ChunkDeque deque(pool);
  deque.append(std::string(Size, 'x'));
  return find_in(deque, "\n");
}

template <std::size_t Size>
double find_four_bytes() {
  ChunkPool pool;
  ChunkDeque deque(pool);
  deque.append(std::string(Size, 'x'));
  return find_in(deque, "\r\n\r\n");
}

/// Over the seams of many chunks.
double find_in_pieces() {
  ChunkPool pool;
  ChunkDeque deque(pool);
  append_pieces<kLarge / kPieces>(deque, kPieces);
  return find_in(deque, "\r\n\r\n");
}

Work work(const char* name, double (*round)(), std::size_t bytes = 0) {
  return {
      .name = name, .library = "ChunkDeque", .round = round, .bytes = bytes};
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<Work> works = {
      work("append and consume 64 B", append_and_consume<kSmall>, kSmall),
      work("append and consume 4 KiB", append_and_consume<kMiddle>, kMiddle),
      work("append and consume 64 KiB", append_and_consume<kLarge>, kLarge),
      work("reserve, commit and consume 4 KiB",
           reserve_commit_and_consume<kMiddle>),
      work("consume 64 KiB in lines of 64 B", consume_lines, kSmall),
      work("gather 16 chunks", gather),
      work("append 2 chunks of 32 B, consume",
           append_pieces_and_consume<kSmall>, kSmall),
      work("append 2 chunks of 32 B, merge, consume", merge_prefix<kSmall>,
           kSmall),
      work("append 2 chunks of 32 KiB, consume",
           append_pieces_and_consume<kLarge>, kLarge),
      work("append 2 chunks of 32 KiB, merge, consume", merge_prefix<kLarge>,
           kLarge),
      work("find 1 byte behind 64 B", find_byte<kSmall>, kSmall),
      work("find 4 bytes behind 64 B", find_four_bytes<kSmall>, kSmall),
      work("find 1 byte behind 64 KiB", find_byte<kLarge>, kLarge),
      work("find 4 bytes behind 64 KiB", find_four_bytes<kLarge>, kLarge),
      work("find 4 bytes behind 64 KiB in 16 chunks", find_in_pieces, kLarge),
  };
  return micro::run_main(works, argc, argv);
}
