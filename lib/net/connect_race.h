// ConnectRace: which attempt to connect begins when, as RFC 8305 has it. Pure
// logic: Connector gives it sockets and time, its test fakes of both.

#pragma once

#include <chrono>
#include <cstddef>
#include <vector>

#include "waterspout/address.h"
#include "waterspout/ioloop.h"

namespace waterspout {

/// The order in which to try addresses: the families in turn, beginning with
/// that of the first one, and each in its own order (RFC 8305, section 4).
/// Leaves out repetitions, and what is past `most`.
[[nodiscard]] std::vector<Address> interleave_families(
    const std::vector<Address>& addresses, std::size_t most);

/// Attempts 0, 1, 2... compete. Each begins when the one before has failed, or
/// has taken a while.
class ConnectRace {
 public:
  /// RFC 8305, section 5: the Connection Attempt Delay.
  static constexpr Duration kDelay = std::chrono::milliseconds(250);

  /// What the race is run on. It may go in won() and lost(), which end the
  /// race; anything else must not destroy it.
  class Track {
   public:
    /// False if the attempt has failed at once.
    virtual bool begin(std::size_t attempt) = 0;

    /// Asks for delay_passed() after kDelay, instead of any earlier one.
    virtual void start_timer() = 0;
    virtual void stop_timer() = 0;

    /// Every attempt has failed.
    virtual void lost() = 0;

    /// The other attempts are not wanted any more.
    virtual void won(std::size_t attempt) = 0;

   protected:
    ~Track() = default;
  };

  /// Lifetime: `track` outlives this.
  ConnectRace(Track& track, std::size_t attempts)
      : track_(track), attempts_(attempts) {}

  void start() { begin_next(); }

  // What becomes of attempts that have begun. Once the race has ended these do
  // nothing.
  void failed();
  void succeeded(std::size_t attempt);
  void delay_passed() { begin_next(); }

 private:
  void begin_next();

  Track& track_;
  const std::size_t attempts_;
  std::size_t next_ = 0;
  std::size_t under_way_ = 0;
  bool ended_ = false;
};

}  // namespace waterspout
