#include "waterspout/stack_context.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <vector>

#include "context/backtrace.h"

namespace waterspout {
namespace detail {

struct Registration {
  Origin origin;
  const char* operation = nullptr;
};

/// The registrations that led to a callback, newest first. Bounded, so that a
/// chain of callbacks that never ends does not grow one.
struct Trace {
  static constexpr std::size_t kDepth = 16;

  std::array<Registration, kDepth> registrations;
  std::size_t count = 0;
};

/// One link of an immutable chain, innermost first: a context, or the trace of
/// the callback that captured the chain. Counts its references; the link that
/// it hangs on is one of them.
class ContextLink {
 public:
  ContextLink(const ContextLink* outer, std::shared_ptr<Context> context);
  ContextLink(const ContextLink* outer, std::unique_ptr<Trace> trace);

  ContextLink(const ContextLink&) = delete;
  ContextLink& operator=(const ContextLink&) = delete;

  [[nodiscard]] const ContextLink* outer() const noexcept { return outer_; }
  [[nodiscard]] const std::shared_ptr<Context>& context() const noexcept {
    return context_;
  }
  [[nodiscard]] Trace* trace() const noexcept { return trace_.get(); }
  [[nodiscard]] bool active() const noexcept {
    return context_ == nullptr || context_->active();
  }

  void retain() const noexcept {
    references_.fetch_add(1, std::memory_order_relaxed);
  }
  /// True if that was the last one.
  [[nodiscard]] bool release() const noexcept {
    return references_.fetch_sub(1, std::memory_order_acq_rel) == 1;
  }

 private:
  mutable std::atomic<std::size_t> references_ = 1;
  const ContextLink* outer_;
  std::shared_ptr<Context> context_;
  std::unique_ptr<Trace> trace_;
};

constinit thread_local ContextState context_state{nullptr, false, true};

namespace {

void set_context_state(const ContextLink* current, bool tracing) noexcept {
  context_state = {current, tracing, current == nullptr && !tracing};
}

// Installs a chain; gives the one before.
const ContextLink* exchange_current(const ContextLink* link) noexcept {
  const ContextLink* const previous = context_state.current;
  set_context_state(link, context_state.tracing);
  return previous;
}

const ContextLink* retained(const ContextLink* link) noexcept {
  if (link != nullptr) {
    link->retain();
  }
  return link;
}

/// Owns one reference to a chain.
class LinkHolder {
 public:
  explicit LinkHolder(const ContextLink* link) noexcept : link_(link) {}
  ~LinkHolder() { release_context(link_); }
  LinkHolder(const LinkHolder&) = delete;
  LinkHolder& operator=(const LinkHolder&) = delete;

  [[nodiscard]] const ContextLink* get() const noexcept { return link_; }

 private:
  const ContextLink* link_;
};

/// Installs a chain for as long as it lives.
class CurrentChain {
 public:
  explicit CurrentChain(const ContextLink* link) noexcept
      : previous_(exchange_current(link)) {}
  ~CurrentChain() { exchange_current(previous_); }
  CurrentChain(const CurrentChain&) = delete;
  CurrentChain& operator=(const CurrentChain&) = delete;

 private:
  const ContextLink* previous_;
};

const ContextLink* make_link(const ContextLink* outer,
                             std::shared_ptr<Context> context) {
  return std::make_unique<ContextLink>(outer, std::move(context)).release();
}

const Trace* trace_of(const ContextLink* link) noexcept {
  while (link != nullptr && link->trace() == nullptr) {
    link = link->outer();
  }
  return link != nullptr ? link->trace() : nullptr;
}

// The current chain with the trace of a callback made at `origin` in front. It
// replaces the trace of the running callback, which it begins with a copy of.
const ContextLink* capture_with_trace(Origin origin) {
  auto trace = std::make_unique<Trace>();
  trace->registrations[0].origin = origin;
  trace->count = 1;
  if (const Trace* parent = trace_of(context_state.current);
      parent != nullptr) {
    const std::size_t kept = std::min(parent->count, Trace::kDepth - 1);
    std::copy_n(parent->registrations.begin(), kept,
                trace->registrations.begin() + 1);
    trace->count = kept + 1;
  }
  const bool traced = context_state.current != nullptr &&
                      context_state.current->trace() != nullptr;
  const ContextLink* const outer =
      traced ? context_state.current->outer() : context_state.current;
  return std::make_unique<ContextLink>(outer, std::move(trace)).release();
}

const ContextLink* copy_of(const ContextLink& link, const ContextLink* outer) {
  if (link.trace() == nullptr) {
    return make_link(outer, link.context());
  }
  auto trace = std::make_unique<Trace>(*link.trace());
  return std::make_unique<ContextLink>(outer, std::move(trace)).release();
}

// A new reference to `link` without the contexts that were switched off: to
// the same chain where there are none, else to a copy of its front. Without
// this, a callback chain that adds and switches off a context at every step
// would drag all of them along.
const ContextLink* without_inactive(const ContextLink* link) {
  const ContextLink* last_inactive = nullptr;
  for (const auto* at = link; at != nullptr; at = at->outer()) {
    last_inactive = at->active() ? last_inactive : at;
  }
  if (last_inactive == nullptr) {
    return retained(link);
  }
  std::vector<const ContextLink*> kept;
  for (const auto* at = link; at != last_inactive; at = at->outer()) {
    if (at->active()) {
      kept.push_back(at);
    }
  }
  const ContextLink* chain = retained(last_inactive->outer());
  for (; !kept.empty(); kept.pop_back()) {
    const LinkHolder holder(chain);
    chain = copy_of(*kept.back(), holder.get());
  }
  return chain;
}

struct Step {
  const ContextLink* link;
  void (*function)(void*);
  void* argument;
};

void surround_with_link(void* argument) {
  const Step& step = *static_cast<const Step*>(argument);
  if (step.link->context() != nullptr) {
    step.link->context()->surround(step.function, step.argument);
  } else {
    step.function(step.argument);
  }
}

// Nests the contexts as calls, so that entering, leaving, failing to enter and
// handling exceptions need no rules of their own: the outermost is the first
// frame.
void surround_with_chain(Step step) {
  if (step.link == nullptr) {
    step.function(step.argument);
    return;
  }
  surround_with_chain({step.link->outer(), surround_with_link, &step});
}

class HandlerContext final : public Context {
 public:
  explicit HandlerContext(std::function<bool(std::exception_ptr)> handler)
      : handler_(std::move(handler)) {}

  void surround(void (*function)(void*), void* argument) override {
    try {
      function(argument);
    } catch (...) {
      if (!handler_(std::current_exception())) {
        throw;
      }
    }
  }

 private:
  std::function<bool(std::exception_ptr)> handler_;
};

}  // namespace

ContextLink::ContextLink(const ContextLink* outer,
                         std::shared_ptr<Context> context)
    : outer_(retained(outer)), context_(std::move(context)) {}

ContextLink::ContextLink(const ContextLink* outer, std::unique_ptr<Trace> trace)
    : outer_(retained(outer)), trace_(std::move(trace)) {}

Context::~Context() = default;

const ContextLink* capture_chain(Origin origin) {
  if (context_state.tracing) {
    return capture_with_trace(origin);
  }
  return retained(context_state.current);
}

// Not recursive: a chain may be long.
void release_context(const ContextLink* link) noexcept {
  while (link != nullptr && link->release()) {
    const std::unique_ptr<const ContextLink> dying(link);
    link = dying->outer();
  }
}

void name_operation(const ContextLink* link, const char* operation) noexcept {
  if (link->trace() != nullptr) {
    link->trace()->registrations[0].operation = operation;
  }
}

void run_in_context(const ContextLink* link, void (*function)(void*),
                    void* argument) {
  const LinkHolder active(without_inactive(link));
  const CurrentChain installed(active.get());
  surround_with_chain({active.get(), function, argument});
}

std::shared_ptr<Context> make_handler_context(
    std::function<bool(std::exception_ptr)> handler) {
  if (!handler) {
    throw std::invalid_argument("ExceptionStackContext: handler: is empty");
  }
  return std::make_shared<HandlerContext>(std::move(handler));
}

void run_with_context(const std::shared_ptr<Context>& context,
                      void (*function)(void*), void* argument) {
  const LinkHolder link(make_link(context_state.current, context));
  const CurrentChain installed(link.get());
  context->surround(function, argument);
}

ContextScope::ContextScope() noexcept
    : previous_(exchange_current(nullptr)), installed_(nullptr) {}

ContextScope::ContextScope(std::shared_ptr<Context> context)
    : context_(std::move(context)),
      previous_(context_state.current),
      installed_(make_link(previous_, context_)) {
  exchange_current(installed_);
  try {
    entered_ = context_->enter();
  } catch (...) {
    exchange_current(previous_);
    release_context(installed_);
    throw;
  }
}

ContextScope::~ContextScope() {
  entered_.reset();
  if (context_state.current != installed_) {
    std::fputs("waterspout: stack context scopes ended out of order\n", stderr);
    std::abort();
  }
  exchange_current(previous_);
  release_context(installed_);
}

Deactivate ContextScope::deactivate_later() const {
  return Deactivate(context_);
}

}  // namespace detail

Deactivate::Deactivate(std::shared_ptr<detail::Context> context) noexcept
    : context_(std::move(context)) {}

void Deactivate::operator()() const noexcept { context_->deactivate(); }

std::string describe_backtrace(const detail::ContextLink* link) {
  const detail::Trace* const trace = detail::trace_of(link);
  std::string text;
  for (std::size_t i = 0; trace != nullptr && i < trace->count; ++i) {
    const detail::Registration& registration = trace->registrations[i];
    text += i == 0 ? "" : ", from ";
    text +=
        registration.operation != nullptr ? registration.operation : "callback";
    text += " at " + registration.origin.to_string();
  }
  return text;
}

void stack_context::set_async_backtrace(bool on) noexcept {
  detail::set_context_state(detail::context_state.current, on);
}

std::string stack_context::async_backtrace() {
  return describe_backtrace(detail::context_state.current);
}

}  // namespace waterspout
