// On standalone Asio, with callbacks and its composed operations.

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "peers/accept.h"
#include "peers/common.h"
#include <asio.hpp>
#include <asio/ssl.hpp>

namespace {

using asio::ip::tcp;
using peers::Mode;
using Error = asio::error_code;
using PlainStream = tcp::socket;
using TlsStream = asio::ssl::stream<tcp::socket>;

/// A client. Lives as long as an operation of it is under way; an error ends it
/// by starting no other.
template <class Stream>
class Session : public std::enable_shared_from_this<Session<Stream>> {
 public:
  Session(Stream stream, Mode mode) : stream_(std::move(stream)), mode_(mode) {}

  void start() {
    if constexpr (std::is_same_v<Stream, TlsStream>) {
      stream_.async_handshake(asio::ssl::stream_base::server,
                              then([this] { serve(); }));
    } else {
      serve();
    }
  }

 private:
  // A handler that keeps this alive and does the next step if all went well.
  template <class Step>
  auto then(Step step) {
    return [self = this->shared_from_this(), step](
               const Error& error, std::size_t size = 0) mutable {
      if (!error) {
        if constexpr (std::is_invocable_v<Step, std::size_t>) {
          step(size);
        } else {
          step();
        }
      }
    };
  }

  void serve() {
    switch (mode_) {
      case Mode::line:
        return echo_line();
      case Mode::bytes64k:
        input_.resize(peers::kMessageSize);
        return echo_message();
      case Mode::sink:
        return read_to_the_end();
      case Mode::source:
        return send_what_is_asked();
      case Mode::http:
        return answer_request();
      case Mode::churn:
        return echo_one_line();
    }
  }

  // `step(size)` is done with the first `size` bytes of input_.
  template <class Delimiter, class Step>
  void read_until(Delimiter delimiter, Step step) {
    asio::async_read_until(stream_,
                           asio::dynamic_buffer(input_, peers::kMaxLine),
                           delimiter, then(step));
  }

  void echo_line() {
    read_until('\n', [this](std::size_t size) {
      asio::async_write(stream_, asio::buffer(input_, size),
                        then([this](std::size_t written) {
                          input_.erase(0, written);
                          echo_line();
                        }));
    });
  }

  void echo_message() {
    asio::async_read(stream_, asio::buffer(input_), then([this] {
                       asio::async_write(stream_, asio::buffer(input_),
                                         then([this] { echo_message(); }));
                     }));
  }

  void read_to_the_end() {
    input_.resize(peers::kMessageSize);
    stream_.async_read_some(
        asio::buffer(input_),
        [self = this->shared_from_this()](const Error& error, std::size_t) {
          if (!error) {
            self->read_to_the_end();
          } else if (error == asio::error::eof) {
            self->close();
          }
        });
  }

  void send_what_is_asked() {
    read_until('\n', [this](std::size_t size) {
      send_bytes(peers::parse_count({input_.data(), size}));
    });
  }

  void send_bytes(std::size_t left) {
    if (left == 0) {
      read_to_the_end();
      return;
    }
    const std::string_view piece = peers::source_piece(left);
    asio::async_write(stream_, asio::buffer(piece),
                      then([this, left](std::size_t written) {
                        send_bytes(left - written);
                      }));
  }

  void answer_request() {
    read_until(std::string_view("\r\n\r\n"), [this](std::size_t size) {
      input_.erase(0, size);
      asio::async_write(stream_, asio::buffer(peers::kResponse),
                        then([this] { answer_request(); }));
    });
  }

  void echo_one_line() {
    read_until('\n', [this](std::size_t size) {
      asio::async_write(stream_, asio::buffer(input_, size),
                        then([this] { close(); }));
    });
  }

  // A plain socket is closed with its last operation.
  void close() {
    if constexpr (std::is_same_v<Stream, TlsStream>) {
      stream_.async_shutdown(then([] {}));
    }
  }

  Stream stream_;
  Mode mode_;
  std::string input_;
};

class Server {
 public:
  explicit Server(const peers::Setup& setup)
      : mode_(setup.mode), acceptor_(context_), rest_(context_) {
    if (setup.certificate != nullptr) {
      tls_.emplace(asio::ssl::context::tls_server);
      tls_->use_certificate_chain_file(setup.certificate);
      tls_->use_private_key_file(setup.key, asio::ssl::context::pem);
    }
    peers::UniqueFd socket = peers::listen_on_loopback(setup);
    acceptor_.assign(tcp::v4(), socket.get());
    peers::announce(socket.release());
    accept();
  }

  void run() { context_.run(); }

 private:
  void accept() {
    acceptor_.async_accept([this](const Error& error, tcp::socket socket) {
      if (peers::is_out_of_room(error.value())) {
        accept_after_rest();
        return;
      }
      if (!error) {
        start(std::move(socket));
      }
      accept();
    });
  }

  void accept_after_rest() {
    rest_.expires_after(std::chrono::milliseconds(peers::kRest));
    rest_.async_wait([this](const Error& /*error*/) { accept(); });
  }

  void start(tcp::socket socket) {
    if (tls_) {
      std::make_shared<Session<TlsStream>>(TlsStream(std::move(socket), *tls_),
                                           mode_)
          ->start();
    } else {
      std::make_shared<Session<PlainStream>>(std::move(socket), mode_)->start();
    }
  }

  Mode mode_;
  asio::io_context context_{1};  // one thread
  std::optional<asio::ssl::context> tls_;
  tcp::acceptor acceptor_;
  asio::steady_timer rest_;
};

void serve(const peers::Setup& setup) { Server(setup).run(); }

}  // namespace

int main(int argc, char** argv) {
  return peers::run(argc, argv, peers::Tls::spoken, serve);
}
