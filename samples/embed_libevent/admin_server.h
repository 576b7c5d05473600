// A line protocol for operators: pure libevent, untouched by waterspout.

#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>

#include "embed_libevent/owners.h"

namespace embed_libevent {

/// Understands two lines: "status", which it answers with a line, and "quit".
/// One bufferevent for each connection.
class AdminServer {
 public:
  struct Commands {
    std::function<std::string()> status;  ///< the answer, without its line end
    std::function<void()> quit;
  };

  /// Listens on a free port of 127.0.0.1. `base` outlives the server.
  /// Errors: throws std::runtime_error if it cannot listen.
  AdminServer(event_base* base, Commands commands);

  AdminServer(const AdminServer&) = delete;
  AdminServer& operator=(const AdminServer&) = delete;

  [[nodiscard]] std::uint16_t port() const noexcept { return port_; }

 private:
  // What libevent calls; noexcept as in proxy_server.cc.
  static void on_accept(evconnlistener* listener, evutil_socket_t fd,
                        sockaddr* address, int size, void* self) noexcept;
  static void on_readable(bufferevent* connection, void* self) noexcept;
  static void on_event(bufferevent* connection, short what,
                       void* self) noexcept;
  void run_lines(bufferevent* connection);
  void run_line(bufferevent* connection, const std::string& line);

  event_base* const base_;
  const Commands commands_;
  Listener listener_;
  std::uint16_t port_ = 0;
  std::map<bufferevent*, BufferEvent> connections_;
};

}  // namespace embed_libevent
