#pragma once

#include <string_view>

namespace http_server {

/// What a file holds, to judge by the suffix of its name, whatever the case:
/// "text/html; charset=utf-8". Lives for ever.
[[nodiscard]] std::string_view content_type(std::string_view path) noexcept;

}  // namespace http_server
