// Agenda: what a turn leaves to its end.

#pragma once

#include "base/intrusive_list.h"
#include "loop/loop_client.h"

namespace waterspout {

/// First the tasks, then the output that has been gathered until then, so that
/// what several of them write to one stream leaves at once.
class Agenda {
 public:
  // Do nothing for a client that is on it with that already.
  void post_task(LoopClient& client) noexcept {
    client.posted = true;
    clients_.push_back(client);
  }
  void send_at_end(LoopClient& client) noexcept {
    client.gathered = true;
    clients_.push_back(client);
  }

  /// True if anybody is on it.
  [[nodiscard]] bool waits() const noexcept { return !clients_.empty(); }

  /// Runs the tasks, and sends all output. Tasks that these post are left.
  void run() noexcept {
    run_tasks();
    while (send_output()) {
    }
  }

 private:
  using Clients = IntrusiveList<LoopClient, AgendaHook>;

  void run_tasks() noexcept;
  bool send_output() noexcept;

  Clients clients_;
};

}  // namespace waterspout
