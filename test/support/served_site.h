// The sample http_server in the test's own process, and a plain client of it.

#pragma once

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include <sys/socket.h>

#include <doctest/doctest.h>

#include "waterspout/address.h"
#include "waterspout/ioloop.h"
#include "waterspout/iostream.h"
#include "waterspout/netutil.h"

#include "http_server/server.h"
#include "support/loop_fixture.h"
#include "support/sockets.h"
#include "support/temp_dir.h"
#include "support/text.h"

namespace waterspout::test {

/// Keeps the last stream that was accepted.
class WatchedHTTPServer : public http_server::HTTPServer {
 public:
  using HTTPServer::HTTPServer;

  std::weak_ptr<IOStream> last;

 protected:
  void handle_stream(std::shared_ptr<IOStream> stream,
                     const Address& address) override {
    last = stream;
    HTTPServer::handle_stream(std::move(stream), address);
  }
};

/// A plain client. It keeps the beginning of what it gets, and counts the rest.
class HTTPPeer {
 public:
  HTTPPeer() = default;
  explicit HTTPPeer(const Address& address) : socket_(connect_to(address)) {}

  void send(std::string_view text) const { socket_.send(text); }
  [[nodiscard]] const UniquePeerFd& socket() const { return socket_; }
  UniquePeerFd& socket() { return socket_; }

  /// Takes what is there, up to `limit` bytes.
  void take(std::size_t limit = kUnlimited) {
    while (limit > 0 && !ended_) {
      const ssize_t got = ::recv(socket_.get(), piece_.data(),
                                 std::min(piece_.size(), limit), MSG_DONTWAIT);
      if (got < 0 && errno == EAGAIN) {
        return;
      }
      CHECK_MESSAGE(got >= 0, "the connection was reset");
      ended_ = got <= 0;
      const auto size = static_cast<std::size_t>(std::max(got, ssize_t{0}));
      limit -= size;
      total_ += size;
      text_.append(piece_.data(), std::min(size, kKept - text_.size()));
    }
  }

  void forget() { text_.clear(); }

  [[nodiscard]] const std::string& text() const { return text_; }
  [[nodiscard]] std::uint64_t total() const { return total_; }
  [[nodiscard]] bool ended() const { return ended_; }

 private:
  static constexpr std::size_t kUnlimited = SIZE_MAX;
  static constexpr std::size_t kKept = std::size_t{1} << 20;

  UniquePeerFd socket_;
  std::string piece_ = std::string(65536, '\0');
  std::string text_;
  std::uint64_t total_ = 0;
  bool ended_ = false;
};

/// A server over a directory with a file "a.txt", which holds "hello\n", on a
/// Unix domain socket, where bytes arrive at once, or on TCP.
class ServedSite {
 public:
  using HTTPServer = http_server::HTTPServer;
  enum class Over { unix_socket, tcp };

  explicit ServedSite(const HTTPServer::Options& options = {},
                      IOLoop::Options loop_options = {},
                      Over over = Over::unix_socket)
      : loop(std::move(loop_options)),
        server(loop, std::make_shared<const http_server::Directory>(root()),
               options) {
    files.write("site/a.txt", "hello\n");
    if (over == Over::tcp) {
      server.listen(0, "127.0.0.1");
    } else {
      server.add_socket(bind_unix_socket(files.path("socket")));
    }
  }

  ~ServedSite() {
    if (!server.draining()) {
      drain();
    }
  }

  [[nodiscard]] HTTPPeer connect() const {
    return HTTPPeer(server.addresses().front());
  }

  /// Runs the loop until `condition` holds or the server has closed.
  void serve(HTTPPeer& client, const std::function<bool()>& condition) {
    loop.run_until([&] {
      client.take();
      return client.ended() || condition();
    });
  }

  void serve_to_end(HTTPPeer& client) {
    serve(client, [] { return false; });
  }

  /// Sends everything in one connection, and returns everything that comes
  /// until the server closes it.
  std::string exchange(std::string_view text) {
    HTTPPeer client = connect();
    client.send(text);
    serve_to_end(client);
    return client.text();
  }

  /// One answer, on a connection that stays, which ends in `end`.
  std::string ask(HTTPPeer& client, std::string_view text,
                  std::string_view end) {
    client.forget();
    client.send(text);
    serve(client, [&] { return client.text().ends_with(end); });
    CHECK_FALSE(client.ended());
    return client.text();
  }

  /// Until the server cannot send because the client does not read.
  void serve_until_stalled() {
    loop.run_until([&] {
      const auto stream = server.last.lock();
      return stream && stream->writing();
    });
  }

  void drain(Duration limit = std::chrono::seconds(1)) {
    server.drain(limit, [this](HTTPServer::Drained result) {
      drained = result;
      loop.stop();
    });
    loop.run();
  }

  /// Makes a file of zeros that takes no room.
  void write_sparse(const std::string& name, std::uint64_t size) const {
    files.write("site/" + name, "");
    std::filesystem::resize_file(files.path("site/" + name), size);
  }

  const TempDir files;
  LoopFixture loop;
  WatchedHTTPServer server;
  HTTPServer::Drained drained;

 private:
  std::string root() const {
    const std::string path = files.path("site");
    std::filesystem::create_directory(path);
    return path;
  }
};

/// A request of HTTP/1.1.
inline std::string get(const std::string& target,
                       const std::string& fields = {}) {
  return "GET " + target + " HTTP/1.1\r\nHost: x\r\n" + fields + "\r\n";
}

inline const std::string kClose = "Connection: close\r\n";

/// How often `part` is in `text`.
inline std::size_t count(std::string_view text, std::string_view part) {
  std::size_t found = 0;
  for (auto at = text.find(part); at != text.npos;
       at = text.find(part, at + part.size())) {
    ++found;
  }
  return found;
}

/// "HTTP/1.1 200 OK"
inline std::string status_of(std::string_view response) {
  return std::string(response.substr(0, response.find("\r\n")));
}

inline std::string body_of(std::string_view response) {
  const auto end = response.find("\r\n\r\n");
  return end == response.npos ? "no head"
                              : std::string(response.substr(end + 4));
}

}  // namespace waterspout::test
