#include "http_fetch/body_reader.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <utility>

namespace http_fetch {

namespace {

constexpr std::uint64_t kPieceSize = 65536;      // bytes
constexpr std::size_t kLongestChunkLine = 4096;  // bytes
constexpr std::size_t kLargestTrailer = 65536;   // bytes

// Lives as long as a callback of the stream holds it: each step of the chain
// captures `self` and hands it to the next; after the last, or when the stream
// closes and drops its callbacks, nobody does.
class BodyReader : public std::enable_shared_from_this<BodyReader> {
 public:
  BodyReader(std::shared_ptr<waterspout::IOStream> stream,
             PieceCallback on_piece, EndCallback on_end)
      : stream_(std::move(stream)),
        on_piece_(std::move(on_piece)),
        on_end_(std::move(on_end)) {}

  void start(const Framing& framing) {
    switch (framing.kind) {
      case Framing::Kind::length:
        read_counted(framing.length, &BodyReader::end);
        break;
      case Framing::Kind::chunked:
        read_chunk_size();
        break;
      case Framing::Kind::until_close:
        read_until_close();
        break;
    }
  }

 private:
  using Step = void (BodyReader::*)();

  void end() { on_end_(); }

  // A chain of partial reads: each piece is dealt with before the next one is
  // asked for. Zero bytes complete too, so an empty body is no special case.
  void read_counted(std::uint64_t left, Step next) {
    const auto count = static_cast<std::size_t>(std::min(left, kPieceSize));
    stream_->read_bytes(
        count, {.partial = true},
        [self = shared_from_this(), left, next](std::string_view piece) {
          self->take_counted(piece, left, next);
        });
  }

  void take_counted(std::string_view piece, std::uint64_t left, Step next) {
    on_piece_(piece);
    left -= piece.size();
    if (left == 0) {
      (this->*next)();
    } else {
      read_counted(left, next);
    }
  }

  void read_chunk_size() {
    stream_->read_until("\r\n", {.max_bytes = kLongestChunkLine},
                        [self = shared_from_this()](std::string_view line) {
                          self->on_chunk_size(parse_chunk_size(line));
                        });
  }

  void on_chunk_size(std::uint64_t size) {
    if (size == 0) {
      read_trailer(kLargestTrailer);
    } else {
      read_counted(size, &BodyReader::read_chunk_end);
    }
  }

  void read_chunk_end() {
    stream_->read_bytes(2,
                        [self = shared_from_this()](std::string_view line_end) {
                          if (line_end != "\r\n") {
                            throw std::runtime_error(
                                "malformed response: a chunk is longer than "
                                "its size");
                          }
                          self->read_chunk_size();
                        });
  }

  // Header fields once more, up to a blank line. Nobody asked for any.
  void read_trailer(std::size_t max_bytes) {
    stream_->read_until(
        "\r\n", {.max_bytes = max_bytes},
        [self = shared_from_this(), max_bytes](std::string_view line) {
          if (line == "\r\n") {
            self->end();
          } else {
            self->read_trailer(max_bytes - line.size());
          }
        });
  }

  // The pieces come as they arrive, and the time that on_piece_ takes is the
  // back-pressure: the stream reads on when it has returned.
  void read_until_close() {
    auto on_piece = [self = shared_from_this()](std::string_view piece) {
      self->on_piece_(piece);
    };
    stream_->read_until_close(
        {.streaming_callback = std::move(on_piece)},
        [self = shared_from_this()](std::string_view) { self->on_close(); });
  }

  // With an error it was no end of the body; whoever set the stream's close
  // callback hears of that next.
  void on_close() {
    if (!stream_->error()) {
      end();
    }
  }

  const std::shared_ptr<waterspout::IOStream> stream_;
  const PieceCallback on_piece_;
  const EndCallback on_end_;
};

}  // namespace

void read_body(std::shared_ptr<waterspout::IOStream> stream,
               const Framing& framing, PieceCallback on_piece,
               EndCallback on_end) {
  std::make_shared<BodyReader>(std::move(stream), std::move(on_piece),
                               std::move(on_end))
      ->start(framing);
}

}  // namespace http_fetch
