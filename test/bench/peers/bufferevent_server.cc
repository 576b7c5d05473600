// On libevent's bufferevents, as one who knows them writes it.

#include <cstdlib>
#include <memory>
#include <string_view>
#include <utility>

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/bufferevent_ssl.h>
#include <event2/listener.h>

#include "peers/client_table.h"
#include "peers/common.h"
#include "peers/libevent_base.h"
#include "peers/tls.h"

namespace {

using peers::checked_event;
using peers::Mode;
using peers::UniqueFd;

struct FreeBufferevent {
  void operator()(bufferevent* stream) const noexcept {
    if (SSL* const session = ::bufferevent_openssl_get_ssl(stream)) {
      peers::end_tls_output(session);
    }
    ::bufferevent_free(stream);
  }
};

struct FreeListener {
  void operator()(evconnlistener* listener) const noexcept {
    ::evconnlistener_free(listener);
  }
};

using Stream = std::unique_ptr<bufferevent, FreeBufferevent>;
using Listener = std::unique_ptr<evconnlistener, FreeListener>;

class Client {
 public:
  Client(Stream stream, Mode mode) : stream_(std::move(stream)), mode_(mode) {
    if (mode == Mode::bytes64k) {
      ::bufferevent_setwatermark(get(), EV_READ, peers::kMessageSize, 0);
    }
    checked_event(::bufferevent_enable(get(), EV_READ | EV_WRITE),
                  "bufferevent_enable");
  }

  /// Whether the connection is done with after what has come.
  [[nodiscard]] bool on_input() {
    take();
    if (::evbuffer_get_length(input()) > peers::kMaxLine) {
      return true;
    }
    if (closing_ || ::evbuffer_get_length(output()) > peers::kMaxUnsent) {
      checked_event(::bufferevent_disable(get(), EV_READ),
                    "bufferevent_disable");
    }
    return false;
  }

  /// The same after all output has been sent.
  [[nodiscard]] bool on_sent() {
    if (to_send_ != 0) {
      send_piece();
    } else if (!closing_) {
      checked_event(::bufferevent_enable(get(), EV_READ), "bufferevent_enable");
    }
    return closing_;
  }

 private:
  [[nodiscard]] bufferevent* get() const { return stream_.get(); }
  [[nodiscard]] evbuffer* input() const {
    return ::bufferevent_get_input(get());
  }
  [[nodiscard]] evbuffer* output() const {
    return ::bufferevent_get_output(get());
  }

  void take() {
    switch (mode_) {
      case Mode::line:
        while (const std::size_t size = next_message("\n")) {
          echo(size);
        }
        return;
      case Mode::bytes64k:
        while (::evbuffer_get_length(input()) >= peers::kMessageSize) {
          echo(peers::kMessageSize);
        }
        return;
      case Mode::http:
        while (const std::size_t size = next_message("\r\n\r\n")) {
          drain(size);
          send(peers::kResponse);
        }
        return;
      case Mode::churn:
        echo_one_line();
        return;
      case Mode::source:
        begin_source();
        return;
      case Mode::sink:
        drain(::evbuffer_get_length(input()));
        return;
    }
  }

  // Size of what comes up to the delimiter and with it; 0: it is not there yet.
  // What was searched in vain is not searched again.
  std::size_t next_message(std::string_view delimiter) {
    evbuffer_ptr start{};
    checked_event(
        ::evbuffer_ptr_set(input(), &start, searched_, EVBUFFER_PTR_SET),
        "evbuffer_ptr_set");
    const evbuffer_ptr end =
        ::evbuffer_search(input(), delimiter.data(), delimiter.size(), &start);
    if (end.pos >= 0) {
      searched_ = 0;
      return static_cast<std::size_t>(end.pos) + delimiter.size();
    }
    const std::size_t size = ::evbuffer_get_length(input());
    searched_ = size < delimiter.size() ? 0 : size - delimiter.size() + 1;
    return 0;
  }

  void echo(std::size_t size) {
    const int moved = ::evbuffer_remove_buffer(input(), output(), size);
    checked_event(moved < 0 ? moved : 0, "evbuffer_remove_buffer");
  }

  void drain(std::size_t size) {
    checked_event(::evbuffer_drain(input(), size), "evbuffer_drain");
  }

  // Of text that is there for ever, so that it is not copied.
  void send(std::string_view text) {
    checked_event(::evbuffer_add_reference(output(), text.data(), text.size(),
                                           nullptr, nullptr),
                  "evbuffer_add_reference");
  }

  void echo_one_line() {
    if (const std::size_t size = next_message("\n")) {
      echo(size);
      closing_ = true;
    }
  }

  void begin_source() {
    std::size_t size = 0;
    const std::unique_ptr<char, decltype(&std::free)> line(
        ::evbuffer_readln(input(), &size, EVBUFFER_EOL_LF), std::free);
    if (line) {
      to_send_ = peers::parse_count({line.get(), size});
      mode_ = Mode::sink;
      drain(::evbuffer_get_length(input()));
      send_piece();
    }
  }

  void send_piece() {
    if (to_send_ != 0) {
      const std::string_view piece = peers::source_piece(to_send_);
      to_send_ -= piece.size();
      send(piece);
    }
  }

  Stream stream_;
  std::size_t searched_ = 0;
  std::size_t to_send_ = 0;  // by the mode source
  Mode mode_;                // source becomes sink once it knows how much
  bool closing_ = false;     // once the output is sent
};

class BuffereventServer {
 public:
  explicit BuffereventServer(const peers::Setup& setup)
      : mode_(setup.mode),
        tls_(peers::make_tls_context(setup)),
        base_(peers::make_event_base()),
        rested_(peers::make_event(base_.get(), -1, 0, on_rested, this)) {
    UniqueFd socket = peers::listen_on_loopback(setup);
    listener_.reset(::evconnlistener_new(
        base_.get(), on_client, this,
        LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, 0, socket.get()));
    checked_event(listener_ ? 0 : -1, "evconnlistener_new");
    ::evconnlistener_set_error_cb(listener_.get(), on_accept_error);
    peers::announce(socket.release());
  }

  void run() { peers::dispatch(base_.get()); }

 private:
  static void on_client(evconnlistener* /*listener*/, int fd,
                        sockaddr* /*address*/, int /*size*/,
                        void* self) noexcept {
    static_cast<BuffereventServer*>(self)->add(UniqueFd(fd));
  }

  // Told of errors that do not pass by themselves; the listener stays ready.
  static void on_accept_error(evconnlistener* listener, void* self) noexcept {
    checked_event(::evconnlistener_disable(listener), "evconnlistener_disable");
    peers::add_after_rest(static_cast<BuffereventServer*>(self)->rested_.get());
  }

  static void on_rested(int /*fd*/, short /*what*/, void* self) noexcept {
    checked_event(::evconnlistener_enable(
                      static_cast<BuffereventServer*>(self)->listener_.get()),
                  "evconnlistener_enable");
  }

  static void on_input(bufferevent* stream, void* self) noexcept {
    const int fd = ::bufferevent_getfd(stream);
    auto& clients = static_cast<BuffereventServer*>(self)->clients_;
    if (clients[fd].on_input()) {
      clients.remove(fd);
    }
  }

  static void on_sent(bufferevent* stream, void* self) noexcept {
    const int fd = ::bufferevent_getfd(stream);
    auto& clients = static_cast<BuffereventServer*>(self)->clients_;
    if (clients[fd].on_sent()) {
      clients.remove(fd);
    }
  }

  static void on_event(bufferevent* stream, short what, void* self) noexcept {
    if ((what & BEV_EVENT_CONNECTED) == 0) {
      static_cast<BuffereventServer*>(self)->clients_.remove(
          ::bufferevent_getfd(stream));
    }
  }

  void add(UniqueFd socket) {
    const int fd = socket.get();
    Stream stream(
        tls_
            ? ::bufferevent_openssl_socket_new(
                  base_.get(), fd, peers::make_tls_session(tls_.get()),
                  BUFFEREVENT_SSL_ACCEPTING, BEV_OPT_CLOSE_ON_FREE)
            : ::bufferevent_socket_new(base_.get(), fd, BEV_OPT_CLOSE_ON_FREE));
    checked_event(stream ? 0 : -1, "bufferevent_new");
    static_cast<void>(socket.release());
    ::bufferevent_setcb(stream.get(), on_input, on_sent, on_event, this);
    clients_.add(fd, std::make_unique<Client>(std::move(stream), mode_));
  }

  Mode mode_;
  peers::TlsContext tls_;
  peers::EventBase base_;
  peers::Event rested_;
  Listener listener_;
  peers::ClientTable<Client> clients_;
};

void serve(const peers::Setup& setup) { BuffereventServer(setup).run(); }

}  // namespace

int main(int argc, char** argv) {
  return peers::run(argc, argv, peers::Tls::spoken, serve);
}
