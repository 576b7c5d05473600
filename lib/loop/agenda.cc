#include "loop/agenda.h"

#include <utility>

namespace waterspout {

// A client that is called may be gone afterwards, so it is put where it belongs
// before.

void Agenda::run_tasks() noexcept {
  Clients round;
  round.take_all(clients_);
  while (LoopClient* const client = round.pop_front()) {
    if (client->gathered) {
      clients_.push_back(*client);
    }
    if (std::exchange(client->posted, false)) {
      client->run_task();
    }
  }
}

// False if there was none.
bool Agenda::send_output() noexcept {
  Clients round;
  round.take_all(clients_);
  bool sent = false;
  while (LoopClient* const client = round.pop_front()) {
    if (client->posted) {
      clients_.push_back(*client);
    }
    if (std::exchange(client->gathered, false)) {
      sent = true;
      client->send_gathered();
    }
  }
  return sent;
}

}  // namespace waterspout
