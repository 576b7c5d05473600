// Resolver: from a host's name to its addresses, without holding up the loop.
//
//   waterspout::ThreadedResolver resolver(loop);
//   resolver.resolve("example.org", 80, {.timeout = 5s},
//                    [](std::error_code error,
//                       const std::vector<waterspout::Address>& addresses) {
//                      ...
//                    });
//
// Floor 3, net. Clients rarely need it: TCPClient (tcpclient.h) has one of its
// own. A resolver belongs to its loop's thread.

#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "waterspout/address.h"
#include "waterspout/callback.h"
#include "waterspout/export.h"
#include "waterspout/ioloop.h"

namespace waterspout {

namespace detail {
class Request;
class RequestSet;
class ResolveRequest;
}  // namespace detail

/// Names something that was asked for: one Resolver::resolve, or one
/// TCPClient::connect. A value: copies name the same; letting go of all of them
/// changes nothing. Belongs to the loop's thread; may outlive what it names.
class WATERSPOUT_API RequestHandle {
 public:
  RequestHandle() noexcept = default;  ///< names nothing

  /// Takes the request back: its callback is destroyed and will not run. Does
  /// nothing once the callback has begun to run, or was dropped.
  void cancel() noexcept;

  /// True until the callback begins to run, or is dropped.
  [[nodiscard]] bool pending() const noexcept;

  /// For the library.
  explicit RequestHandle(std::weak_ptr<detail::Request> request) noexcept
      : request_(std::move(request)) {}

 private:
  std::weak_ptr<detail::Request> request_;
};

struct ResolveOptions {
  /// AF_INET or AF_INET6 (of <sys/socket.h>) for addresses of one family alone;
  /// AF_UNSPEC, which is 0, for both.
  int family = 0;
  /// How long the answer may take; zero is no limit of ours.
  Duration timeout = Duration::zero();
};

/// What finds addresses. Those that the library has are below; to add another
/// one, override look_up().
///
/// Lifetime: destroying a resolver, or closing its loop, drops what is pending;
/// it may outlive the loop.
/// Tornado: Resolver, which is configured for the whole process.
class WATERSPOUT_API Resolver {
 public:
  /// The addresses in the order in which to try them; at least one unless there
  /// is an `error`.
  using ResolveCallback =
      Callback<void(std::error_code error, const std::vector<Address>&)>;

  /// The longest name that DNS has; one dot behind it is not counted.
  static constexpr std::size_t kLongestName = 253;

  /// Errors: throws std::logic_error on a closed loop.
  explicit Resolver(IOLoop& loop);

  Resolver(const Resolver&) = delete;
  Resolver& operator=(const Resolver&) = delete;
  virtual ~Resolver();

  /// Finds the addresses of `host`: a name, or an IP literal, where IPv6 may
  /// stand in brackets and have a zone ("[fe80::1%eth0]"). Each comes with
  /// `port`. Nothing is ever cut off a name.
  ///
  /// Callback: once; never inside this call, also for literals. Its error is
  ///   one of resolver_category(), std::errc::timed_out, or another value of
  ///   errno.
  /// Errors: throws std::invalid_argument, with `host` quoted, if it is empty,
  ///   longer than kLongestName, holds a NUL, or has a colon or a bracket and
  ///   is no IPv6 literal; for a family that is none of those above, a negative
  ///   timeout, or an empty callback. Throws std::logic_error once the loop is
  ///   closed.
  /// Tornado: resolve(host, port, family, callback), which raises the error in
  ///   the callback's stack context.
  RequestHandle resolve(std::string_view host, std::uint16_t port,
                        ResolveCallback callback);
  RequestHandle resolve(std::string_view host, std::uint16_t port,
                        ResolveOptions options, ResolveCallback callback);

  /// How many callbacks are still to come.
  [[nodiscard]] std::size_t pending() const noexcept;

  /// Throws std::logic_error once it is closed.
  [[nodiscard]] IOLoop& loop() const;

 protected:
  /// What a resolver is asked, and where it answers. A value: copies name the
  /// same question; it may outlive the resolver.
  class WATERSPOUT_API Question {
   public:
    [[nodiscard]] const std::string& host() const noexcept;
    [[nodiscard]] std::uint16_t port() const noexcept;
    [[nodiscard]] int family() const noexcept;

    /// Ends the question. Nothing of the user's is called before this returns.
    /// Does nothing if it has ended: by an answer, by cancel(), by its timeout,
    /// or with the resolver or the loop.
    ///
    /// No error and no addresses count as EAI_NODATA; so does what has another
    /// family than was asked for.
    void answer(std::error_code error, std::vector<Address> addresses) const;

    /// Answers an IP literal; returns false, and does nothing, for a name.
    [[nodiscard]] bool answer_literal() const;

    /// `function` is called if the question ends without an answer, which may
    /// be while the base class is destroyed, after the derived one. It throws
    /// nothing.
    void when_dropped(std::function<void()> function) const;

   private:
    friend class Resolver;
    explicit Question(std::shared_ptr<detail::ResolveRequest> request) noexcept;

    std::shared_ptr<detail::ResolveRequest> request_;
  };

  /// Finds out, and answers now or later. Runs inside resolve().
  ///
  /// Errors: what it throws leaves resolve(), and the question has ended.
  virtual void look_up(Question question) = 0;

 private:
  std::shared_ptr<detail::RequestSet> requests_;
};

/// Asks the C library (getaddrinfo(3)) in threads, so names are found wherever
/// the system finds them: the hosts file, DNS with its search domains, mDNS.
/// IP literals are answered without a thread.
///
/// A question that waits for a thread is forgotten when it is cancelled. One
/// that a thread has begun cannot be stopped: its answer is ignored, and the
/// thread is busy until the C library gives up.
///
/// Nothing ever waits for the threads, neither the destructor nor the end of
/// the program. They see no signals.
/// Tornado: ThreadedResolver, one pool for the process.
class WATERSPOUT_API ThreadedResolver final : public Resolver {
 public:
  struct Options {
    /// Threads at most. They are started as questions come, and kept.
    std::size_t threads = 4;
  };

  /// Errors: throws std::invalid_argument for no threads, std::logic_error on a
  ///   closed loop.
  explicit ThreadedResolver(IOLoop& loop);
  ThreadedResolver(IOLoop& loop, Options options);
  ~ThreadedResolver() override;

 protected:
  /// A question is answered with the error of the system where it can start no
  /// thread and has none, or has no descriptor for a first answer.
  void look_up(Question question) override;

 private:
  struct Lookups;
  std::shared_ptr<Lookups> lookups_;
};

/// A host and a port.
struct HostAndPort {
  std::string host;
  std::uint16_t port = 0;

  // NOLINTNEXTLINE(modernize-use-nullptr): it takes the 0 of <=> for a pointer
  friend auto operator<=>(const HostAndPort&, const HostAndPort&) = default;
};

/// Answers for some hosts with others', and asks another resolver.
///
///   OverrideResolver resolver(inner, {.hosts = {{"db", "10.0.0.7"}}});
///
/// Tornado: OverrideResolver(resolver, mapping).
class WATERSPOUT_API OverrideResolver final : public Resolver {
 public:
  /// Hosts are compared without regard to the case of ASCII letters, and are
  /// replaced once: by an IP literal or by the name to look up.
  struct Mapping {
    std::map<HostAndPort, HostAndPort> endpoints = {};  ///< looked at first
    std::map<std::string, std::string> hosts = {};
  };

  /// Lifetime: `inner` outlives this.
  /// Errors: throws std::invalid_argument for a replacement that
  ///   Resolver::resolve would refuse, std::logic_error if `inner`'s loop is
  ///   closed.
  OverrideResolver(Resolver& inner, const Mapping& mapping);

 protected:
  void look_up(Question question) override;

 private:
  Resolver& inner_;
  Mapping mapping_;
};

/// Asks DNS itself, by c-ares, on the loop and without threads: for many
/// questions at once. It reads the hosts file and resolv.conf(5) when it is
/// made, and knows none of the system's other sources.
///
/// A question that is cancelled goes on quietly until it is answered or c-ares
/// gives up.
/// Tornado: CaresResolver.
class WATERSPOUT_API CAresResolver final : public Resolver {
 public:
  /// Errors: throws std::logic_error if the library was built without the
  ///   feature `cares`, or on a closed loop; std::runtime_error with c-ares's
  ///   reason.
  explicit CAresResolver(IOLoop& loop);
  ~CAresResolver() override;

 protected:
  void look_up(Question question) override;

 private:
  struct Channel;
  std::shared_ptr<Channel> channel_;
};

}  // namespace waterspout
