#include "embed_libevent/admin_server.h"

#include <cstddef>
#include <cstdlib>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string_view>
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

// Sends every line of `stream` back, until one says "back"; that is left to
// `on_back`.
void echo_line(const std::shared_ptr<waterspout::IOStream>& stream,
               const std::function<void()>& on_back) {
  stream->read_until(
      "\n", {.max_bytes = kLongestLine},
      [stream, on_back](std::string_view line) {
        if (line == "back\n" || line == "back\r\n") {
          on_back();
          return;
        }
        stream->write(line, [stream, on_back] { echo_line(stream, on_back); });
      });
}

void send_line(bufferevent* connection, const std::string& line) {
  bufferevent_write(connection, (line + "\n").c_str(), line.size() + 1);
}

}  // namespace

AdminServer::AdminServer(waterspout::IOLoop& loop, Commands commands)
    : loop_(loop), commands_(std::move(commands)) {
  const waterspout::Address address("127.0.0.1", 0);
  listener_.reset(evconnlistener_new_bind(
      loop_.base(), &AdminServer::on_accept, this,
      LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, kBacklog, address.data(),
      static_cast<int>(address.size())));
  if (!listener_) {
    throw std::runtime_error("cannot listen on " + address.to_string());
  }
  const int fd = evconnlistener_get_fd(listener_.get());
  port_ = waterspout::Address::local_of(fd).port();
}

// Closing drops the callbacks, which know this server.
AdminServer::~AdminServer() {
  for (const auto& stream : std::exchange(streams_, {})) {
    stream->set_close_callback({});
    stream->close();
  }
}

void AdminServer::on_accept(evconnlistener* /*listener*/, evutil_socket_t fd,
                            sockaddr* /*address*/, int /*size*/,
                            void* self) noexcept {
  static_cast<AdminServer*>(self)->add_connection(fd);
}

bufferevent* AdminServer::add_connection(evutil_socket_t fd) {
  BufferEvent owner(not_null(
      bufferevent_socket_new(loop_.base(), fd, BEV_OPT_CLOSE_ON_FREE)));
  bufferevent* const connection = owner.get();
  connections_.emplace(connection, std::move(owner));
  bufferevent_setcb(connection, &AdminServer::on_readable, nullptr,
                    &AdminServer::on_event, this);
  bufferevent_setwatermark(connection, EV_READ, 0, kLongestLine);
  bufferevent_enable(connection, EV_READ | EV_WRITE);
  return connection;
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
    if (!run_line(connection, *line)) {
      return;
    }
  }
  if (evbuffer_get_length(input) >= kLongestLine) {
    connections_.erase(connection);  // it would never read the line's end
  }
}

// False if the connection is a bufferevent no more.
bool AdminServer::run_line(bufferevent* connection, const std::string& line) {
  if (line == "status") {
    send_line(connection, commands_.status());
  } else if (line == "quit") {
    commands_.quit();
  } else if (line == "echo") {
    hand_over(connection);
    return false;
  } else {
    send_line(connection, "unknown command; there are: status, quit, echo");
  }
  return true;
}

// From libevent to waterspout: lines that came behind "echo" are in the
// bufferevent's input, and answers that did not leave yet in its output. The
// stream begins with both.
void AdminServer::hand_over(bufferevent* connection) {
  const auto stream = waterspout::IOStream::adopt(
      loop_, connections_.extract(connection).mapped().release());
  streams_.insert(stream);
  stream->set_close_callback([this, stream] { streams_.erase(stream); });
  echo_line(stream, [this, stream] { take_back(*stream); });
}

// And back: what came behind "back" goes to the new bufferevent's input.
void AdminServer::take_back(waterspout::IOStream& stream) {
  const waterspout::IOStream::Released released = stream.release();
  streams_.erase(std::static_pointer_cast<waterspout::IOStream>(
      stream.shared_from_this()));
  bufferevent* const connection = add_connection(released.fd);
  evbuffer* const input = bufferevent_get_input(connection);
  // libevent keeps everybody but itself from adding there.
  evbuffer_unfreeze(input, 0);
  evbuffer_add(input, released.unread.data(), released.unread.size());
  evbuffer_freeze(input, 0);
  send_line(connection, "back");
  run_lines(connection);
}

}  // namespace embed_libevent
