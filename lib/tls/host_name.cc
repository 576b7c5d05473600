#include "tls/host_name.h"

#include <algorithm>
#include <array>
#include <stdexcept>

#include <arpa/inet.h>

#include "waterspout/error.h"

namespace waterspout {
namespace {

constexpr std::size_t kLongestName = 253;  // RFC 1035, without the last dot

bool is_ip_address(const std::string& text) {
  std::array<unsigned char, sizeof(in6_addr)> address{};
  return ::inet_pton(AF_INET, text.c_str(), address.data()) == 1 ||
         ::inet_pton(AF_INET6, text.c_str(), address.data()) == 1;
}

// What stands in names and addresses; a NUL or a space would cut the name short
// somewhere below.
bool is_name_byte(char byte) {
  return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') ||
         (byte >= '0' && byte <= '9') ||
         std::string_view("-._:").find(byte) != std::string_view::npos;
}

}  // namespace

HostName parse_host_name(std::string_view name) {
  std::string_view text = name;
  if (text.size() > 2 && text.front() == '[' && text.back() == ']') {
    text = text.substr(1, text.size() - 2);
  } else if (text.ends_with('.')) {
    text.remove_suffix(1);
  }
  HostName host{std::string(text), false};
  host.is_address = is_ip_address(host.text);
  const bool is_name = !text.empty() && text.size() <= kLongestName &&
                       std::all_of(text.begin(), text.end(), is_name_byte) &&
                       text.find(':') == std::string_view::npos;
  if (!is_name && !host.is_address) {
    throw std::invalid_argument("server_hostname: " + escape_bytes(name, 64) +
                                ": is no host name");
  }
  return host;
}

std::string lower_case(std::string_view name) {
  std::string text(name);
  for (char& byte : text) {
    if (byte >= 'A' && byte <= 'Z') {
      byte = static_cast<char>(byte - 'A' + 'a');
    }
  }
  return text;
}

}  // namespace waterspout
