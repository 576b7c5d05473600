// What the load generator asks of a server.

#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "load/server_process.h"

namespace load {

struct Setup {
  std::uint16_t port = 0;
  bool tls = false;
  std::size_t connections = 1;
  std::size_t in_flight = 1;  ///< messages sent at once on each connection
  std::size_t size = 64;      ///< bytes of a message, its end included
  std::size_t operations = 1000;
  std::size_t warm_up = 0;  ///< operations before those that count
  const ServerProcess* server = nullptr;  ///< null: nothing is measured
};

/// Figures by their names.
using Figures = std::map<std::string, double>;

/// Every message comes back as it is: the server's modes line, line2 and
/// bytes64k. In rounds: all that is in flight on all connections is sent, then
/// all answers are read. Figures: operations, and cpu_ns with a server.
Figures echo(const Setup& setup);

/// The server's mode http, in the same rounds.
Figures http(const Setup& setup);

/// Connects, sends a line, reads to the end; `connections` at a time.
Figures churn(const Setup& setup);

/// To the mode sink; an operation is a megabyte (1,000,000 bytes).
Figures send(const Setup& setup);

/// From the mode source; an operation is a megabyte.
Figures receive(const Setup& setup);

/// Opens `connections`, with one line echoed on each. Figure:
/// bytes_per_connection, from the last four fifths of them.
Figures idle(const Setup& setup);

/// Every connection asks again as soon as it is answered, at its own pace.
/// Figure: least_share, what the least served got of the mean.
Figures fair(const Setup& setup);

/// The same beside one more connection that sends without pause.
Figures fair_beside_flood(const Setup& setup);

}  // namespace load
