// Callback: the one type in which this library keeps what users hand it to
// call later.
//
// Floor 1, context. A Callback belongs to one thread at a time; moving it to
// another (IOLoop::add_callback does) is safe.

#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <new>
#include <optional>
#include <type_traits>
#include <utility>

#include "waterspout/export.h"
#include "waterspout/origin.h"

namespace waterspout {

namespace detail {

class ContextLink;

/// What a thread runs in. Looked at for every callback that is made or called,
/// so it is read in place.
struct ContextState {
  const ContextLink* current;  ///< its chain of contexts; null is the empty one
  bool tracing;                ///< asynchronous backtraces are on
  bool bare;                   ///< neither: there is nothing to capture
};

// Initial-exec: a plain load, also from outside the shared library.
extern WATERSPOUT_API constinit thread_local ContextState context_state
    [[gnu::tls_model("initial-exec")]];

/// True if a callback that is made now has nothing to capture.
inline bool captures_nothing() noexcept { return context_state.bare; }

/// Takes a reference to the current chain for a callback made at `origin`,
/// where there is anything to capture.
WATERSPOUT_API const ContextLink* capture_chain(Origin origin);

/// The same; null where there is nothing. Allocates only while asynchronous
/// backtraces are switched on.
inline const ContextLink* capture_context(Origin origin) {
  return captures_nothing() ? nullptr : capture_chain(origin);
}

WATERSPOUT_API void release_context(const ContextLink* link) noexcept;

/// Names the operation that the callback which captured `link` was given to.
WATERSPOUT_API void name_operation(const ContextLink* link,
                                   const char* operation) noexcept;

/// Runs `function(argument)` inside the chain `link`, and in no other context.
WATERSPOUT_API void run_in_context(const ContextLink* link,
                                   void (*function)(void*), void* argument);

/// Calls the callable behind `argument`: what goes with a `void*` to
/// run_in_context.
template <class Function>
void call_as(void* argument) {
  (*static_cast<Function*>(argument))();
}

template <class Function>
concept ComparesWithNull = requires(const Function& function) {
  function == nullptr;
};

/// How an argument goes through the pointer to a callable: what fits registers
/// by itself.
template <class Argument>
using Passed = std::conditional_t<std::is_trivially_copyable_v<Argument> &&
                                      sizeof(Argument) <= 2 * sizeof(void*),
                                  Argument, Argument&&>;

/// Holds a reference that was captured until somebody takes it over.
class CapturedContext {
 public:
  explicit CapturedContext(Origin origin) : link_(capture_context(origin)) {}
  ~CapturedContext() {
    if (link_ != nullptr) {
      release_context(link_);
    }
  }
  CapturedContext(const CapturedContext&) = delete;
  CapturedContext& operator=(const CapturedContext&) = delete;

  [[nodiscard]] const ContextLink* release() noexcept {
    return std::exchange(link_, nullptr);
  }

 private:
  const ContextLink* link_;
};

}  // namespace detail

template <class Signature>
class Callback;

/// A move-only callable that remembers the stack context and the place in the
/// source with which it was made, and runs inside that context wherever it is
/// called from (Tornado: what stack_context.wrap returns).
///
/// Any callable converts to it, also one that can only be moved, so functions
/// of this library take a Callback and users pass lambdas. A Callback that is
/// passed on is moved: the first capture wins, as in Tornado. An empty
/// std::function or a null function pointer makes an empty Callback.
///
/// Cost: 64 bytes, of which 40 hold the callable without allocating (a larger
/// or over-aligned one, or one whose move may throw, is allocated). The context
/// and the origin are one word each; with no context in force a call costs two
/// comparisons more than a function pointer's. Making one may throw
/// std::bad_alloc and what the callable's copying throws; calling an empty one
/// is undefined. R is void or default-constructible.
template <class R, class... Args>
class Callback<R(Args...)> {
  static constexpr std::size_t kInlineSize = 40;

  template <class Stored>
  static constexpr bool kFitsInline =
      sizeof(Stored) <= kInlineSize &&
      alignof(Stored) <= alignof(std::max_align_t) &&
      std::is_nothrow_move_constructible_v<Stored>;

 public:
  /// Empty: tests false and must not be called.
  Callback() noexcept = default;
  Callback(std::nullptr_t) noexcept {}  // NOLINT(google-explicit-constructor)

  /// Captures the calling thread's current context; `origin` is the place of
  /// the call that made the conversion.
  template <class Function>
  requires(!std::is_same_v<std::remove_cvref_t<Function>, Callback> &&
           std::is_invocable_r_v<R, std::decay_t<Function>&, Args...>)
      Callback(Function&& function,  // NOLINT(google-explicit-constructor)
               Origin origin = Origin::here()) {
    using Stored = std::decay_t<Function>;
    if constexpr (!std::is_function_v<std::remove_reference_t<Function>> &&
                  detail::ComparesWithNull<Stored>) {
      if (function == nullptr) {
        return;
      }
    }
    detail::CapturedContext context(origin);
    emplace<Stored>(std::forward<Function>(function));
    context_ = context.release();
    origin_ = origin;
  }

  /// For those who keep callbacks: whether make_in_place takes a `Function`. It
  /// is never empty, fits in here, and making it cannot throw.
  template <class Function>
  static constexpr bool kMadeInPlace =
      std::is_class_v<std::remove_cvref_t<Function>> &&
      !std::is_same_v<std::remove_cvref_t<Function>, Callback> &&
      std::is_invocable_r_v<R, std::decay_t<Function>&, Args...> &&
      kFitsInline<std::decay_t<Function>> &&
      std::is_nothrow_constructible_v<std::decay_t<Function>, Function> &&
      // A lambda without captures does, as the function that it converts to.
      (std::is_empty_v<std::decay_t<Function>> ||
       !detail::ComparesWithNull<std::decay_t<Function>>);

  /// Makes the callable here, which is cheaper than making a Callback and
  /// moving it. Requires: this is empty; detail::captures_nothing().
  template <class Function>
  void make_in_place(Function&& function, Origin origin) noexcept {
    emplace<std::decay_t<Function>>(std::forward<Function>(function));
    context_ = nullptr;
    origin_ = origin;
  }

  Callback(Callback&& other) noexcept { take(other); }

  Callback& operator=(Callback&& other) noexcept {
    if (operations_ == nullptr) {
      take(other);
    } else if (this != &other) {
      replace(other);
    }
    return *this;
  }

  Callback(const Callback&) = delete;
  Callback& operator=(const Callback&) = delete;

  ~Callback() { reset(); }

  /// Makes it empty.
  void reset() noexcept {
    if (operations_ != nullptr) {
      destroy();
    }
  }

  explicit operator bool() const noexcept { return operations_ != nullptr; }

  /// Calls the callable inside the captured context, and in no other, and
  /// restores the caller's context afterwards, also when it throws.
  ///
  /// Requires: the Callback is not empty; it is neither destroyed nor assigned
  ///   to before the call returns.
  /// Errors: an exception of the callable goes through the captured contexts,
  ///   innermost first; what none of them handles leaves this call. Where one
  ///   was handled, the result is R{}.
  R operator()(Args... args) {
    if (context_ == nullptr && detail::context_state.bare) [[likely]] {
      return operations_->invoke(storage_, std::forward<Args>(args)...);
    }
    return call_in_context(std::forward<Args>(args)...);
  }

  /// The same for a callable that is called this once: it is taken out first,
  /// so that this is empty and free for the next one while it runs, and
  /// destroyed when it has run.
  ///
  /// Requires: the Callback is not empty.
  R call_once(Args... args) {
    if (context_ == nullptr && detail::context_state.bare) [[likely]] {
      const Operations* const operations = std::exchange(operations_, nullptr);
      return operations->call_once(storage_, std::forward<Args>(args)...);
    }
    return call_once_in_context(std::forward<Args>(args)...);
  }

  /// Where it was made.
  [[nodiscard]] Origin origin() const noexcept { return origin_; }

  /// For those who take callbacks: names the operation ("read_until") that this
  /// one was registered with, for asynchronous backtraces. `operation` is a
  /// string literal.
  void set_operation(const char* operation) noexcept {
    if (context_ != nullptr) {
      detail::name_operation(context_, operation);
    }
  }

  /// For those who report: the chain that the callback runs in; null is the
  /// empty one. Lives as long as the Callback.
  [[nodiscard]] const detail::ContextLink* context() const noexcept {
    return context_;
  }

 private:
  struct Operations {
    R (*invoke)(std::byte* storage, detail::Passed<Args>... args);
    R (*call_once)(std::byte* storage, detail::Passed<Args>... args);
    void (*relocate)(std::byte* __restrict from,
                     std::byte* __restrict to) noexcept;
    void (*destroy)(std::byte* storage) noexcept;
  };

  template <class Stored>
  static R call(Stored& function, Args&&... args) {
    if constexpr (std::is_void_v<R>) {
      static_cast<void>(std::invoke(function, std::forward<Args>(args)...));
    } else {
      return std::invoke(function, std::forward<Args>(args)...);
    }
  }

  template <class Stored>
  struct Inline {
    static Stored& in(std::byte* storage) noexcept {
      return *std::launder(reinterpret_cast<Stored*>(storage));
    }
    static R invoke(std::byte* storage, detail::Passed<Args>... args) {
      return call(in(storage), std::forward<Args>(args)...);
    }
    static R call_once(std::byte* storage, detail::Passed<Args>... args) {
      Stored taken(std::move(in(storage)));
      std::destroy_at(&in(storage));
      return call(taken, std::forward<Args>(args)...);
    }
    static void relocate(std::byte* __restrict from,
                         std::byte* __restrict to) noexcept {
      std::construct_at(reinterpret_cast<Stored*>(to), std::move(in(from)));
      std::destroy_at(&in(from));
    }
    static void destroy(std::byte* storage) noexcept {
      std::destroy_at(&in(storage));
    }
    static constexpr Operations kOperations{invoke, call_once, relocate,
                                            destroy};
  };

  // The storage holds the owner of the allocated callable.
  template <class Stored>
  struct Allocated {
    using Owner = std::unique_ptr<Stored>;
    static R invoke(std::byte* storage, detail::Passed<Args>... args) {
      return call(*Inline<Owner>::in(storage), std::forward<Args>(args)...);
    }
    static R call_once(std::byte* storage, detail::Passed<Args>... args) {
      const Owner taken(std::move(Inline<Owner>::in(storage)));
      std::destroy_at(&Inline<Owner>::in(storage));
      return call(*taken, std::forward<Args>(args)...);
    }
    static constexpr Operations kOperations{
        invoke, call_once, Inline<Owner>::relocate, Inline<Owner>::destroy};
  };

  // What is rarely done is kept out of the functions that everybody inlines.

  [[gnu::noinline]] void destroy() noexcept {
    std::exchange(operations_, nullptr)->destroy(storage_);
    if (context_ != nullptr) {
      detail::release_context(context_);
    }
  }

  // The old callable dies last: its destructor may run user code.
  [[gnu::noinline]] void replace(Callback& other) noexcept {
    const Callback old(std::move(*this));
    take(other);
  }

  [[gnu::noinline]] R call_once_in_context(detail::Passed<Args>... args) {
    Callback taken(std::move(*this));
    return taken.call_in_context(std::forward<Args>(args)...);
  }

  // Requires: this is empty.
  void take(Callback& other) noexcept {
    if (other.operations_ != nullptr) {
      operations_ = std::exchange(other.operations_, nullptr);
      context_ = other.context_;
      origin_ = other.origin_;
      operations_->relocate(other.storage_, storage_);
    }
  }

  template <class Stored, class Function>
  void emplace(Function&& function) {
    if constexpr (kFitsInline<Stored>) {
      std::construct_at(reinterpret_cast<Stored*>(storage_),
                        std::forward<Function>(function));
      operations_ = &Inline<Stored>::kOperations;
    } else {
      std::construct_at(
          reinterpret_cast<std::unique_ptr<Stored>*>(storage_),
          std::make_unique<Stored>(std::forward<Function>(function)));
      operations_ = &Allocated<Stored>::kOperations;
    }
  }

  [[gnu::noinline]] R call_in_context(detail::Passed<Args>... args) {
    if constexpr (std::is_void_v<R>) {
      auto inside = [&] {
        operations_->invoke(storage_, std::forward<Args>(args)...);
      };
      detail::run_in_context(context_, detail::call_as<decltype(inside)>,
                             &inside);
    } else {
      std::optional<R> result;
      auto inside = [&] {
        result.emplace(
            operations_->invoke(storage_, std::forward<Args>(args)...));
      };
      detail::run_in_context(context_, detail::call_as<decltype(inside)>,
                             &inside);
      return result ? std::move(*result) : R{};
    }
  }

  alignas(std::max_align_t) std::byte storage_[kInlineSize];
  const Operations* operations_ = nullptr;
  const detail::ContextLink* context_ = nullptr;  // owned with the callable
  Origin origin_;
};

}  // namespace waterspout
