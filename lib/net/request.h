// What was asked for and is to be called back: by a resolver or by a client.

#pragma once

#include <cstddef>
#include <memory>
#include <type_traits>
#include <utility>

#include "waterspout/callback.h"
#include "waterspout/ioloop.h"

#include "base/intrusive_list.h"
#include "loop/loop_core.h"

namespace waterspout::detail {

class RequestSet;

struct RequestHook : ListHook {};

/// One callback that is to come.
///
/// Life: constructed -> RequestSet::add -> decided (its callback waits for the
/// loop) -> over. It can be dropped before its callback begins, and is over
/// then too. While it is in its set it keeps itself alive.
class Request : public LoopClient,
                public RequestHook,
                public std::enable_shared_from_this<Request> {
 public:
  /// Lifetime: the set outlives what is in it.
  explicit Request(RequestSet& set) noexcept : set_(&set) {}
  virtual ~Request() = default;

  /// Until its callback begins, or it was dropped.
  [[nodiscard]] bool pending() const noexcept { return phase_ < Phase::over; }

  /// Nothing has decided it yet.
  [[nodiscard]] bool undecided() const noexcept {
    return phase_ == Phase::under_way;
  }

  /// Ends it without its callback, which is destroyed: user code runs. Does
  /// nothing if it is over.
  void drop() noexcept;

  // LoopClient.
  void run_task() noexcept final;
  void send_gathered() noexcept final {}
  void loop_closed() noexcept final {}

 protected:
  /// Requires: pending, or the beginning of call_back().
  [[nodiscard]] LoopCore& core() const noexcept;

  /// Calls late() if it is undecided when `timeout` has passed; zero is no
  /// limit. Requires: undecided.
  void set_timeout(Duration timeout);

  /// Runs the user's callback, which is destroyed afterwards. Requires: as
  /// core().
  template <class... Args>
  void run(Callback<void(Args...)> callback, const char* operation,
           std::type_identity_t<Args>... args) const noexcept {
    LoopCore& loop = core();
    if (const auto exception = loop.call<Args...>(
            callback, operation, std::forward<Args>(args)...)) {
      loop.report(exception, operation, callback.origin(), callback.context());
    }
  }

  /// Nothing more is awaited: call_back() comes from the loop.
  void decide() noexcept;

 private:
  friend class RequestSet;

  enum class Phase { under_way, decided, over };

  /// The deadline has passed. Calls decide().
  virtual void late() noexcept = 0;

  /// Stops what is under way. Runs no user code.
  virtual void let_go() noexcept = 0;

  /// Calls run().
  virtual void call_back() noexcept = 0;

  /// Destroys the user's callback.
  virtual void destroy_callback() noexcept = 0;

  void stop() noexcept;
  [[nodiscard]] std::shared_ptr<Request> leave() noexcept;

  RequestSet* const set_;  // valid while pending
  Phase phase_ = Phase::under_way;
  std::shared_ptr<Request> kept_;  // while in its set
  TimeoutHandle timeout_;
};

/// The requests of one resolver or client. Their loop's closing drops them.
class RequestSet final : public LoopClient,
                         public std::enable_shared_from_this<RequestSet> {
 public:
  /// `owner` is a string literal that names whose they are, for messages.
  /// Errors: throws std::logic_error on a closed loop.
  RequestSet(IOLoop& loop, const char* owner);
  ~RequestSet() = default;

  void add(const std::shared_ptr<Request>& request) noexcept;

  /// Drops all, and takes no more.
  void close() noexcept;

  [[nodiscard]] std::size_t size() const noexcept { return size_; }

  /// Errors: throws std::logic_error once it is closed.
  [[nodiscard]] IOLoop& loop() const;

  // LoopClient.
  void run_task() noexcept override {}
  void send_gathered() noexcept override {}
  void loop_closed() noexcept override { close(); }

 private:
  friend class Request;

  IOLoop* loop_;  // null once closed
  const char* const owner_;
  IntrusiveList<Request, RequestHook> requests_;
  std::size_t size_ = 0;
};

}  // namespace waterspout::detail
