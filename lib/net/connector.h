// Connector: one connected socket, of several addresses.

#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <system_error>
#include <vector>

#include "waterspout/address.h"

#include "base/unique_fd.h"
#include "loop/event.h"
#include "loop/loop_core.h"
#include "net/connect_race.h"

namespace waterspout {

/// Where to connect from; 0 and Address() leave it to the system.
struct ConnectSource {
  Address ip = {};  ///< its port is not looked at
  std::uint16_t port = 0;
};

/// Races attempts to connect, and tells its owner how that ended. Logs nothing.
/// Destroying it gives up: nobody is told, and all sockets are closed.
class Connector final : private ConnectRace::Track {
 public:
  struct Failure {
    Address address;
    std::error_code error;
  };

  /// Told once, from the loop or inside start(); may destroy the connector.
  class Owner {
   public:
    /// `fd` is non-blocking, closed on exec, and has TCP_NODELAY.
    virtual void connected(UniqueFd fd, const Address& peer) = 0;
    virtual void not_connected() = 0;

    /// It cannot go on, or one of the two above has thrown std::bad_alloc. Not
    /// told inside start(), which throws instead.
    virtual void out_of_memory() noexcept = 0;

   protected:
    ~Owner() = default;
  };

  /// Addresses past this number are left out.
  static constexpr std::size_t kMostAttempts = 64;

  /// Requires: there is an address.
  Connector(detail::LoopCore& core, const std::vector<Address>& addresses,
            const ConnectSource& source, Owner& owner);
  ~Connector();

  Connector(const Connector&) = delete;
  Connector& operator=(const Connector&) = delete;

  /// Errors: throws std::bad_alloc.
  void start() { race_.start(); }

  /// The attempts that have failed, in the order in which they did.
  [[nodiscard]] const std::vector<Failure>& failures() const noexcept {
    return failures_;
  }

  /// Counts those that are under way as failed, for `error`.
  void give_up(std::error_code error);

 private:
  struct Attempt {
    void on_writable(IOLoop::Events ready) noexcept;
    [[nodiscard]] detail::LoopCore& loop_core() noexcept {
      return connector->core_;
    }

    Connector* connector = nullptr;
    std::size_t index = 0;
    UniqueFd fd;
    std::optional<Event> writable;  // gone before its descriptor
  };

  // ConnectRace::Track.
  bool begin(std::size_t index) override;
  void start_timer() override;
  void stop_timer() override;
  void lost() override;
  void won(std::size_t index) override;

  template <class Step>
  void guarded(Step step) noexcept;
  void decided(Attempt& attempt);
  [[nodiscard]] std::error_code try_to_begin(Attempt& attempt);
  [[nodiscard]] std::error_code bind_source(int fd, int family) const;

  detail::LoopCore& core_;
  const std::vector<Address> addresses_;
  const ConnectSource source_;
  Owner& owner_;
  ConnectRace race_;
  std::vector<std::unique_ptr<Attempt>> attempts_;
  std::vector<Failure> failures_;
  TimeoutHandle delay_;
};

}  // namespace waterspout
