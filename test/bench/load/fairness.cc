// How evenly a server serves clients that all want more than it can give.

#include <algorithm>
#include <array>
#include <cerrno>
#include <memory>
#include <stdexcept>
#include <system_error>
#include <vector>

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "load/connection.h"
#include "load/workloads.h"

namespace load {
namespace {

/// A client that is never content: what was answered is sent again at once, so
/// that `ahead` bytes of whole lines are always under way.
class Client {
 public:
  Client(const Setup& setup, std::size_t ahead)
      : connection_(setup.port, false),
        lines_(ahead / setup.size * setup.size, 'x'),
        ahead_(lines_.size()) {
    for (std::size_t end = setup.size; end <= lines_.size();
         end += setup.size) {
      lines_[end - 1] = '\n';
    }
    const long flags = checked(::fcntl(fd(), F_GETFL), "fcntl");
    checked(::fcntl(fd(), F_SETFL, flags | O_NONBLOCK), "fcntl");
    send_more();
  }

  [[nodiscard]] int fd() const noexcept { return connection_.fd(); }
  [[nodiscard]] std::size_t answered() const noexcept { return answered_; }
  void forget_answers() noexcept { answered_ = 0; }

  void on_readable(std::span<char> scratch) {
    const long got = ::recv(fd(), scratch.data(), scratch.size(), 0);
    if (got == 0) {
      throw std::runtime_error("the server closed the connection");
    }
    if (got < 0 && errno != EAGAIN) {
      throw std::system_error(errno, std::generic_category(), "recv");
    }
    if (got > 0) {
      answered_ += static_cast<std::size_t>(got);
      ahead_ += static_cast<std::size_t>(got);
      send_more();
    }
  }

 private:
  // What the socket has no room for waits for the next answer.
  void send_more() {
    while (ahead_ != 0) {
      const std::size_t size = std::min(ahead_, lines_.size() - next_);
      const long sent = ::send(fd(), &lines_[next_], size, MSG_NOSIGNAL);
      if (sent < 0 && errno == EAGAIN) {
        return;
      }
      next_ = (next_ + static_cast<std::size_t>(checked(sent, "send"))) %
              lines_.size();
      ahead_ -= static_cast<std::size_t>(sent);
    }
  }

  Connection connection_;
  std::string lines_;  // sent round and round
  std::size_t next_ = 0;
  std::size_t ahead_;         // bytes that may be sent now
  std::size_t answered_ = 0;  // bytes
};

using Clients = std::vector<std::unique_ptr<Client>>;

void wait_for_answers(const waterspout::UniqueFd& epoll,
                      std::span<char> scratch) {
  std::array<epoll_event, 128> ready{};
  const long count =
      checked(::epoll_wait(epoll.get(), ready.data(), ready.size(), 10'000),
              "epoll_wait");
  if (count == 0) {
    throw std::runtime_error("the server has answered nobody for ten seconds");
  }
  for (long i = 0; i < count; ++i) {
    static_cast<Client*>(ready.at(static_cast<std::size_t>(i)).data.ptr)
        ->on_readable(scratch);
  }
}

double least_share(const Clients& clients, std::size_t first) {
  std::size_t least = clients.at(first)->answered();
  std::size_t total = 0;
  for (std::size_t i = first; i < clients.size(); ++i) {
    least = std::min(least, clients[i]->answered());
    total += clients[i]->answered();
  }
  const auto count = static_cast<double>(clients.size() - first);
  return static_cast<double>(least) * count / static_cast<double>(total);
}

// Until as many lines were answered, of those who count.
Figures serve_all(const Setup& setup, Clients clients, std::size_t first) {
  const waterspout::UniqueFd epoll(static_cast<int>(
      checked(::epoll_create1(EPOLL_CLOEXEC), "epoll_create")));
  for (const auto& client : clients) {
    epoll_event interest{};
    interest.events = EPOLLIN;
    interest.data.ptr = client.get();
    checked(::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, client->fd(), &interest),
            "epoll_ctl");
  }
  std::vector<char> scratch(std::size_t{64} * 1024);
  const auto wait_for = [&](std::size_t operations) {
    for (std::size_t answered = 0; answered < operations * setup.size;) {
      wait_for_answers(epoll, scratch);
      answered = 0;
      for (std::size_t i = first; i < clients.size(); ++i) {
        answered += clients[i]->answered();
      }
    }
  };
  wait_for(setup.warm_up);
  for (const auto& client : clients) {
    client->forget_answers();
  }
  wait_for(setup.operations);
  return {{"least_share", least_share(clients, first)}};
}

void add_clients(Clients& clients, const Setup& setup) {
  for (std::size_t i = 0; i < setup.connections; ++i) {
    clients.push_back(
        std::make_unique<Client>(setup, setup.size * setup.in_flight));
  }
}

}  // namespace

Figures fair(const Setup& setup) {
  Clients clients;
  add_clients(clients, setup);
  return serve_all(setup, std::move(clients), 0);
}

// It keeps so much under way that its socket is full at both ends.
Figures fair_beside_flood(const Setup& setup) {
  constexpr std::size_t kFlood = std::size_t{8} * 1024 * 1024;
  Clients clients;
  clients.push_back(std::make_unique<Client>(setup, kFlood));
  add_clients(clients, setup);
  return serve_all(setup, std::move(clients), 1);
}

}  // namespace load
