// One connection of the relay: what sources and consumers have in common.

#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "waterspout/ioloop.h"
#include "waterspout/iostream.h"

namespace device_relay {

/// Life: constructed -> started -> closed, with its stream.
///
/// Lifetime: the stream's callbacks hold the session, first of all the close
/// callback, and the session holds the stream; the stream's close lets go of
/// all. So a session is there as long as its connection, and nobody else need
/// hold it.
class Session : public std::enable_shared_from_this<Session> {
 public:
  static constexpr waterspout::Duration kTimeForHandshake =
      std::chrono::seconds(10);

  virtual ~Session() = default;

  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  /// Takes over the stream, also from another session.
  void start();

 protected:
  static constexpr std::string_view kAccepted{"\x00", 1};
  static constexpr std::string_view kRefused{"\x01", 1};

  explicit Session(std::shared_ptr<waterspout::IOStream> stream);

  /// The first step.
  virtual void begin() = 0;

  /// The connection is closed. The last call.
  virtual void on_close() {}

  /// The session as what it is, for callbacks to hold.
  template <class Kind>
  [[nodiscard]] std::shared_ptr<Kind> self() {
    return std::static_pointer_cast<Kind>(shared_from_this());
  }

  /// Reads a length and that many bytes; refuses what is empty or longer than
  /// `longest`. `name` says in the log what it is.
  void read_text(const std::string& name, std::size_t longest,
                 std::function<void(std::string_view text)> on_text);

  /// Answers kAccepted or kRefused; the second closes, and logs why.
  void accept();
  void refuse(std::string_view reason);

  /// Closes, and logs why.
  void drop(std::string_view reason);

  /// Closes when all has been sent, but not much later than now.
  void finish();

  /// The connection may take its time from now on.
  void end_handshake();

  [[nodiscard]] const std::shared_ptr<waterspout::IOStream>& stream()
      const noexcept {
    return stream_;
  }

 private:
  void set_deadline(waterspout::Duration delay, const std::string& reason);
  void log(std::string_view reason);

  const std::shared_ptr<waterspout::IOStream> stream_;
  const std::string peer_;
  waterspout::TimeoutHandle deadline_;
};

}  // namespace device_relay
