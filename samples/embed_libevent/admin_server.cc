#include "embed_libevent/admin_server.h"

#include <cstddef>
#include <cstdlib>
#include <memory>
#include <optional>
#include <stdexcept>
#include <utility>

#include "waterspout/address.h"

namespace embed_libevent {

namespace {

constexpr std::size_t kLongestLine = 128;  // bytes
constexpr int kBacklog = 16;

// The next whole line of `input`, without its end.
std::optional<std::string> take_line(evbuffer* input) {
  std::size_t size = 0;
  const std::unique_ptr<char, FreeWith<std::free>> line(
      evbuffer_readln(input, &size, EVBUFFER_EOL_CRLF));
  return line ? std::optional<std::string>({line.get(), size}) : std::nullopt;
}

void send_line(bufferevent* connection, const std::string& line) {
  bufferevent_write(connection, (line + "\n").c_str(), line.size() + 1);
}

}  // namespace

AdminServer::AdminServer(event_base* base, Commands commands)
    : base_(base), commands_(std::move(commands)) {
  const waterspout::Address address("127.0.0.1", 0);
  listener_.reset(evconnlistener_new_bind(
      base_, &AdminServer::on_accept, this,
      LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, kBacklog, address.data(),
      static_cast<int>(address.size())));
  if (!listener_) {
    throw std::runtime_error("cannot listen on " + address.to_string());
  }
  const int fd = evconnlistener_get_fd(listener_.get());
  port_ = waterspout::Address::local_of(fd).port();
}

void AdminServer::on_accept(evconnlistener* /*listener*/, evutil_socket_t fd,
                            sockaddr* /*address*/, int /*size*/,
                            void* self) noexcept {
  auto& server = *static_cast<AdminServer*>(self);
  BufferEvent owner(not_null(
      bufferevent_socket_new(server.base_, fd, BEV_OPT_CLOSE_ON_FREE)));
  bufferevent* const connection = owner.get();
  server.connections_.emplace(connection, std::move(owner));
  bufferevent_setcb(connection, &AdminServer::on_readable, nullptr,
                    &AdminServer::on_event, self);
  bufferevent_setwatermark(connection, EV_READ, 0, kLongestLine);
  bufferevent_enable(connection, EV_READ | EV_WRITE);
}

void AdminServer::on_readable(bufferevent* connection, void* self) noexcept {
  static_cast<AdminServer*>(self)->run_lines(connection);
}

// The end of the connection, in order or not.
void AdminServer::on_event(bufferevent* connection, short /*what*/,
                           void* self) noexcept {
  static_cast<AdminServer*>(self)->connections_.erase(connection);
}

void AdminServer::run_lines(bufferevent* connection) {
  evbuffer* const input = bufferevent_get_input(connection);
  while (const std::optional<std::string> line = take_line(input)) {
    run_line(connection, *line);
  }
  if (evbuffer_get_length(input) >= kLongestLine) {
    connections_.erase(connection);  // it would never read the line's end
  }
}

void AdminServer::run_line(bufferevent* connection, const std::string& line) {
  if (line == "status") {
    send_line(connection, commands_.status());
  } else if (line == "quit") {
    commands_.quit();
  } else {
    send_line(connection, "unknown command; there are: status, quit");
  }
}

}  // namespace embed_libevent
