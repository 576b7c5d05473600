// Listening sockets: making them, inheriting them, and accepting from them.
//
//   for (const Socket& socket : bind_sockets(8888)) { ... }
//
// Floor 3, net. Servers rarely need it: TCPServer (tcpserver.h) does all of it.

#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include "waterspout/address.h"
#include "waterspout/callback.h"
#include "waterspout/export.h"
#include "waterspout/ioloop.h"

namespace waterspout {

/// Owns a socket and closes it when it goes. A value that moves; for any
/// thread.
class WATERSPOUT_API Socket {
 public:
  Socket() noexcept = default;  ///< no socket

  /// Owns `fd` from now on.
  explicit Socket(int fd) noexcept : fd_(fd) {}

  Socket(Socket&& other) noexcept : fd_(other.release()) {}
  Socket& operator=(Socket&& other) noexcept;
  ~Socket() {
    if (fd_ >= 0) {
      close();
    }
  }

  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;

  /// The descriptor, still this object's; -1 if it has none.
  [[nodiscard]] int fileno() const noexcept { return fd_; }
  explicit operator bool() const noexcept { return fd_ >= 0; }

  /// Gives the descriptor away.
  [[nodiscard]] int release() noexcept { return std::exchange(fd_, -1); }

  /// Closes now; a second call does nothing.
  void close() noexcept;

  /// What it is bound to. Errors: throws std::system_error (getsockname(2)).
  [[nodiscard]] Address local_address() const;

 private:
  int fd_ = -1;
};

struct BindOptions {
  /// AF_INET or AF_INET6 (of <sys/socket.h>) for one family alone; AF_UNSPEC,
  /// which is 0, for both.
  int family = 0;
  /// Connections that the kernel may hold until they are accepted; it cuts it
  /// to net.core.somaxconn. Tornado: 128, at which a burst of clients waits a
  /// second for its second SYN.
  int backlog = 4096;
  /// AI_ flags of getaddrinfo(3). -1: AI_PASSIVE.
  int flags = -1;
  /// SO_REUSEPORT (socket(7)): several sockets, as one in each process, listen
  /// on one port, and the kernel spreads the connections.
  bool reuse_port = false;
};

/// Listening TCP sockets, one for each address that `address` stands for: an IP
/// literal, a host name (looked up with getaddrinfo(3), which may block), or ""
/// for all interfaces. IPv4 comes first.
///
/// They are non-blocking, closed on exec and reuse the address; those of IPv6
/// take IPv6 alone. With port 0 the kernel picks one port for all of them. A
/// family that the system lacks is skipped, and so is one without a loopback
/// address where `address` is "localhost".
/// Errors: throws std::system_error that names the address: of getaddrinfo's
///   category where the name cannot be resolved, else of errno (EADDRINUSE,
///   EACCES, EADDRNOTAVAIL; EAFNOSUPPORT where no family is left);
///   std::invalid_argument for a backlog below 1 or a name with a NUL. Sockets
///   that were open by then are closed.
/// Tornado: bind_sockets(port, address, family, backlog, flags, reuse_port).
[[nodiscard]] WATERSPOUT_API std::vector<Socket> bind_sockets(
    std::uint16_t port, std::string_view address = {},
    BindOptions options = {});

struct UnixSocketOptions {
  /// Permissions of the socket file, of which connecting needs the writing.
  unsigned mode = 0600;
  int backlog = 4096;
};

/// A listening Unix domain socket (unix(7)), non-blocking and closed on exec.
///
/// `path` is that of a file, or an abstract name if it begins with NUL. A
/// socket file there on which nobody listens is replaced. Nobody can connect
/// before the file has its mode. It is not removed when the socket closes.
/// Errors: throws std::system_error that names the path: EADDRINUSE if somebody
///   listens there, EEXIST if the file is anything but a socket, or what
///   stat(2), bind(2) or chmod(2) say; std::invalid_argument as
///   Address::unix_path, or for a backlog below 1.
/// Tornado: bind_unix_socket(path, mode, backlog), which replaces live ones.
[[nodiscard]] WATERSPOUT_API Socket
bind_unix_socket(std::string_view path, UnixSocketOptions options = {});

/// The listening sockets that the process was started with, as systemd's socket
/// activation passes them (sd_listen_fds(3)): descriptors from 3 on, as many as
/// LISTEN_FDS says, if LISTEN_PID is this process. They become non-blocking and
/// closed on exec. The variables are removed from the environment, so that
/// neither a second call nor a child takes them again.
///
/// Empty if there are none. Thread: none other may use the environment.
/// Errors: throws std::invalid_argument for a LISTEN_FDS that is no count,
///   std::system_error for a descriptor that is closed (EBADF), no socket
///   (ENOTSOCK) or does not listen (EINVAL).
[[nodiscard]] WATERSPOUT_API std::vector<Socket> inherited_sockets();

/// What add_accept_handler returns. A value that moves; destroying it removes
/// the handler. Belongs to the loop's thread; may outlive the loop.
class WATERSPOUT_API AcceptHandler {
 public:
  AcceptHandler() noexcept = default;  ///< no handler
  AcceptHandler(AcceptHandler&& other) noexcept = default;
  AcceptHandler& operator=(AcceptHandler&& other) noexcept;
  ~AcceptHandler() { remove(); }

  AcceptHandler(const AcceptHandler&) = delete;
  AcceptHandler& operator=(const AcceptHandler&) = delete;

  /// Accepts no more, not even in the batch that is under way. The callback is
  /// destroyed, if it is running once it has returned. A second call does
  /// nothing.
  void remove() noexcept;

  /// Leaves clients waiting in the kernel, from now on.
  void pause() noexcept;

  /// Accepts again. Does nothing unless pause() was called. If the kernel
  /// cannot poll the socket now, that is logged, and tried every second.
  void resume() noexcept;

 private:
  struct State;
  friend WATERSPOUT_API AcceptHandler add_accept_handler(
      IOLoop& loop, int fd, Callback<void(Socket, const Address&)> callback);

  explicit AcceptHandler(std::weak_ptr<State> state) noexcept;

  std::weak_ptr<State> state_;  // the loop holds it
};

/// Calls `callback(connection, peer)` for every connection that the listening
/// socket `fd` accepts, non-blocking and closed on exec, at once after each
/// accept. At most 128 are accepted in a turn of the loop, so that a storm of
/// clients leaves room for others; and no more than waited before, until it
/// shows that more do, since asking the kernel in vain is not cheap.
///
/// A connection that failed before it was accepted is skipped. Where the
/// process or the system is short of descriptors or of memory (EMFILE, ENFILE,
/// ENOBUFS, ENOMEM), clients wait in the kernel while accepting pauses for a
/// tenth of a second, again and again until there is room; a warning is logged
/// when that begins, at most every five seconds. Any other failure of accept(2)
/// is logged as an error, and accepting pauses for a second.
///
/// What `callback` throws goes to IOLoop::handle_callback_exception, unless a
/// context handles it; the connection is closed if the callback has not taken
/// it, and accepting goes on in the next turn.
/// Lifetime: `fd` stays the caller's, who removes the handler before closing
///   it; it becomes non-blocking and closed on exec.
/// Errors: throws std::invalid_argument for an empty callback, std::logic_error
///   and std::system_error as IOLoop::add_handler, the latter also if `fd` is
///   no socket (ENOTSOCK) or does not listen (EINVAL).
/// Tornado: add_accept_handler(sock, callback).
[[nodiscard]] WATERSPOUT_API AcceptHandler add_accept_handler(
    IOLoop& loop, int fd, Callback<void(Socket, const Address&)> callback);

/// True for an IPv4 or IPv6 literal in the strict forms of inet_pton(3), the
/// latter with or without a zone of this machine ("fe80::1%eth0") but not in
/// brackets. So
/// "127.1", "1", names, the empty string and anything with a NUL are none.
/// Tornado: is_valid_ip(ip), which takes the forms of inet_aton(3) too.
[[nodiscard]] WATERSPOUT_API bool is_valid_ip(std::string_view text) noexcept;

}  // namespace waterspout
