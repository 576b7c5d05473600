#include "stream/read_buffer.h"

namespace waterspout {

std::string ReadBuffer::take_all() {
  std::string bytes;
  bytes.reserve(size());
  while (has_stored()) {
    const std::string_view piece = stored().front();
    bytes.append(piece);
    stored().consume(piece.size());
  }
  bytes.append(incoming_);
  clear();
  return bytes;
}

}  // namespace waterspout
