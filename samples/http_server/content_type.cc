#include "http_server/content_type.h"

#include <algorithm>
#include <array>

#include "http_fetch/text.h"

namespace http_server {

namespace {

struct Type {
  std::string_view suffix;
  std::string_view name;
};

constexpr std::string_view kUnknown = "application/octet-stream";

constexpr std::array kTypes = {
    Type{"avif", "image/avif"},
    Type{"bz2", "application/x-bzip2"},
    Type{"cc", "text/plain; charset=utf-8"},
    Type{"css", "text/css; charset=utf-8"},
    Type{"csv", "text/csv; charset=utf-8"},
    Type{"gif", "image/gif"},
    Type{"gz", "application/gzip"},
    Type{"h", "text/plain; charset=utf-8"},
    Type{"htm", "text/html; charset=utf-8"},
    Type{"html", "text/html; charset=utf-8"},
    Type{"ico", "image/vnd.microsoft.icon"},
    Type{"jpeg", "image/jpeg"},
    Type{"jpg", "image/jpeg"},
    Type{"js", "text/javascript; charset=utf-8"},
    Type{"json", "application/json"},
    Type{"log", "text/plain; charset=utf-8"},
    Type{"md", "text/markdown; charset=utf-8"},
    Type{"mjs", "text/javascript; charset=utf-8"},
    Type{"mp3", "audio/mpeg"},
    Type{"mp4", "video/mp4"},
    Type{"ogg", "audio/ogg"},
    Type{"pdf", "application/pdf"},
    Type{"png", "image/png"},
    Type{"svg", "image/svg+xml"},
    Type{"tar", "application/x-tar"},
    Type{"txt", "text/plain; charset=utf-8"},
    Type{"wasm", "application/wasm"},
    Type{"wav", "audio/wav"},
    Type{"webm", "video/webm"},
    Type{"webp", "image/webp"},
    Type{"woff", "font/woff"},
    Type{"woff2", "font/woff2"},
    Type{"xml", "application/xml"},
    Type{"xz", "application/x-xz"},
    Type{"zip", "application/zip"},
};

}  // namespace

std::string_view content_type(std::string_view path) noexcept {
  const std::string_view name = path.substr(path.rfind('/') + 1);
  const auto dot = name.rfind('.');
  if (dot == std::string_view::npos) {
    return kUnknown;
  }
  const std::string_view suffix = name.substr(dot + 1);
  const auto* const found =
      std::find_if(kTypes.begin(), kTypes.end(), [&](const Type& type) {
        return http_fetch::same_ignoring_case(type.suffix, suffix);
      });
  return found == kTypes.end() ? kUnknown : found->name;
}

}  // namespace http_server
