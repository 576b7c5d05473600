// The steps that all listening sockets share.

#pragma once

#include <string_view>

#include "waterspout/netutil.h"

namespace waterspout {

/// A non-blocking stream socket, closed on exec; none, with errno, where the
/// kernel refuses.
[[nodiscard]] Socket make_socket(int family) noexcept;

/// Errors of those below: throw std::system_error "operation: object: reason".
void set_option(const Socket& socket, int level, int option,
                std::string_view operation, std::string_view object);
void bind_socket(const Socket& socket, const Address& address,
                 std::string_view operation, std::string_view object);
void listen_on(const Socket& socket, int backlog, std::string_view operation,
               std::string_view object);

/// Throws std::invalid_argument unless `backlog` is positive.
void check_backlog(int backlog, std::string_view operation);

/// Makes a socket that somebody else has made non-blocking and closed on exec.
/// Errors: throws std::system_error EBADF, ENOTSOCK, or EINVAL if it does not
///   listen.
void prepare_listener(int fd, std::string_view operation);

}  // namespace waterspout
