// What a loop knows of the objects that live on it.

#pragma once

#include "base/intrusive_list.h"

namespace waterspout {

struct ClientHook : ListHook {};

/// A place on an Agenda, and what for.
struct AgendaHook : ListHook {
  bool posted = false;    ///< to run
  bool gathered = false;  ///< to send
};

/// An object on a loop, such as a stream. It can post itself to be run once
/// more in this turn or the next, and to send at the end of the event that is
/// handled now; it is told when the loop closes. Destroying it takes it out of
/// all of that.
class LoopClient : public ClientHook, public AgendaHook {
 public:
  LoopClient(const LoopClient&) = delete;
  LoopClient& operator=(const LoopClient&) = delete;

  /// What LoopCore::post_task asked for. Runs no deeper than the loop itself.
  virtual void run_task() noexcept = 0;

  /// What LoopCore::send_at_end asked for.
  virtual void send_gathered() noexcept = 0;

  /// The loop is closing: drop everything that belongs to it.
  virtual void loop_closed() noexcept = 0;

  /// True from LoopCore::post_task until run_task begins.
  [[nodiscard]] bool has_task() const noexcept { return posted; }

 protected:
  LoopClient() = default;
  ~LoopClient() = default;

  /// Takes LoopCore::post_task back.
  void cancel_task() noexcept { posted = false; }
};

}  // namespace waterspout
