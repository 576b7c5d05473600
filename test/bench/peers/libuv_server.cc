// On libuv. Every message is answered by itself, as the user of a library
// without output buffers does: uv_try_write first, and uv_write for the rest.

#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

#include <uv.h>

#include "peers/common.h"
#include "peers/messages.h"

namespace {

using peers::Mode;

// How many pieces the mode source sends before the others have their turn.
constexpr int kPiecesATurn = 64;

void checked_uv(int result, const char* operation) {
  if (result < 0) {
    throw std::runtime_error(std::string(operation) + ": " +
                             ::uv_strerror(result));
  }
}

uv_buf_t buffer_of(std::string_view data) {
  return ::uv_buf_init(const_cast<char*>(data.data()),
                       static_cast<unsigned>(data.size()));
}

/// Owned by its handle: destroyed once that is closed.
class Client {
 public:
  static void accept(uv_stream_t* listener, Mode mode) {
    auto client = std::make_unique<Client>(mode);
    checked_uv(::uv_tcp_init(listener->loop, &client->handle_), "uv_tcp_init");
    client.release()->start(listener);
  }

  explicit Client(Mode mode) : mode_(mode) { handle_.data = this; }

 private:
  // What a uv_write works with.
  struct Write {
    uv_write_t request{};
    std::string data;
  };

  static void lend_scratch(uv_handle_t* /*handle*/, std::size_t /*size*/,
                           uv_buf_t* buffer) noexcept {
    static const auto scratch = std::make_unique<peers::Scratch>();
    *buffer = buffer_of({scratch->bytes.data(), scratch->bytes.size()});
  }

  static void on_read(uv_stream_t* stream, ssize_t size,
                      const uv_buf_t* buffer) noexcept {
    auto& client = *static_cast<Client*>(stream->data);
    if (size < 0) {
      client.close();
    } else if (size > 0) {
      client.take({buffer->base, static_cast<std::size_t>(size)});
    }
  }

  static void on_written(uv_write_t* request, int status) noexcept {
    const std::unique_ptr<Write> write(static_cast<Write*>(request->data));
    auto& client = *static_cast<Client*>(request->handle->data);
    if (status < 0) {
      client.close();
    } else if (!client.is_sending()) {
      client.go_on();
    }
  }

  static void on_closed(uv_handle_t* handle) noexcept {
    const std::unique_ptr<Client> client(static_cast<Client*>(handle->data));
  }

  uv_stream_t* stream() noexcept {
    return reinterpret_cast<uv_stream_t*>(&handle_);
  }

  uv_handle_t* handle() noexcept {
    return reinterpret_cast<uv_handle_t*>(&handle_);
  }

  void start(uv_stream_t* listener) {
    if (::uv_accept(listener, stream()) < 0) {
      close();
    } else {
      read();
    }
  }

  void read() {
    if (::uv_read_start(stream(), lend_scratch, on_read) < 0) {
      close();
    }
  }

  void close() noexcept {
    if (::uv_is_closing(handle()) == 0) {
      ::uv_close(handle(), on_closed);
    }
  }

  // Everything written so far has been sent.
  void go_on() {
    send_pieces();
    if (closing_) {
      close();
    } else if (!is_sending()) {
      read();
    }
  }

  bool is_sending() noexcept {
    return ::uv_stream_get_write_queue_size(stream()) != 0;
  }

  void take(std::string_view chunk) {
    if (input_.empty()) {
      input_ = chunk.substr(answer_all(chunk, 0));
    } else {
      const std::size_t searched = input_.size();
      input_ += chunk;
      input_.erase(0, answer_all(input_, searched));
    }
    if (input_.empty()) {
      input_.shrink_to_fit();
    } else if (input_.size() > peers::kMaxLine) {
      close();
    }
  }

  // Returns how much of `input` was answered.
  std::size_t answer_all(std::string_view input, std::size_t searched) {
    std::size_t answered = 0;
    while (!closing_ && answered != input.size()) {
      const std::size_t size =
          answer(input.substr(answered), answered == 0 ? searched : 0);
      if (size == 0) {
        return answered;
      }
      answered += size;
    }
    return answered;
  }

  // Answers one message and returns its size, or 0 if it is not whole yet.
  std::size_t answer(std::string_view input, std::size_t searched) {
    std::size_t size = 0;
    switch (mode_) {
      case Mode::line:
        size = peers::line_size(input, searched);
        write(input.substr(0, size));
        return size;
      case Mode::bytes64k:
        size = input.size() < peers::kMessageSize ? 0 : peers::kMessageSize;
        write(input.substr(0, size));
        return size;
      case Mode::http:
        size = peers::head_size(input, searched);
        write(
            peers::kResponse.substr(0, size == 0 ? 0 : std::string_view::npos));
        return size;
      case Mode::churn:
        return echo_one_line(input, searched);
      case Mode::source:
        return begin_source(input, searched);
      case Mode::sink:
        break;
    }
    return input.size();
  }

  std::size_t echo_one_line(std::string_view input, std::size_t searched) {
    const std::size_t size = peers::line_size(input, searched);
    if (size != 0) {
      closing_ = true;
      write(input.substr(0, size));
      if (!is_sending()) {
        close();
      }
    }
    return size;
  }

  std::size_t begin_source(std::string_view input, std::size_t searched) {
    const std::size_t size = peers::line_size(input, searched);
    if (size != 0) {
      mode_ = Mode::sink;
      to_send_ = peers::parse_count(input);
      send_pieces();
    }
    return size;
  }

  // The last piece of a turn is written without trying, for its callback.
  void send_pieces() {
    for (int i = 0; to_send_ != 0; ++i) {
      const std::string_view piece = peers::source_piece(to_send_);
      to_send_ -= piece.size();
      const std::size_t sent = i == kPiecesATurn ? 0 : try_write(piece);
      if (sent != piece.size()) {
        write_later(piece.substr(sent));
        return;
      }
    }
  }

  void write(std::string_view data) {
    if (data.empty()) {
      return;
    }
    const std::size_t sent = try_write(data);
    if (sent != data.size()) {
      write_later(data.substr(sent));
    }
  }

  // Returns how much was sent at once. An error that lasts shows again when the
  // rest is written.
  std::size_t try_write(std::string_view data) {
    const uv_buf_t buffer = buffer_of(data);
    const int sent = ::uv_try_write(stream(), &buffer, 1);
    return sent < 0 ? 0 : static_cast<std::size_t>(sent);
  }

  // Nothing is read before it has been sent.
  void write_later(std::string_view data) {
    auto write = std::make_unique<Write>();
    write->data = data;
    write->request.data = write.get();
    const uv_buf_t buffer = buffer_of(write->data);
    if (::uv_write(&write->request, stream(), &buffer, 1, on_written) < 0) {
      close();
      return;
    }
    static_cast<void>(write.release());
    ::uv_read_stop(stream());
  }

  uv_tcp_t handle_{};
  std::string input_;        // the start of a message
  std::size_t to_send_ = 0;  // by the mode source
  Mode mode_;                // source becomes sink once it knows how much
  bool closing_ = false;     // once the output is sent
};

class Server {
 public:
  explicit Server(const peers::Setup& setup) : mode_(setup.mode) {
    checked_uv(::uv_loop_init(&loop_), "uv_loop_init");
    checked_uv(::uv_tcp_init(&loop_, &listener_), "uv_tcp_init");
    peers::UniqueFd socket = peers::listen_on_loopback(setup);
    checked_uv(::uv_tcp_open(&listener_, socket.get()), "uv_tcp_open");
    const int fd = socket.release();
    listener_.data = this;
    checked_uv(::uv_listen(reinterpret_cast<uv_stream_t*>(&listener_),
                           peers::kBacklog, on_client),
               "uv_listen");
    peers::announce(fd);
  }

  void run() { ::uv_run(&loop_, UV_RUN_DEFAULT); }

 private:
  // An error is told once, and libuv goes on to accept.
  static void on_client(uv_stream_t* listener, int status) noexcept {
    if (status == 0) {
      Client::accept(listener, static_cast<Server*>(listener->data)->mode_);
    }
  }

  Mode mode_;
  uv_loop_t loop_{};
  uv_tcp_t listener_{};
};

void serve(const peers::Setup& setup) { Server(setup).run(); }

}  // namespace

int main(int argc, char** argv) {
  return peers::run(argc, argv, peers::Tls::refused, serve);
}
