// On libevent's events alone: as careful and as lean as epoll_server, with one
// event a client that stays registered.

#include <memory>
#include <utility>

#include <event2/event_struct.h>

#include "peers/accept.h"
#include "peers/client_table.h"
#include "peers/common.h"
#include "peers/libevent_base.h"
#include "peers/socket_client.h"

namespace {

using peers::checked_event;
using peers::SocketClient;
using peers::UniqueFd;
using Wants = SocketClient::Wants;

class LibeventServer {
 public:
  explicit LibeventServer(const peers::Setup& setup)
      : mode_(setup.mode),
        listener_(peers::listen_on_loopback(setup)),
        base_(peers::make_event_base()),
        acceptable_(peers::make_event(base_.get(), listener_.get(),
                                      EV_READ | EV_PERSIST, on_acceptable,
                                      this)),
        rested_(peers::make_event(base_.get(), -1, 0, on_rested, this)),
        scratch_(std::make_unique<peers::Scratch>()) {
    listen_again();
    peers::announce(listener_.get());
  }

  void run() { peers::dispatch(base_.get()); }

 private:
  /// Registers itself in the loop for what it wants.
  class Client {
   public:
    Client(LibeventServer& server, UniqueFd socket)
        : server_(server),
          fd_(socket.get()),
          client_(peers::Socket(std::move(socket), nullptr), server.mode_) {
      wait();
    }

    ~Client() { ::event_del(&event_); }

    Client(const Client&) = delete;
    Client& operator=(const Client&) = delete;

   private:
    static void on_event(int fd, short /*what*/, void* self) noexcept {
      static_cast<Client*>(self)->serve(fd);
    }

    // Last, since it may be destroyed by this.
    void serve(int fd) {
      const Wants wants = registered_ == Wants::input
                              ? client_.on_readable(server_.scratch_->bytes)
                              : client_.on_writable(server_.scratch_->bytes);
      if (wants == Wants::nothing) {
        server_.clients_.remove(fd);
      } else if (wants != registered_) {
        registered_ = wants;
        ::event_del(&event_);
        wait();
      }
    }

    void wait() {
      const short what = registered_ == Wants::input ? EV_READ : EV_WRITE;
      checked_event(
          ::event_assign(&event_, server_.base_.get(), fd_,
                         static_cast<short>(what | EV_PERSIST), on_event, this),
          "event_assign");
      checked_event(::event_add(&event_, nullptr), "event_add");
    }

    LibeventServer& server_;
    event event_{};
    int fd_;
    Wants registered_ = Wants::input;
    SocketClient client_;
  };

  static void on_acceptable(int /*fd*/, short /*what*/, void* self) noexcept {
    static_cast<LibeventServer*>(self)->accept();
  }

  static void on_rested(int /*fd*/, short /*what*/, void* self) noexcept {
    static_cast<LibeventServer*>(self)->listen_again();
  }

  // A listener that nobody can be accepted from is not waited for, since it
  // would be ready all the time.
  void accept() {
    const bool has_room =
        peers::accept_clients(listener_.get(), [this](UniqueFd socket) {
          const int fd = socket.get();
          clients_.add(fd, std::make_unique<Client>(*this, std::move(socket)));
        });
    if (!has_room) {
      ::event_del(acceptable_.get());
      peers::add_after_rest(rested_.get());
    }
  }

  void listen_again() {
    checked_event(::event_add(acceptable_.get(), nullptr), "event_add");
  }

  peers::Mode mode_;
  UniqueFd listener_;
  peers::EventBase base_;
  peers::Event acceptable_;
  peers::Event rested_;
  std::unique_ptr<peers::Scratch> scratch_;
  peers::ClientTable<Client> clients_;
};

void serve(const peers::Setup& setup) { LibeventServer(setup).run(); }

}  // namespace

int main(int argc, char** argv) {
  return peers::run(argc, argv, peers::Tls::refused, serve);
}
