// Listening sockets: how they are bound, inherited, and refused.

#include "waterspout/netutil.h"

#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <doctest/doctest.h>

#include "waterspout/error.h"

#include "support/child_process.h"
#include "support/fd_count.h"
#include "support/sockets.h"
#include "support/temp_dir.h"

using waterspout::Address;
using waterspout::bind_sockets;
using waterspout::bind_unix_socket;
using waterspout::inherited_sockets;
using waterspout::is_valid_ip;
using waterspout::Socket;
using waterspout::test::connect_to;
using waterspout::test::exited_with;
using waterspout::test::fd_count;
using waterspout::test::run_in_child;
using waterspout::test::TempDir;
using waterspout::test::UniquePeerFd;

namespace {

int option(const Socket& socket, int level, int name) {
  int value = -1;
  socklen_t size = sizeof value;
  CHECK(getsockopt(socket.fileno(), level, name, &value, &size) == 0);
  return value;
}

// What a call throws as std::system_error.
template <class Function>
std::system_error error_of(Function function) {
  try {
    static_cast<void>(function());
  } catch (const std::system_error& error) {
    return error;
  }
  return {std::error_code(), "nothing was thrown"};
}

bool says(const std::system_error& error, std::string_view part) {
  return std::string_view(error.what()).find(part) != std::string_view::npos;
}

mode_t mode_of(const std::string& path) {
  struct stat status {};
  CHECK(stat(path.c_str(), &status) == 0);
  return status.st_mode & 0777U;
}

}  // namespace

TEST_SUITE_BEGIN("netutil");

TEST_CASE(
    "bind_sockets gives sockets that listen, non-blocking, closed on "
    "exec, and reuse the address") {
  const std::vector<Socket> sockets = bind_sockets(0, "127.0.0.1");
  REQUIRE(sockets.size() == 1);
  const Socket& socket = sockets.front();
  CHECK(socket.local_address().ip() == "127.0.0.1");
  CHECK(socket.local_address().port() != 0);
  CHECK((fcntl(socket.fileno(), F_GETFL) & O_NONBLOCK) != 0);
  CHECK((fcntl(socket.fileno(), F_GETFD) & FD_CLOEXEC) != 0);
  CHECK(option(socket, SOL_SOCKET, SO_REUSEADDR) == 1);
  CHECK(option(socket, SOL_SOCKET, SO_REUSEPORT) == 0);
  CHECK(option(socket, SOL_SOCKET, SO_ACCEPTCONN) == 1);
  CHECK(connect_to(socket.local_address()).get() >= 0);
}

TEST_CASE(
    "bind_sockets uses one automatic port for all families "
    "(test_same_port_allocation)") {
  for (const std::string_view name : {"localhost", ""}) {
    CAPTURE(name);
    const std::vector<Socket> sockets = bind_sockets(0, name);
    REQUIRE(!sockets.empty());
    const std::uint16_t port = sockets.front().local_address().port();
    CHECK(port != 0);
    for (const Socket& socket : sockets) {
      CHECK(socket.local_address().port() == port);
    }
    CHECK(sockets.front().local_address().family() == AF_INET);
  }
}

TEST_CASE(
    "bind_sockets listens on both families on all interfaces, each for "
    "itself (N-3)") {
  const std::vector<Socket> sockets = bind_sockets(0);
  REQUIRE(sockets.size() == 2);
  CHECK(sockets[0].local_address().ip() == "0.0.0.0");
  CHECK(sockets[1].local_address().ip() == "::");
  CHECK(option(sockets[1], IPPROTO_IPV6, IPV6_V6ONLY) == 1);
  const std::uint16_t port = sockets[0].local_address().port();
  CHECK(connect_to(Address("127.0.0.1", port)).get() >= 0);
  CHECK(connect_to(Address("::1", port)).get() >= 0);
}

TEST_CASE("bind_sockets listens on the family asked for alone") {
  const auto four = bind_sockets(0, "", {.family = AF_INET});
  const auto six = bind_sockets(0, "", {.family = AF_INET6});
  REQUIRE(four.size() == 1);
  REQUIRE(six.size() == 1);
  CHECK(four[0].local_address().family() == AF_INET);
  CHECK(six[0].local_address().family() == AF_INET6);
}

TEST_CASE(
    "bind_sockets shares a port where both ask for it "
    "(test_reuse_port)") {
  const auto first = bind_sockets(0, "127.0.0.1", {.reuse_port = true});
  const std::uint16_t port = first.front().local_address().port();
  const auto second = bind_sockets(port, "127.0.0.1", {.reuse_port = true});
  CHECK(second.front().local_address().port() == port);
  CHECK(option(second.front(), SOL_SOCKET, SO_REUSEPORT) == 1);
}

TEST_CASE(
    "bind_sockets names the address that is in use, and closes what it "
    "has opened (R27)") {
  const auto taken = bind_sockets(0, "127.0.0.1");
  const std::uint16_t port = taken.front().local_address().port();
  const std::size_t before = fd_count();
  const auto error = error_of([&] { return bind_sockets(port, "127.0.0.1"); });
  CHECK(error.code() == std::errc::address_in_use);
  CHECK(says(error, "bind_sockets: 127.0.0.1:" + std::to_string(port) + ": "));
  // The other family is free; what was bound on it goes again.
  const auto six = bind_sockets(0, "::1");
  const std::uint16_t six_port = six.front().local_address().port();
  const std::size_t with_six = fd_count();
  CHECK(error_of([&] { return bind_sockets(six_port, ""); }).code() ==
        std::errc::address_in_use);
  CHECK(fd_count() == with_six);
  CHECK(with_six == before + 1);
}

TEST_CASE("bind_sockets refuses an address that is not this machine's") {
  const auto error = error_of([] { return bind_sockets(0, "192.0.2.1"); });
  CHECK(error.code() == std::errc::address_not_available);
  CHECK(says(error, "192.0.2.1"));
}

TEST_CASE("bind_sockets tells why a name cannot be resolved") {
  const auto error =
      error_of([] { return bind_sockets(0, "no.such.host.invalid"); });
  CHECK(error.code().category() == waterspout::resolver_category());
  CHECK(says(error, "bind_sockets: no.such.host.invalid:0: "));
  CHECK(std::string_view(error.code().category().name()) ==
        "waterspout.resolver");
}

TEST_CASE("bind_sockets resolves nothing where the flags forbid it") {
  const auto error = error_of([] {
    return bind_sockets(0, "localhost", {.flags = AI_NUMERICHOST | AI_PASSIVE});
  });
  CHECK(error.code() ==
        std::error_code(EAI_NONAME, waterspout::resolver_category()));
}

TEST_CASE("bind_sockets refuses misuse") {
  CHECK_THROWS_AS(static_cast<void>(bind_sockets(0, "", {.backlog = 0})),
                  std::invalid_argument);
  CHECK_THROWS_AS(static_cast<void>(bind_sockets(0, {"127.0.0.1\0x", 11})),
                  std::invalid_argument);
}

TEST_CASE("A Socket closes its descriptor unless it gave it away") {
  const std::size_t before = fd_count();
  {
    std::vector<Socket> sockets = bind_sockets(0, "127.0.0.1");
    Socket first = std::move(sockets.front());
    CHECK(!sockets.front());
    CHECK(sockets.front().fileno() == -1);
    Socket second;
    second = std::move(first);
    const int fd = second.release();
    CHECK(!second);
    second = Socket(fd);
    second.close();
    second.close();
    CHECK(!second);
  }
  CHECK(fd_count() == before);
  CHECK_THROWS_AS(static_cast<void>(Socket().local_address()),
                  std::system_error);
}

TEST_CASE("bind_unix_socket makes a file with its mode that accepts clients") {
  const TempDir dir;
  const std::string path = dir.path("a.sock");
  const Socket socket = bind_unix_socket(path);
  CHECK(mode_of(path) == 0600);
  CHECK(connect_to(Address::unix_path(path)).get() >= 0);
  const std::string open_to_all = dir.path("b.sock");
  const Socket other = bind_unix_socket(open_to_all, {.mode = 0666});
  CHECK(mode_of(open_to_all) == 0666);
  CHECK((fcntl(socket.fileno(), F_GETFL) & O_NONBLOCK) != 0);
  CHECK((fcntl(socket.fileno(), F_GETFD) & FD_CLOEXEC) != 0);
}

TEST_CASE("bind_unix_socket replaces a socket file on which nobody listens") {
  const TempDir dir;
  const std::string path = dir.path("stale.sock");
  bind_unix_socket(path).close();
  CHECK(access(path.c_str(), F_OK) == 0);
  const Socket socket = bind_unix_socket(path);
  CHECK(connect_to(Address::unix_path(path)).get() >= 0);
}

TEST_CASE(
    "bind_unix_socket leaves a socket file alone on which somebody "
    "listens") {
  const TempDir dir;
  const std::string path = dir.path("live.sock");
  const Socket live = bind_unix_socket(path);
  const auto error = error_of([&] { return bind_unix_socket(path); });
  CHECK(error.code() == std::errc::address_in_use);
  CHECK(says(error, path));
  CHECK(connect_to(Address::unix_path(path)).get() >= 0);
}

TEST_CASE("bind_unix_socket refuses to remove anything but a socket (N-7)") {
  const TempDir dir;
  const std::string file = dir.path("file");
  close(open(file.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
  const std::string link = dir.path("link");
  REQUIRE(symlink(file.c_str(), link.c_str()) == 0);
  for (const std::string& path : {file, link, dir.path()}) {
    CAPTURE(path);
    const auto error = error_of([&] { return bind_unix_socket(path); });
    CHECK(error.code() == std::errc::file_exists);
    CHECK(says(error, path));
  }
  CHECK(access(file.c_str(), F_OK) == 0);
}

TEST_CASE("bind_unix_socket binds abstract names, which leave no file") {
  std::string name("\0waterspout-netutil-", 20);
  name += std::to_string(getpid());
  const Socket socket = bind_unix_socket(name);
  CHECK(connect_to(Address::unix_path(name)).get() >= 0);
  CHECK(error_of([&] { return bind_unix_socket(name); }).code() ==
        std::errc::address_in_use);
}

TEST_CASE("bind_unix_socket tells what it cannot bind") {
  const TempDir dir;
  const auto error =
      error_of([&] { return bind_unix_socket(dir.path("none/a.sock")); });
  CHECK(error.code() == std::errc::no_such_file_or_directory);
  CHECK_THROWS_AS(static_cast<void>(bind_unix_socket("")),
                  std::invalid_argument);
  CHECK_THROWS_AS(static_cast<void>(bind_unix_socket(std::string(108, 'x'))),
                  std::invalid_argument);
  CHECK_THROWS_AS(
      static_cast<void>(bind_unix_socket(dir.path("x"), {.backlog = 0})),
      std::invalid_argument);
}

namespace {

// In a child: descriptors 3 and up as systemd passes them.
void pass(const std::vector<int>& fds, const std::string& count) {
  int next = 3;
  for (const int fd : fds) {
    dup2(fd, next++);
  }
  setenv("LISTEN_PID", std::to_string(getpid()).c_str(), 1);
  setenv("LISTEN_FDS", count.c_str(), 1);
  setenv("LISTEN_FDNAMES", "a:b", 1);
}

}  // namespace

TEST_CASE("inherited_sockets takes what systemd passes, once") {
  const auto first = bind_sockets(0, "127.0.0.1");
  const auto second = bind_sockets(0, "127.0.0.1");
  const int status = run_in_child([&] {
    const int one = fcntl(first[0].fileno(), F_DUPFD, 100);
    const int two = fcntl(second[0].fileno(), F_DUPFD, 100);
    pass({one, two}, "2");
    const std::vector<Socket> sockets = inherited_sockets();
    const bool same = sockets.size() == 2 && sockets[0].fileno() == 3 &&
                      sockets[1].local_address() == second[0].local_address();
    const bool prepared = (fcntl(3, F_GETFD) & FD_CLOEXEC) != 0 &&
                          (fcntl(4, F_GETFL) & O_NONBLOCK) != 0;
    const bool once =
        getenv("LISTEN_FDS") == nullptr && getenv("LISTEN_PID") == nullptr &&
        getenv("LISTEN_FDNAMES") == nullptr && inherited_sockets().empty();
    return same && prepared && once ? 0 : 1;
  });
  CHECK(exited_with(status, 0));
}

TEST_CASE(
    "inherited_sockets takes nothing that was meant for another "
    "process, or by nobody") {
  CHECK(inherited_sockets().empty());
  const int status = run_in_child([] {
    setenv("LISTEN_PID", std::to_string(getppid()).c_str(), 1);
    setenv("LISTEN_FDS", "3", 1);
    return inherited_sockets().empty() ? 0 : 1;
  });
  CHECK(exited_with(status, 0));
}

TEST_CASE("inherited_sockets refuses what does not listen") {
  const auto error_in_child = [](int fd, const std::string& count) {
    const int status = run_in_child([&] {
      pass({fcntl(fd, F_DUPFD, 100)}, count);
      try {
        static_cast<void>(inherited_sockets());
      } catch (const std::system_error& error) {
        return error.code().value();
      } catch (const std::invalid_argument&) {
        return 97;
      }
      return 0;
    });
    return WEXITSTATUS(status);
  };
  const UniquePeerFd plain(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const auto good = bind_sockets(0, "127.0.0.1");
  const Socket file(open("/dev/null", O_RDONLY | O_CLOEXEC));
  CHECK(error_in_child(plain.get(), "1") == EINVAL);
  CHECK(error_in_child(file.fileno(), "1") == ENOTSOCK);
  CHECK(error_in_child(good[0].fileno(), "900") != 0);
  CHECK(error_in_child(good[0].fileno(), "one") == 97);
  CHECK(error_in_child(good[0].fileno(), "-1") == 97);
}

TEST_CASE(
    "is_valid_ip knows literals of both families from anything else "
    "(test_is_valid_ip)") {
  for (const std::string_view good :
       {"127.0.0.1", "4.4.4.4", "0.0.0.0", "255.255.255.255", "::1",
        "::", "2620:0:1cfe:face:b00c::3", "::ffff:127.0.0.1", "fe80::1%lo",
        "fe80::1%1"}) {
    CAPTURE(good);
    CHECK(is_valid_ip(good));
  }
  const std::string longest(10'000, '1');
  for (const std::string_view bad : {std::string_view("www.google.com"),
                                     std::string_view("localhost"),
                                     std::string_view("4.4.4.4<"),
                                     std::string_view(" 127.0.0.1"),
                                     std::string_view("127.0.0.1 "),
                                     std::string_view(""),
                                     std::string_view(" "),
                                     std::string_view("\n"),
                                     std::string_view("\0", 1),
                                     std::string_view("127.0.0.1\0", 10),
                                     std::string_view("1"),
                                     std::string_view("127.1"),
                                     std::string_view("0x7f.1"),
                                     std::string_view("256.0.0.1"),
                                     std::string_view("[::1]"),
                                     std::string_view("::1]"),
                                     std::string_view("::1%"),
                                     std::string_view("::1%no-such-if"),
                                     std::string_view("127.0.0.1:80"),
                                     std::string_view(longest)}) {
    CAPTURE(bad);
    CHECK(!is_valid_ip(bad));
  }
}

TEST_SUITE_END();
