#include "waterspout/address.h"

#include <array>
#include <cstddef>
#include <ostream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>

#include <net/if.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <doctest/doctest.h>

#include "support/sockets.h"

using waterspout::Address;
using waterspout::test::connect_tcp_pair;
using waterspout::test::make_unix_sockets;
using waterspout::test::SocketPair;

namespace {

using namespace std::string_view_literals;

// The message of the std::invalid_argument that `make` throws.
template <class Make>
std::string refusal(Make make) {
  try {
    make();
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return "not refused";
}

std::string refused_ip(std::string_view ip) {
  return refusal([&] { Address(ip, 80); });
}

std::string refused_text(std::string_view text) {
  return refusal([&] { Address::parse(text); });
}

bool names(const std::string& message, std::string_view part) {
  return message != "not refused" && message.find(part) != std::string::npos;
}

}  // namespace

TEST_SUITE_BEGIN("address");

TEST_CASE("Address is a value that is copied without allocation") {
  static_assert(std::is_trivially_copyable_v<Address>);
}

TEST_CASE("Address is none by default") {
  const Address address;

  CHECK(address.family() == AF_UNSPEC);
  CHECK(address.to_string() == "unnamed");
  CHECK(address.port() == 0);
  CHECK(address.ip().empty());
  CHECK(address.size() == 0);
  CHECK(address == Address());
}

TEST_CASE("Address takes an IPv4 literal") {
  const Address address("192.0.2.7", 8080);

  CHECK(address.family() == AF_INET);
  CHECK(address.ip() == "192.0.2.7");
  CHECK(address.port() == 8080);
  CHECK(address.to_string() == "192.0.2.7:8080");
  CHECK(address.size() == sizeof(sockaddr_in));
  CHECK(address.data()->sa_family == AF_INET);
}

TEST_CASE("Address takes an IPv6 literal, with and without brackets") {
  const Address address("2001:db8::0:1", 443);

  CHECK(address.family() == AF_INET6);
  CHECK(address.ip() == "2001:db8::1");
  CHECK(address.port() == 443);
  CHECK(address.to_string() == "[2001:db8::1]:443");
  CHECK(address.size() == sizeof(sockaddr_in6));
  CHECK(Address("[2001:db8::1]", 443) == address);
}

TEST_CASE("Address takes an IPv6 literal with the scope of an interface") {
  const Address by_name("fe80::1%lo", 9);
  const std::string index = std::to_string(if_nametoindex("lo"));

  CHECK(by_name.ip() == "fe80::1%lo");
  CHECK(by_name.to_string() == "[fe80::1%lo]:9");
  CHECK(Address("fe80::1%" + index, 9) == by_name);
  CHECK(Address::parse("[fe80::1%lo]:9") == by_name);
  CHECK_FALSE(Address("fe80::1", 9) == by_name);
}

TEST_CASE("Address refuses what inet_pton refuses, and quotes it") {
  for (const std::string_view ip :
       {"127.1"sv, "localhost"sv, "1.2.3.256"sv, "01.2.3.4"sv, "1.2.3.4 "sv,
        "2130706433"sv, "::g"sv, "1::2::3"sv, "127.0.0.1\0"sv, ":::"sv}) {
    CAPTURE(ip);
    CHECK(refused_ip(ip) != "not refused");
  }
  CHECK(names(refused_ip("no.such.host"), "\"no.such.host\""));
  CHECK(refused_ip("") != "not refused");
  CHECK(refused_ip("[]") != "not refused");
  CHECK(refused_ip("[::1") != "not refused");
}

TEST_CASE("Address refuses a scope that is empty or names no interface") {
  CHECK(refused_ip("fe80::1%") != "not refused");
  CHECK(names(refused_ip("fe80::1%nosuchif"), "nosuchif"));
}

TEST_CASE("Address refuses brackets around anything but IPv6") {
  CHECK(refused_ip("[127.0.0.1]") != "not refused");
}

TEST_CASE("Address::parse reads what to_string writes") {
  for (const std::string_view text :
       {"127.0.0.1:80"sv, "0.0.0.0:0"sv, "255.255.255.255:65535"sv,
        "[::1]:80"sv, "[::]:0"sv, "[2001:db8::1]:443"sv, "unix:/run/x.sock"sv,
        "unix:relative"sv, "unix:@name"sv}) {
    CAPTURE(text);
    CHECK(Address::parse(text).to_string() == text);
    CHECK(Address::parse(text) ==
          Address::parse(Address::parse(text).to_string()));
  }
}

TEST_CASE("Address::parse reads what to_string writes of printable names") {
  for (const std::string_view path :
       {"/run/a b.sock"sv, "/run/~!@#$%^&*()[]{}:;,.?"sv, "./@relative"sv,
        "\0a:b [::1]:80"sv}) {
    const Address address = Address::unix_path(path);
    CAPTURE(address.to_string());
    CHECK(Address::parse(address.to_string()) == address);
  }
}

TEST_CASE("Address::parse refuses what is no address, and quotes it") {
  for (const std::string_view text :
       {""sv, "127.0.0.1"sv, "127.0.0.1:"sv, ":80"sv, "127.0.0.1:65536"sv,
        "127.0.0.1:-1"sv, "127.0.0.1:+1"sv, "127.0.0.1: 80"sv,
        "127.0.0.1:80 "sv, "127.0.0.1:0x50"sv, "::1:80"sv, "[::1]"sv,
        "[::1]80"sv, "localhost:80"sv, "unix:"sv}) {
    CAPTURE(text);
    CHECK(refused_text(text) != "not refused");
  }
  CHECK(names(refused_text("localhost:80"), "localhost"));
  CHECK(names(refused_text("127.0.0.1:99999"), "\"127.0.0.1:99999\""));
}

TEST_CASE("Address escapes what it quotes") {
  CHECK(names(refused_text("evil\n\x1b[2J"), R"(evil\n\x1b[2J)"));
}

TEST_CASE("Address::unix_path takes a path of up to 107 bytes") {
  const std::string longest(107, 'p');

  CHECK(Address::unix_path(longest).to_string() == "unix:" + longest);
  CHECK(Address::unix_path("/x").family() == AF_UNIX);
  CHECK(Address::unix_path("/x").port() == 0);
  CHECK(Address::unix_path("/x").ip().empty());
  CHECK(names(refusal([&] { Address::unix_path(longest + "p"); }), "pppp"));
}

TEST_CASE(
    "Address::unix_path takes an abstract name of up to 108 bytes with "
    "its NUL") {
  const std::string longest = std::string(1, '\0') + std::string(107, 'a');

  CHECK(Address::unix_path(longest).to_string() ==
        "unix:@" + std::string(107, 'a'));
  CHECK(Address::unix_path(longest) ==
        Address::parse("unix:@" + std::string(107, 'a')));
  CHECK(names(refusal([&] { Address::unix_path(longest + "a"); }), "aaaa"));
}

TEST_CASE("Address::unix_path refuses an empty path and a NUL inside") {
  CHECK(refusal([] { Address::unix_path(""); }) != "not refused");
  CHECK(names(refusal([] { Address::unix_path("/a\0b"sv); }), "/a"));
}

TEST_CASE("Address::unix_path gives the kernel exactly the abstract name") {
  const std::string name =
      std::string(1, '\0') + "waterspout-" + std::to_string(getpid());
  const Address address = Address::unix_path(name);
  CHECK(address.size() == offsetof(sockaddr_un, sun_path) + name.size());

  const waterspout::test::UniquePeerFd socket(
      ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  REQUIRE(bind(socket.get(), address.data(),
               static_cast<socklen_t>(address.size())) == 0);
  CHECK(Address::local_of(socket.get()) == address);
}

TEST_CASE("Address keeps an abstract name of NULs apart from a longer one") {
  const Address shorter = Address::unix_path("\0a"sv);
  const Address longer = Address::unix_path("\0a\0"sv);

  CHECK_FALSE(shorter == longer);
  CHECK(shorter.to_string() != longer.to_string());
}

TEST_CASE("Address compares family, host and port") {
  const Address address("127.0.0.1", 80);

  CHECK(address == Address("127.0.0.1", 80));
  CHECK_FALSE(address == Address("127.0.0.1", 81));
  CHECK_FALSE(address == Address("127.0.0.2", 80));
  CHECK_FALSE(address == Address("::ffff:127.0.0.1", 80));
  CHECK_FALSE(address == Address());
  CHECK_FALSE(address == Address::unix_path("127.0.0.1:80"));
}

TEST_CASE("Address::from_sockaddr takes over what the kernel wrote") {
  const Address original("::1", 7);

  CHECK(Address::from_sockaddr(original.data(), original.size()) == original);
  CHECK(Address::from_sockaddr(nullptr, 0) == Address());
}

TEST_CASE("Address::from_sockaddr refuses a size that no address has") {
  std::array<unsigned char, 256> bytes{};
  const auto* const address = reinterpret_cast<const sockaddr*>(bytes.data());

  CHECK_THROWS_AS(Address::from_sockaddr(address, bytes.size()),
                  std::invalid_argument);
}

TEST_CASE("Address::from_sockaddr stays within an address cut short") {
  const Address whole("127.0.0.1", 80);
  for (std::size_t size = 0; size < whole.size(); ++size) {
    const Address cut = Address::from_sockaddr(whole.data(), size);
    CHECK_FALSE(cut == whole);
    CHECK_FALSE(cut.to_string().empty());
  }
}

TEST_CASE("Address::from_sockaddr reads a path without its closing NUL") {
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  std::string_view("/run/full").copy(name.sun_path, 9);
  const auto* const address = reinterpret_cast<const sockaddr*>(&name);

  CHECK(Address::from_sockaddr(address, offsetof(sockaddr_un, sun_path) + 9)
            .to_string() == "unix:/run/full");
}

TEST_CASE("Address::local_of and peer_of ask the kernel") {
  const SocketPair pair = connect_tcp_pair();

  CHECK(Address::local_of(pair.client.get()).ip() == "127.0.0.1");
  CHECK(Address::local_of(pair.client.get()) ==
        Address::peer_of(pair.server.get()));
  CHECK(Address::local_of(pair.server.get()) ==
        Address::peer_of(pair.client.get()));
}

TEST_CASE("Address::local_of and peer_of of a socket without a name") {
  const SocketPair pair = make_unix_sockets();

  CHECK(Address::local_of(pair.client.get()).to_string() == "unnamed");
  CHECK(Address::peer_of(pair.client.get()).to_string() == "unnamed");
  CHECK(Address::peer_of(pair.client.get()).family() == AF_UNIX);
}

TEST_CASE("Address::local_of and peer_of throw the system's reason") {
  std::error_code code;
  try {
    Address::local_of(-1);
  } catch (const std::system_error& error) {
    code = error.code();
    CHECK(std::string_view(error.what()).starts_with("getsockname: "));
  }
  CHECK(code == std::errc::bad_file_descriptor);

  const waterspout::test::UniquePeerFd socket(
      ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  code.clear();
  try {
    Address::peer_of(socket.get());
  } catch (const std::system_error& error) {
    code = error.code();
    CHECK(std::string_view(error.what()).starts_with("getpeername: "));
  }
  CHECK(code == std::errc::not_connected);
}

TEST_SUITE_END();
