// A line protocol for operators: libevent, as it was, and one command that
// hands its connection to a waterspout stream and takes it back.

#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>

#include "waterspout/ioloop.h"
#include "waterspout/iostream.h"

#include "embed_libevent/owners.h"

namespace embed_libevent {

/// Understands three lines: "status", which it answers with a line, "quit", and
/// "echo". One bufferevent for each connection; after "echo" it is a stream
/// that sends every line back, until the line "back" makes it a bufferevent
/// again.
class AdminServer {
 public:
  struct Commands {
    std::function<std::string()> status;  ///< the answer, without its line end
    std::function<void()> quit;
  };

  /// Listens on a free port of 127.0.0.1. `loop`, and the base that it has
  /// borrowed, outlive the server.
  /// Errors: throws std::runtime_error if it cannot listen.
  AdminServer(waterspout::IOLoop& loop, Commands commands);
  ~AdminServer();

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
  bufferevent* add_connection(evutil_socket_t fd);
  void run_lines(bufferevent* connection);
  bool run_line(bufferevent* connection, const std::string& line);
  void hand_over(bufferevent* connection);
  void take_back(waterspout::IOStream& stream);

  waterspout::IOLoop& loop_;
  const Commands commands_;
  Listener listener_;
  std::uint16_t port_ = 0;
  std::map<bufferevent*, BufferEvent> connections_;
  std::set<std::shared_ptr<waterspout::IOStream>> streams_;  // handed over
};

}  // namespace embed_libevent
