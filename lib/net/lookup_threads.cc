#include "net/lookup_threads.h"

#include <cerrno>
#include <csignal>
#include <thread>
#include <utility>

#include <netdb.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/throw_errno.h"

namespace waterspout {
namespace {

struct FreeAddresses {
  void operator()(addrinfo* list) const noexcept { ::freeaddrinfo(list); }
};

void ask_the_library(Lookup& lookup) {
  addrinfo hints{};
  hints.ai_family = lookup.family;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICSERV;
  addrinfo* list = nullptr;
  lookup.code = ::getaddrinfo(
      lookup.host.c_str(), std::to_string(lookup.port).c_str(), &hints, &list);
  if (lookup.code != 0) {
    lookup.system_error = errno;
    return;
  }
  const std::unique_ptr<addrinfo, FreeAddresses> owned(list);
  for (const addrinfo* entry = list; entry != nullptr; entry = entry->ai_next) {
    lookup.addresses.push_back(
        Address::from_sockaddr(entry->ai_addr, entry->ai_addrlen));
  }
}

void perform(Lookup& lookup) noexcept {
  try {
    ask_the_library(lookup);
  } catch (...) {  // what may be thrown here is std::bad_alloc
    lookup.code = EAI_MEMORY;
  }
}

/// Threads inherit the mask of the one that starts them.
class AllSignalsBlocked {
 public:
  AllSignalsBlocked() {
    sigset_t all;
    sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~AllSignalsBlocked() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  AllSignalsBlocked(const AllSignalsBlocked&) = delete;
  AllSignalsBlocked& operator=(const AllSignalsBlocked&) = delete;

 private:
  sigset_t before_{};
};

}  // namespace

int LookupThreads::answers_fd() {
  if (!answers_fd_) {
    UniqueFd made(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
    if (!made) {
      throw_errno(errno, "ThreadedResolver", "eventfd");
    }
    const std::lock_guard lock(mutex_);
    answers_fd_ = std::move(made);
  }
  return answers_fd_.get();
}

std::error_code LookupThreads::ask(Id id, Lookup lookup) {
  const std::lock_guard lock(mutex_);
  waiting_.emplace(id, std::move(lookup));
  if (waiting_.size() > idle_ && threads_ < most_threads_) {
    try {
      start_thread();
    } catch (const std::system_error& error) {
      // With some threads at work, it waits for one of them.
      if (threads_ == 0) {
        waiting_.erase(id);
        return error.code();
      }
    }
  }
  changed_.notify_one();
  return {};
}

void LookupThreads::start_thread() {
  const AllSignalsBlocked blocked;
  std::thread([self = shared_from_this()] { self->work(); }).detach();
  ++threads_;
}

void LookupThreads::forget(Id id) noexcept {
  const std::lock_guard lock(mutex_);
  waiting_.erase(id);
  answered_.erase(id);
}

LookupThreads::Lookups LookupThreads::take_answers() {
  const std::lock_guard lock(mutex_);
  std::uint64_t count = 0;
  if (::read(answers_fd_.get(), &count, sizeof count) < 0) {
    return {};  // EAGAIN: nothing is new
  }
  return std::exchange(answered_, {});
}

void LookupThreads::close() noexcept {
  const std::lock_guard lock(mutex_);
  closed_ = true;
  waiting_.clear();
  answered_.clear();
  answers_fd_.reset();
  changed_.notify_all();
}

void LookupThreads::work() noexcept {
  std::unique_lock lock(mutex_);
  while (!closed_) {
    if (waiting_.empty()) {
      ++idle_;
      changed_.wait(lock);
      --idle_;
      continue;
    }
    Lookups::node_type lookup = waiting_.extract(waiting_.begin());
    lock.unlock();
    perform(lookup.mapped());
    lock.lock();
    if (closed_) {
      return;
    }
    answered_.insert(std::move(lookup));
    const std::uint64_t one = 1;
    // Cannot fail: the counter is far from full.
    static_cast<void>(::write(answers_fd_.get(), &one, sizeof one));
  }
}

}  // namespace waterspout
