#include "http_fetch/url.h"

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <stdexcept>
#include <system_error>
#include <vector>

#include "waterspout/address.h"
#include "waterspout/resolver.h"

#include "http_fetch/text.h"

namespace http_fetch {

namespace {

constexpr std::uint16_t kHttpPort = 80;
constexpr std::uint16_t kHttpsPort = 443;
// With the dot that may stand behind it.
constexpr std::size_t kLongestHost = waterspout::Resolver::kLongestName + 1;

[[noreturn]] void refuse(const std::string& reason) {
  throw std::runtime_error("bad URL: " + reason);
}

// What a request line cannot carry must not get into it: a space would end the
// target early, a line end would begin a header of somebody else's choice.
void check_characters(std::string_view text) {
  const bool printable = std::all_of(
      text.begin(), text.end(), [](char c) { return c > ' ' && c < '\x7f'; });
  if (!printable) {
    refuse(
        "a space, a control character or a byte beyond ASCII in it (write "
        "it as %XX)");
  }
}

bool is_scheme(std::string_view text) {
  return !text.empty() && is_letter(text.front()) &&
         std::all_of(text.begin(), text.end(), [](char c) {
           return is_letter(c) || is_digit(c) || c == '+' || c == '-' ||
                  c == '.';
         });
}

// "http" of "http://host/", nothing of "/path:with/colon".
std::string_view scheme_of(std::string_view text) {
  const std::string_view scheme = text.substr(0, text.find(':'));
  return scheme.size() < text.size() && is_scheme(scheme) ? scheme
                                                          : std::string_view();
}

std::string scheme_name(bool secure) { return secure ? "https" : "http"; }

std::uint16_t default_port(bool secure) {
  return secure ? kHttpsPort : kHttpPort;
}

bool is_secure(std::string_view scheme) {
  const bool secure = same_ignoring_case(scheme, "https");
  if (!secure && !same_ignoring_case(scheme, "http")) {
    throw std::runtime_error("scheme '" + std::string(scheme) +
                             "' is not supported, only http and https");
  }
  return secure;
}

std::uint16_t parse_port(std::string_view text) {
  std::uint16_t port = 0;
  const auto [end, error] =
      std::from_chars(text.data(), text.data() + text.size(), port);
  if (error != std::errc() || end != text.data() + text.size() || port == 0) {
    refuse("'" + std::string(text) + "' is no port (1 to 65535)");
  }
  return port;
}

bool is_ipv6(std::string_view literal) try {
  const waterspout::Address address(literal, kHttpPort);
  return literal.find(':') != std::string_view::npos;
} catch (const std::invalid_argument&) {
  return false;
}

// The inside of the brackets. RFC 6874 writes the '%' before a zone as "%25".
std::string parse_ipv6_literal(std::string_view text) {
  std::string literal(text);
  if (const auto zone = literal.find("%25"); zone != std::string::npos) {
    literal.replace(zone, 3, "%");
  }
  if (!is_ipv6(std::string_view(literal).substr(0, literal.find('%')))) {
    refuse("'[" + literal + "]' is no IPv6 address");
  }
  return literal;
}

std::string parse_host_name(std::string_view text) {
  const bool valid =
      !text.empty() && text.size() <= kLongestHost &&
      std::all_of(text.begin(), text.end(), [](char c) {
        return is_letter(c) || is_digit(c) || c == '-' || c == '.' || c == '_';
      });
  if (!valid) {
    refuse("'" + std::string(text.substr(0, kLongestHost)) +
           "' is no host name");
  }
  return lower_case(text);
}

// Splits "host:port" and "[literal]:port" into the two; the port keeps its
// colon and may be missing.
struct HostAndPort {
  std::string host;
  std::string_view port;
};

HostAndPort split_authority(std::string_view authority) {
  if (authority.substr(0, 1) == "[") {
    const auto bracket = authority.find(']');
    if (bracket == std::string_view::npos) {
      refuse("a '[' without its ']'");
    }
    return {parse_ipv6_literal(authority.substr(1, bracket - 1)),
            authority.substr(bracket + 1)};
  }
  const auto colon = std::min(authority.find(':'), authority.size());
  if (authority.find(':', colon + 1) != std::string_view::npos) {
    refuse("more than one ':' in '" + std::string(authority) +
           "' (an IPv6 address goes into brackets)");
  }
  return {parse_host_name(authority.substr(0, colon)), authority.substr(colon)};
}

void parse_authority(std::string_view authority, Url& url) {
  if (authority.find('@') != std::string_view::npos) {
    refuse("a user name in it (send one with -H 'Authorization: ...')");
  }
  auto [host, port] = split_authority(authority);
  if (!port.empty() && port.front() != ':') {
    refuse("'" + std::string(port) + "' behind the ']'");
  }
  url.host = std::move(host);
  url.port =
      port.size() > 1 ? parse_port(port.substr(1)) : default_port(url.secure);
}

std::string_view without_fragment(std::string_view text) {
  return text.substr(0, text.find('#'));
}

std::string_view path_of(std::string_view target) {
  return target.substr(0, target.find('?'));
}

// RFC 3986, section 5.2.4, for a path that begins with '/'.
std::string remove_dot_segments(std::string_view path) {
  std::vector<std::string_view> kept;
  bool ends_in_slash = false;
  while (!path.empty()) {
    path.remove_prefix(1);  // the '/'
    const std::string_view segment = path.substr(0, path.find('/'));
    path.remove_prefix(segment.size());
    ends_in_slash = segment == "." || segment == "..";
    if (segment == ".." && !kept.empty()) {
      kept.pop_back();
    }
    if (!ends_in_slash) {
      kept.push_back(segment);
    }
  }
  std::string result;
  for (const std::string_view segment : kept) {
    result.append("/").append(segment);
  }
  return ends_in_slash ? result + '/' : result;
}

std::string merge(std::string_view base, std::string_view reference) {
  if (reference.empty()) {
    return std::string(base);
  }
  if (reference.front() == '/') {
    return std::string(reference);
  }
  const std::string_view path = path_of(base);
  const std::string_view kept =
      reference.front() == '?' ? path : path.substr(0, path.rfind('/') + 1);
  return std::string(kept).append(reference);
}

}  // namespace

std::string Url::authority() const {
  std::string text = host.substr(0, host.find('%'));
  if (text.find(':') != std::string::npos) {
    text = '[' + text + ']';
  }
  return port == default_port(secure) ? text
                                      : text + ':' + std::to_string(port);
}

std::string Url::to_string() const {
  return scheme_name(secure) + "://" + authority() + target;
}

bool Url::same_origin(const Url& other) const {
  return secure == other.secure && host == other.host && port == other.port;
}

Url parse_url(std::string_view text) {
  check_characters(text);
  const std::string_view scheme = scheme_of(text);
  std::string_view rest = without_fragment(text).substr(scheme.size());
  if (scheme.empty() || rest.substr(0, 3) != "://") {
    refuse("it does not begin with http:// or https://");
  }
  rest.remove_prefix(3);

  Url url;
  url.secure = is_secure(scheme);
  const auto target = std::min(rest.find_first_of("/?"), rest.size());
  parse_authority(rest.substr(0, target), url);
  url.target = merge("/", rest.substr(target));
  return url;
}

Url resolve_reference(const Url& base, std::string_view reference) {
  check_characters(reference);
  Url url = base;
  if (!scheme_of(reference).empty()) {
    url = parse_url(reference);
  } else if (reference.substr(0, 2) == "//") {
    url = parse_url(scheme_name(base.secure) + ':' + std::string(reference));
  } else {
    url.target = merge(base.target, without_fragment(reference));
  }
  const std::string_view path = path_of(url.target);
  url.target = remove_dot_segments(path) + url.target.substr(path.size());
  return url;
}

}  // namespace http_fetch
