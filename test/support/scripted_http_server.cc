#include "support/scripted_http_server.h"

#include <cerrno>
#include <chrono>
#include <exception>
#include <stdexcept>
#include <utility>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

namespace waterspout::test {

namespace {

constexpr std::chrono::seconds kLimit{5};

// "GET /x HTTP/1.0" gives "/x".
std::string path_of(const std::string& head) {
  const auto begin = head.find(' ') + 1;
  return head.substr(begin, head.find(' ', begin) - begin);
}

std::string read_head(const UniquePeerFd& peer) {
  std::string head;
  while (head.find("\r\n\r\n") == std::string::npos) {
    const std::string more = peer.recv();
    if (more.empty()) {
      throw std::runtime_error("no request");
    }
    head += more;
  }
  return head;
}

void send_answer(const UniquePeerFd& peer, const ScriptedAnswer& answer) {
  if (!answer.bytewise) {
    peer.send(answer.bytes);
    return;
  }
  const int on = 1;
  ::setsockopt(peer.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  for (const char& byte : answer.bytes) {
    peer.send({&byte, 1});
  }
}

void end_connection(UniquePeerFd& peer, ScriptedAnswer::End end) {
  switch (end) {
    case ScriptedAnswer::End::close:
      peer.close();
      break;
    case ScriptedAnswer::End::reset:
      peer.reset();
      break;
    case ScriptedAnswer::End::hold:
      static_cast<void>(peer.recv());
      break;
  }
}

}  // namespace

ScriptedHttpServer::ScriptedHttpServer(Answers answers)
    : listener_(listen_on_loopback(port_)),
      answers_(std::move(answers)),
      acceptor_([this] { accept_all(); }) {}

ScriptedHttpServer::~ScriptedHttpServer() {
  ::shutdown(listener_.get(), SHUT_RDWR);  // ends the accept(2)
  acceptor_.join();
  for (std::thread& connection : connections_) {
    connection.join();
  }
}

std::string ScriptedHttpServer::url(std::string_view path) const {
  return "http://127.0.0.1:" + std::to_string(port_) + std::string(path);
}

void ScriptedHttpServer::set_answer(const std::string& path,
                                    ScriptedAnswer answer) {
  const std::lock_guard lock(mutex_);
  answers_[path] = std::move(answer);
}

std::vector<std::string> ScriptedHttpServer::requests() {
  const std::lock_guard lock(mutex_);
  return requests_;
}

void ScriptedHttpServer::accept_all() {
  for (;;) {
    const int fd = ::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC);
    if (fd < 0 && errno == EINVAL) {
      return;  // shut down
    }
    if (fd < 0) {
      continue;
    }
    connections_.emplace_back([this, fd] { serve(UniquePeerFd(fd)); });
  }
}

// A client that is gone, or says nothing, is the test's business to notice.
void ScriptedHttpServer::serve(UniquePeerFd peer) try {
  const std::string head = read_head(peer);
  const ScriptedAnswer answer = take_request(head);
  wait_for_end_of(answer.after);
  send_answer(peer, answer);
  end_connection(peer, answer.end);
  note_end_of(head);
} catch (const std::exception&) {
}

ScriptedAnswer ScriptedHttpServer::take_request(const std::string& head) {
  const std::lock_guard lock(mutex_);
  requests_.push_back(head);
  const auto found = answers_.find(path_of(head));
  return found != answers_.end() ? found->second : answers_[""];
}

void ScriptedHttpServer::wait_for_end_of(const std::string& path) {
  std::unique_lock lock(mutex_);
  ended_changed_.wait_for(
      lock, kLimit, [&] { return path.empty() || ended_.count(path) != 0; });
}

void ScriptedHttpServer::note_end_of(const std::string& head) {
  const std::lock_guard lock(mutex_);
  ended_.insert(path_of(head));
  ended_changed_.notify_all();
}

}  // namespace waterspout::test
