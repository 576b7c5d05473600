#include <cerrno>
#include <string>

#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "waterspout/netutil.h"

#include "base/throw_errno.h"
#include "net/listener.h"

namespace waterspout {
namespace {

constexpr const char* kBindUnixSocket = "bind_unix_socket";

bool somebody_listens(const Address& address) {
  const Socket probe = make_socket(AF_UNIX);
  if (!probe) {
    throw_errno(errno, kBindUnixSocket, address.to_string());
  }
  const int result = ::connect(probe.fileno(), address.data(),
                               static_cast<socklen_t>(address.size()));
  // A full queue (EAGAIN) or a refused permission is somebody, too.
  return result == 0 || (errno != ECONNREFUSED && errno != ENOENT);
}

void remove_stale_file(const std::string& path, const Address& address) {
  struct stat status {};
  if (::lstat(path.c_str(), &status) != 0) {
    if (errno == ENOENT) {
      return;
    }
    throw_errno(errno, kBindUnixSocket, address.to_string());
  }
  if (!S_ISSOCK(status.st_mode)) {
    throw_errno(EEXIST, kBindUnixSocket,
                address.to_string() + ": is no socket");
  }
  if (somebody_listens(address)) {
    throw_errno(EADDRINUSE, kBindUnixSocket, address.to_string());
  }
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) {
    throw_errno(errno, kBindUnixSocket, address.to_string());
  }
}

}  // namespace

Socket bind_unix_socket(std::string_view path, UnixSocketOptions options) {
  check_backlog(options.backlog, kBindUnixSocket);
  const Address address = Address::unix_path(path);
  const std::string object = address.to_string();
  const bool abstract = path.front() == '\0';
  const std::string file(abstract ? std::string_view() : path);
  if (!abstract) {
    remove_stale_file(file, address);
  }
  Socket socket = make_socket(AF_UNIX);
  if (!socket) {
    throw_errno(errno, kBindUnixSocket, object);
  }
  bind_socket(socket, address, kBindUnixSocket, object);
  // Before it listens: until then connecting is refused.
  if (!abstract && ::chmod(file.c_str(), options.mode) != 0) {
    const int code = errno;
    ::unlink(file.c_str());
    throw_errno(code, kBindUnixSocket, object);
  }
  listen_on(socket, options.backlog, kBindUnixSocket, object);
  return socket;
}

}  // namespace waterspout
