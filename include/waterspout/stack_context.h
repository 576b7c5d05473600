// Stack contexts: the exception guard, and anything else that should surround
// a chain of callbacks however far the loop carries it.
//
//   ExceptionStackContext guard([&](std::exception_ptr error) {
//     log("request 7", error);
//     return true;  // handled
//   });
//   stream->connect(address, [=] { stream->read_until("\n", on_line); });
//   // A throw in on_line, two callbacks later, reaches the guard's handler.
//
// Floor 1, context. A context is entered by a scope on the stack; every
// Callback made inside remembers the whole chain of contexts and runs inside it
// again. Scopes belong to one thread and end in reverse order. A captured
// chain is immutable and goes with its Callback to any thread; handlers and
// factories run on the thread that runs the Callback.

#pragma once

#include <atomic>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>

#include "waterspout/callback.h"
#include "waterspout/export.h"
#include "waterspout/origin.h"

namespace waterspout {

namespace detail {

class ContextScope;

/// One context, shared by the scope and every chain that was captured inside.
class WATERSPOUT_API Context {
 public:
  Context() = default;
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;
  virtual ~Context();

  /// Runs `function(argument)` with this context around it.
  virtual void surround(void (*function)(void*), void* argument) = 0;

  /// Enters for a scope, which holds what comes back until it ends.
  virtual std::shared_ptr<void> enter() { return nullptr; }

  [[nodiscard]] bool active() const noexcept { return active_; }
  void deactivate() noexcept { active_ = false; }

 private:
  std::atomic<bool> active_ = true;
};

template <class Factory>
class FactoryContext final : public Context {
 public:
  explicit FactoryContext(Factory factory) : factory_(std::move(factory)) {}

  void surround(void (*function)(void*), void* argument) override {
    [[maybe_unused]] auto entered = factory_();
    function(argument);
  }

  std::shared_ptr<void> enter() override {
    return std::make_shared<Entered>(factory_);
  }

 private:
  struct Entered {
    explicit Entered(Factory& factory) : object(factory()) {}
    std::invoke_result_t<Factory&> object;
  };

  Factory factory_;
};

WATERSPOUT_API std::shared_ptr<Context> make_handler_context(
    std::function<bool(std::exception_ptr)> handler);

/// Runs `function(argument)` in the current chain with `context` added.
WATERSPOUT_API void run_with_context(const std::shared_ptr<Context>& context,
                                     void (*function)(void*), void* argument);

}  // namespace detail

/// Switches one context off, from anywhere, later too: what Tornado's
/// `with StackContext(...) as deactivate` gives.
///
/// From then on no callback runs inside that context, not even one that was
/// made inside it before. A callback that is running inside it now is not
/// disturbed. Copies switch the same context; calling it twice does nothing
/// more. Thread: any.
class WATERSPOUT_API Deactivate {
 public:
  void operator()() const noexcept;

 private:
  friend class detail::ContextScope;
  explicit Deactivate(std::shared_ptr<detail::Context> context) noexcept;

  std::shared_ptr<detail::Context> context_;
};

namespace detail {

/// The part that the three scopes share: installs a chain, restores the old
/// one. Ending scopes out of order is a broken invariant and aborts (Tornado:
/// StackContextInconsistentError).
class WATERSPOUT_API ContextScope {
 public:
  ContextScope(const ContextScope&) = delete;
  ContextScope& operator=(const ContextScope&) = delete;

 protected:
  ContextScope() noexcept;  // enters the empty chain
  explicit ContextScope(std::shared_ptr<Context> context);
  ~ContextScope();

  [[nodiscard]] Deactivate deactivate_later() const;

 private:
  std::shared_ptr<Context> context_;
  std::shared_ptr<void> entered_;
  const ContextLink* previous_;
  const ContextLink* installed_;
};

}  // namespace detail

/// Surrounds callbacks with an object: for a request id, a logger, a lock that
/// is fine to hold for that long.
///
/// `factory()` makes an object of any type; the object's constructor enters and
/// its destructor leaves. One is made for the scope itself, and a fresh one for
/// every run of every Callback made inside, outermost context first; it is
/// destroyed when that run ends, also by an exception.
///
/// Errors: the constructor throws what the factory throws, and has then entered
///   nothing. If a factory throws later, contexts further in are not entered
///   and the callback is not called; the contexts already entered see the
///   exception. A StackContext never consumes an exception, as in Tornado
///   since 3.1.
/// Tornado: StackContext(context_factory).
class StackContext : private detail::ContextScope {
 public:
  template <class Factory>
  requires std::is_invocable_v<Factory&>
  explicit StackContext(Factory factory)
      : ContextScope(make(std::move(factory))) {}

  /// Switches this context off, now or later.
  [[nodiscard]] Deactivate deactivate() const { return deactivate_later(); }

  /// The context without a scope, for run_with_stack_context.
  template <class Factory>
  [[nodiscard]] static std::shared_ptr<detail::Context> make(Factory factory) {
    return std::make_shared<detail::FactoryContext<Factory>>(
        std::move(factory));
  }
};

/// Sends exceptions to a handler: every exception that leaves a Callback made
/// inside, however many callbacks later, and that no context further in has
/// handled. It runs in the chain of contexts of that Callback, and on its
/// thread.
///
/// The handler answers true if it has handled the exception; false lets it go
/// on to the next context out. What the handler throws replaces the exception.
/// The scope itself cannot catch what is thrown inside it synchronously (a
/// destructor cannot): run_with_stack_context does.
///
/// Tornado: ExceptionStackContext(exception_handler).
class ExceptionStackContext : private detail::ContextScope {
 public:
  using Handler = std::function<bool(std::exception_ptr)>;

  /// Errors: throws std::invalid_argument if `handler` is empty.
  explicit ExceptionStackContext(Handler handler)
      : ContextScope(make(std::move(handler))) {}

  /// Switches this context off, now or later.
  [[nodiscard]] Deactivate deactivate() const { return deactivate_later(); }

  /// The context without a scope, for run_with_stack_context.
  [[nodiscard]] static std::shared_ptr<detail::Context> make(Handler handler) {
    return detail::make_handler_context(std::move(handler));
  }
};

/// No context inside: for work that is shared, pooled or outlives the request
/// that happens to start it. Tornado: NullContext.
class NullContext : private detail::ContextScope {
 public:
  NullContext() noexcept = default;
};

/// Calls `function` inside a context made from `argument` (a StackContext's
/// factory or an ExceptionStackContext's handler) and returns its result.
/// An exception that `function` throws now reaches the handler too; where it
/// was handled the result is a value-initialised one.
///
///   run_with_stack_context<ExceptionStackContext>(handler, [&] { start(); });
///
/// Tornado: run_with_stack_context(context, func).
template <class Context, class Argument, class Function>
auto run_with_stack_context(Argument&& argument, Function&& function)
    -> std::invoke_result_t<Function> {
  using Result = std::invoke_result_t<Function>;
  const std::shared_ptr<detail::Context> context =
      Context::make(std::forward<Argument>(argument));
  if constexpr (std::is_void_v<Result>) {
    auto inside = [&] { static_cast<void>(function()); };
    detail::run_with_context(context, detail::call_as<decltype(inside)>,
                             &inside);
  } else {
    std::optional<Result> result;
    auto inside = [&] { result.emplace(function()); };
    detail::run_with_context(context, detail::call_as<decltype(inside)>,
                             &inside);
    return result ? std::move(*result) : Result{};
  }
}

namespace stack_context {

/// `function` as a Callback that runs in the current context; a Callback comes
/// back as it is, since the first capture wins. wrap<void(int)>(f).
/// Tornado: stack_context.wrap.
template <class Signature = void(), class Function>
[[nodiscard]] Callback<Signature> wrap(Function&& function,
                                       Origin origin = Origin::here()) {
  if constexpr (std::is_same_v<std::remove_cvref_t<Function>,
                               Callback<Signature>>) {
    return std::forward<Function>(function);
  } else if constexpr (std::is_null_pointer_v<std::remove_cvref_t<Function>>) {
    return nullptr;
  } else {
    return Callback<Signature>(std::forward<Function>(function), origin);
  }
}

/// Switches asynchronous backtraces on or off for callbacks that the calling
/// thread makes from now on. Off, as at the start, they cost one branch a
/// callback; on, one allocation.
WATERSPOUT_API void set_async_backtrace(bool on) noexcept;

/// The chain of registrations that led to the callback which runs now, newest
/// first: "read_until at fetch.cc:41, from connect at fetch.cc:30". Empty
/// outside callbacks and while backtraces are off. The 16 newest are kept.
[[nodiscard]] WATERSPOUT_API std::string async_backtrace();

}  // namespace stack_context

}  // namespace waterspout
