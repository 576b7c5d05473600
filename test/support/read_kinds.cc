#include "support/read_kinds.h"

#include <functional>
#include <string_view>
#include <utility>
#include <vector>

namespace waterspout::test {

const std::vector<ReadKind>& read_kinds() {
  static const std::vector<ReadKind> kinds = {
      {"read_until",
       [](IOStream& stream, IOStream::ReadCallback callback) {
         stream.read_until("\n", std::move(callback));
       }},
      {"read_until with a bound",
       [](IOStream& stream, IOStream::ReadCallback callback) {
         stream.read_until("\n", {.max_bytes = 4}, std::move(callback));
       }},
      {"read_bytes",
       [](IOStream& stream, IOStream::ReadCallback callback) {
         stream.read_bytes(4, std::move(callback));
       }},
      {"partial read_bytes",
       [](IOStream& stream, IOStream::ReadCallback callback) {
         stream.read_bytes(4, {.partial = true}, std::move(callback));
       }},
      {"streaming read_bytes",
       [](IOStream& stream, IOStream::ReadCallback callback) {
         stream.read_bytes(4, {.streaming_callback = [](std::string_view) {}},
                           std::move(callback));
       }},
      {"read_until_close",
       [](IOStream& stream, IOStream::ReadCallback callback) {
         stream.read_until_close(std::move(callback));
       }},
      {"streaming read_until_close",
       [](IOStream& stream, IOStream::ReadCallback callback) {
         stream.read_until_close(
             {.streaming_callback = [](std::string_view) {}},
             std::move(callback));
       }},
  };
  return kinds;
}

const std::vector<ReadKind>& wrong_reads() {
  static const std::vector<ReadKind> kinds = {
      {"read_until of an empty delimiter",
       [](IOStream& stream, IOStream::ReadCallback callback) {
         stream.read_until("", std::move(callback));
       }},
      {"read_bytes both partial and streaming",
       [](IOStream& stream, IOStream::ReadCallback callback) {
         stream.read_bytes(
             4,
             {.partial = true, .streaming_callback = [](std::string_view) {}},
             std::move(callback));
       }},
      {"read_until without a callback",
       [](IOStream& stream, const IOStream::ReadCallback&) {
         stream.read_until("\n", nullptr);
       }},
      {"read_bytes without a callback",
       [](IOStream& stream, const IOStream::ReadCallback&) {
         stream.read_bytes(4, std::function<void(std::string_view)>());
       }},
      {"read_bytes of nothing without a callback",
       [](IOStream& stream, const IOStream::ReadCallback&) {
         stream.read_bytes(0, nullptr);
       }},
      {"read_until_close without a callback",
       [](IOStream& stream, const IOStream::ReadCallback&) {
         stream.read_until_close(nullptr);
       }},
      {"read_until_regex without a callback",
       [](IOStream& stream, const IOStream::ReadCallback&) {
         stream.read_until_regex("a", nullptr);
       }},
  };
  return kinds;
}

}  // namespace waterspout::test
