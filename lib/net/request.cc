#include "net/request.h"

#include <stdexcept>
#include <string>
#include <utility>

#include "waterspout/resolver.h"
#include "waterspout/stack_context.h"

#include "loop/time_math.h"

namespace waterspout {

namespace detail {

LoopCore& Request::core() const noexcept { return set_->loop_->core(); }

// The timeout goes when the request is decided or over, so before *this.
void Request::set_timeout(Duration timeout) {
  if (timeout > Duration::zero()) {
    const NullContext outside;
    timeout_ = core().call_at(later(core().time(), timeout),
                              Callback<void()>([this] { late(); }, Origin()));
  }
}

void Request::decide() noexcept {
  stop();
  core().post_task(*this);
}

void Request::stop() noexcept {
  phase_ = Phase::decided;
  core().remove_timeout(timeout_);
  let_go();
}

// Once it has left, the set, and so the loop, may go at any moment.
std::shared_ptr<Request> Request::leave() noexcept {
  phase_ = Phase::over;
  RequestHook::unlink();
  cancel_task();
  --set_->size_;
  return std::move(kept_);
}

void Request::drop() noexcept {
  if (!pending()) {
    return;
  }
  if (undecided()) {
    stop();
  }
  const std::shared_ptr<Request> self = leave();
  destroy_callback();
}

void Request::run_task() noexcept {
  const std::shared_ptr<Request> self = leave();
  call_back();
}

RequestSet::RequestSet(IOLoop& loop, const char* owner)
    : loop_(&loop), owner_(owner) {
  if (loop.core().closed()) {
    throw std::logic_error(std::string(owner) + ": the loop is closed");
  }
  loop.core().add_client(*this);
}

IOLoop& RequestSet::loop() const {
  if (loop_ == nullptr) {
    throw std::logic_error(std::string(owner_) + ": its loop is closed");
  }
  return *loop_;
}

void RequestSet::add(const std::shared_ptr<Request>& request) noexcept {
  request->kept_ = request;
  requests_.push_back(*request);
  ++size_;
}

// Destroying a callback runs user code, which may drop other requests or
// destroy whoever owns the set: by then nothing needs the loop any more.
void RequestSet::close() noexcept {
  const auto self = shared_from_this();
  IntrusiveList<Request, RequestHook> dying;
  while (Request* const request = requests_.pop_front()) {
    dying.push_back(*request);
    if (request->undecided()) {
      request->stop();
    }
  }
  loop_ = nullptr;
  ClientHook::unlink();
  while (Request* const request = dying.pop_front()) {
    request->drop();
  }
}

}  // namespace detail

void RequestHandle::cancel() noexcept {
  if (const auto request = std::exchange(request_, {}).lock()) {
    request->drop();
  }
}

bool RequestHandle::pending() const noexcept {
  const auto request = request_.lock();
  return request && request->pending();
}

}  // namespace waterspout
