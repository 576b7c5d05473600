// The limit: what a server costs that is written by hand on epoll for one
// purpose. Read interest stays registered, level-triggered, and changes only
// when the kernel does not take an answer.

#include <array>
#include <cerrno>
#include <cstdint>
#include <memory>
#include <utility>

#include <sys/epoll.h>

#include "peers/accept.h"
#include "peers/client_table.h"
#include "peers/common.h"
#include "peers/socket_client.h"

namespace {

using peers::checked;
using peers::SocketClient;
using peers::UniqueFd;
using Wants = SocketClient::Wants;

constexpr std::uint32_t kReadable = EPOLLIN;
constexpr std::uint32_t kWritable = EPOLLOUT;

struct Client {
  SocketClient client;
  Wants registered = Wants::input;
};

class EpollServer {
 public:
  explicit EpollServer(const peers::Setup& setup)
      : mode_(setup.mode),
        tls_(peers::make_tls_context(setup)),
        listener_(peers::listen_on_loopback(setup)),
        epoll_(checked(::epoll_create1(EPOLL_CLOEXEC), "epoll_create1")),
        scratch_(std::make_unique<peers::Scratch>()) {
    control(EPOLL_CTL_ADD, listener_.get(), kReadable);
    peers::announce(listener_.get());
  }

  [[noreturn]] void run() {
    for (;;) {
      const int count = ::epoll_wait(epoll_.get(), ready_.data(),
                                     static_cast<int>(ready_.size()),
                                     resting_ ? peers::kRest : -1);
      if (count < 0 && errno != EINTR) {
        checked(count, "epoll_wait");
      }
      for (int i = 0; i < count; ++i) {
        handle(ready_[static_cast<std::size_t>(i)].data.fd);
      }
      if (resting_) {
        accept();
      }
    }
  }

 private:
  void control(int operation, int fd, std::uint32_t events) {
    epoll_event interest{};
    interest.events = events;
    interest.data.fd = fd;
    checked(::epoll_ctl(epoll_.get(), operation, fd, &interest), "epoll_ctl");
  }

  void handle(int fd) {
    if (fd == listener_.get()) {
      accept();
    } else {
      serve(fd);
    }
  }

  // A listener that nobody can be accepted from is not waited for, since it
  // would be ready all the time.
  void accept() {
    const bool has_room = peers::accept_clients(
        listener_.get(), [this](UniqueFd fd) { add(std::move(fd)); });
    if (resting_ == has_room) {
      control(EPOLL_CTL_MOD, listener_.get(), has_room ? kReadable : 0);
      resting_ = !has_room;
    }
  }

  void add(UniqueFd socket) {
    const int fd = socket.get();
    clients_.add(
        fd, std::make_unique<Client>(
                Client{{peers::Socket(std::move(socket), tls_.get()), mode_}}));
    control(EPOLL_CTL_ADD, fd, kReadable);
  }

  // What else epoll may report, an error or a hang-up, the next call on the
  // socket tells too.
  void serve(int fd) {
    Client& client = clients_[fd];
    const Wants wants = client.registered == Wants::input
                            ? client.client.on_readable(scratch_->bytes)
                            : client.client.on_writable(scratch_->bytes);
    if (wants == client.registered) {
      return;
    }
    if (wants == Wants::nothing) {
      clients_.remove(fd);
      return;
    }
    control(EPOLL_CTL_MOD, fd, wants == Wants::input ? kReadable : kWritable);
    client.registered = wants;
  }

  peers::Mode mode_;
  peers::TlsContext tls_;
  UniqueFd listener_;
  UniqueFd epoll_;
  std::unique_ptr<peers::Scratch> scratch_;
  std::array<epoll_event, 256> ready_{};
  peers::ClientTable<Client> clients_;
  bool resting_ = false;  // the listener, for want of descriptors
};

void serve(const peers::Setup& setup) { EpollServer(setup).run(); }

}  // namespace

int main(int argc, char** argv) {
  return peers::run(argc, argv, peers::Tls::spoken, serve);
}
