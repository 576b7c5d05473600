#include <map>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>

#include <ares.h>
#include <netdb.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "waterspout/error.h"
#include "waterspout/resolver.h"

#include "loop/loop_core.h"

namespace waterspout {
namespace {

struct FreeAddresses {
  void operator()(ares_addrinfo* list) const noexcept {
    ::ares_freeaddrinfo(list);
  }
};

// In the words of getaddrinfo(3), which finds the same reasons.
std::error_code error_of(int status) {
  switch (status) {
    case ARES_SUCCESS:
      return {};
    case ARES_ENOTFOUND:
    case ARES_EBADNAME:
      return {EAI_NONAME, resolver_category()};
    case ARES_ENODATA:
      return {EAI_NODATA, resolver_category()};
    case ARES_ESERVFAIL:
    case ARES_ETIMEOUT:
    case ARES_ECONNREFUSED:
      return {EAI_AGAIN, resolver_category()};
    case ARES_ENOMEM:
      return {EAI_MEMORY, resolver_category()};
    default:
      return {EAI_FAIL, resolver_category()};
  }
}

[[noreturn]] void throw_refused(int status) {
  throw std::runtime_error(std::string("CAresResolver: c-ares: ") +
                           ::ares_strerror(status));
}

// c-ares counts these calls without a lock, so there is one for the process.
void start_library() {
  static const int status = ::ares_library_init(ARES_LIB_INIT_ALL);
  if (status != ARES_SUCCESS) {
    throw_refused(status);
  }
}

}  // namespace

/// One channel of c-ares, polled by the loop. c-ares keeps time by the real
/// clock, so its timer is none of the loop's timeouts. Whatever it calls, calls
/// nothing of the user's, so nobody can destroy the channel meanwhile.
struct CAresResolver::Channel final : public LoopClient {
  /// One of c-ares's descriptors.
  struct Polled {
    Channel& channel;
    const int fd;
    Event event;

    Polled(Channel& of, int its_fd, IOLoop::Events events)
        : channel(of),
          fd(its_fd),
          event(of.core, fd, events, Event::calling<&Polled::on_ready>(*this)) {
    }

    [[nodiscard]] detail::LoopCore& loop_core() noexcept {
      return channel.core;
    }

    // c-ares may close the descriptor, and so destroy this.
    void on_ready(IOLoop::Events ready) noexcept {
      channel.process((ready & IOLoop::READ) != 0 ? fd : ARES_SOCKET_BAD,
                      (ready & IOLoop::WRITE) != 0 ? fd : ARES_SOCKET_BAD);
    }
  };

  explicit Channel(detail::LoopCore& of)
      : core(of),
        timer(std::in_place, of, Event::Timer(),
              Event::calling<&Channel::on_time>(*this)) {
    start_library();
    ares_options options{};
    options.sock_state_cb = &Channel::on_socket;
    options.sock_state_cb_data = this;
    const int status =
        ::ares_init_options(&handle, &options, ARES_OPT_SOCK_STATE_CB);
    if (status != ARES_SUCCESS) {
      throw_refused(status);
    }
    core.add_client(*this);
  }
  ~Channel() { close(); }
  Channel(const Channel&) = delete;
  Channel& operator=(const Channel&) = delete;

  void ask(Question question);
  void process(ares_socket_t readable, ares_socket_t writable) noexcept;
  void arm_timer() noexcept;
  void close() noexcept;

  static void on_answer(void* argument, int status, int timeouts,
                        ares_addrinfo* result) noexcept;
  static void on_socket(void* argument, ares_socket_t fd, int readable,
                        int writable) noexcept;
  void on_time(IOLoop::Events /*ready*/) noexcept {
    process(ARES_SOCKET_BAD, ARES_SOCKET_BAD);
  }
  [[nodiscard]] detail::LoopCore& loop_core() noexcept { return core; }

  // LoopClient.
  void run_task() noexcept override {}
  void send_gathered() noexcept override {}
  void loop_closed() noexcept override { close(); }

  detail::LoopCore& core;
  ares_channel handle = nullptr;  // null once closed
  std::map<int, Polled> polled;
  std::optional<Event> timer;
};

void CAresResolver::Channel::ask(Question question) {
  ares_addrinfo_hints hints{};
  hints.ai_flags = ARES_AI_NUMERICSERV;
  hints.ai_family = question.family();
  hints.ai_socktype = SOCK_STREAM;
  const std::string host = question.host();
  const std::string port = std::to_string(question.port());
  auto argument = std::make_unique<Question>(std::move(question));
  // May call back at once; owns the argument until then.
  ::ares_getaddrinfo(handle, host.c_str(), port.c_str(), &hints,
                     &Channel::on_answer, argument.release());
  arm_timer();
}

void CAresResolver::Channel::on_answer(void* argument, int status,
                                       int /*timeouts*/,
                                       ares_addrinfo* result) noexcept {
  const std::unique_ptr<Question> question(static_cast<Question*>(argument));
  const std::unique_ptr<ares_addrinfo, FreeAddresses> owned(result);
  try {
    std::vector<Address> addresses;
    const ares_addrinfo_node* node =
        result != nullptr ? result->nodes : nullptr;
    for (; node != nullptr; node = node->ai_next) {
      addresses.push_back(
          Address::from_sockaddr(node->ai_addr, node->ai_addrlen));
    }
    question->answer(error_of(status), std::move(addresses));
  } catch (...) {  // what may be thrown here is std::bad_alloc
    question->answer({EAI_MEMORY, resolver_category()}, {});
  }
}

// A descriptor that the loop cannot poll is found out by c-ares's timeout.
void CAresResolver::Channel::on_socket(void* argument, ares_socket_t fd,
                                       int readable, int writable) noexcept {
  Channel& self = *static_cast<Channel*>(argument);
  self.polled.erase(fd);
  const IOLoop::Events events =
      (readable != 0 ? IOLoop::READ : 0) | (writable != 0 ? IOLoop::WRITE : 0);
  if (events != 0) {
    try {
      const auto added = self.polled.try_emplace(fd, self, fd, events).first;
      static_cast<void>(added->second.event.add());
    } catch (const std::bad_alloc&) {
      return;
    }
  }
}

void CAresResolver::Channel::process(ares_socket_t readable,
                                     ares_socket_t writable) noexcept {
  ::ares_process_fd(handle, readable, writable);
  arm_timer();
}

void CAresResolver::Channel::arm_timer() noexcept {
  timeval delay{};
  if (::ares_timeout(handle, nullptr, &delay) != nullptr) {
    timer->add_timer(std::chrono::seconds(delay.tv_sec) +
                     std::chrono::microseconds(delay.tv_usec));
  } else {
    timer->remove();
  }
}

// c-ares ends every question and closes its descriptors.
void CAresResolver::Channel::close() noexcept {
  if (handle != nullptr) {
    ::ares_destroy(std::exchange(handle, nullptr));
    timer.reset();
  }
}

CAresResolver::CAresResolver(IOLoop& loop)
    : Resolver(loop), channel_(std::make_shared<Channel>(loop.core())) {}

CAresResolver::~CAresResolver() = default;

void CAresResolver::look_up(Question question) {
  if (!question.answer_literal()) {
    channel_->ask(std::move(question));
  }
}

}  // namespace waterspout
