#include "load/workloads.h"

#include <algorithm>
#include <chrono>
#include <stdexcept>
#include <vector>

#include "load/connection.h"

namespace load {
namespace {

constexpr std::size_t kMegabyte = 1'000'000;
constexpr std::size_t kPiece = std::size_t{256} * 1024;

// Left to itself, the kernel lets as much pile up between client and server as
// the processor's caches hold, or much more: servers then take 120 or 340 us
// for the same megabyte, by luck.
constexpr int kSendBuffer = 512 * 1024;

constexpr std::string_view kRequest =
    "GET /hello HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: bench_load\r\n"
    "Accept: */*\r\n\r\n";
constexpr std::string_view kAnswer =
    "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 12\r\n"
    "\r\nHello, world";

using Connections = std::vector<std::unique_ptr<Connection>>;

Connections connect(const Setup& setup, std::size_t count) {
  Connections connections;
  connections.reserve(count);
  for (std::size_t i = 0; i < count; ++i) {
    connections.push_back(std::make_unique<Connection>(setup.port, setup.tls));
  }
  return connections;
}

std::string repeated(std::string_view text, std::size_t count) {
  std::string all;
  all.reserve(text.size() * count);
  for (std::size_t i = 0; i < count; ++i) {
    all += text;
  }
  return all;
}

std::string line_of(std::size_t size) {
  return std::string(size - 1, 'x') + '\n';
}

// Runs `work(operations)` for the warm-up, and once more for the figures.
template <class Work>
Figures measure(const Setup& setup, Work work) {
  if (setup.warm_up != 0) {
    work(setup.warm_up);
  }
  const bool counts = setup.server != nullptr;
  const auto before =
      counts ? setup.server->cpu_time() : std::chrono::nanoseconds::zero();
  work(setup.operations);
  Figures figures{{"operations", static_cast<double>(setup.operations)}};
  if (counts) {
    const auto spent = setup.server->cpu_time() - before;
    figures["cpu_ns"] = static_cast<double>(spent.count());
  }
  return figures;
}

/// Asks and hears the answers, in rounds over all connections.
Figures ask(const Setup& setup, std::string_view request,
            std::string_view answer) {
  const Connections connections = connect(setup, setup.connections);
  const std::string requests = repeated(request, setup.in_flight);
  const std::string answers = repeated(answer, setup.in_flight);
  std::string got(answers.size(), '\0');
  const std::size_t at_once = setup.connections * setup.in_flight;
  return measure(setup, [&](std::size_t operations) {
    for (std::size_t left = operations; left >= at_once; left -= at_once) {
      for (const auto& connection : connections) {
        connection->send(requests);
      }
      for (const auto& connection : connections) {
        connection->receive(got);
        if (got != answers) {
          throw std::runtime_error("the answer is not what was to come");
        }
      }
    }
  });
}

}  // namespace

Figures echo(const Setup& setup) {
  const std::string line = line_of(setup.size);
  return ask(setup, line, line);
}

Figures http(const Setup& setup) { return ask(setup, kRequest, kAnswer); }

Figures churn(const Setup& setup) {
  const std::string line = line_of(setup.size);
  std::vector<char> scratch(kPiece);
  return measure(setup, [&](std::size_t operations) {
    for (std::size_t left = operations; left != 0;) {
      const std::size_t batch = std::min(left, setup.connections);
      const Connections connections = connect(setup, batch);
      for (const auto& connection : connections) {
        connection->send(line);
      }
      for (const auto& connection : connections) {
        if (connection->receive_to_end(scratch) != line.size()) {
          throw std::runtime_error("the answer is not what was to come");
        }
      }
      left -= batch;
    }
  });
}

Figures send(const Setup& setup) {
  const std::string piece(kPiece, 'x');
  std::vector<char> scratch(kPiece);
  return measure(setup, [&](std::size_t operations) {
    Connection connection(setup.port, setup.tls);
    connection.set_send_buffer_size(kSendBuffer);
    for (std::size_t left = operations * kMegabyte; left != 0;) {
      const std::size_t size = std::min(left, piece.size());
      connection.send({piece.data(), size});
      left -= size;
    }
    connection.end_output();
    connection.receive_to_end(scratch);
  });
}

Figures receive(const Setup& setup) {
  std::vector<char> scratch(kPiece);
  return measure(setup, [&](std::size_t operations) {
    const std::size_t bytes = operations * kMegabyte;
    Connection connection(setup.port, setup.tls);
    connection.send(std::to_string(bytes) + "\n");
    for (std::size_t left = bytes; left != 0;) {
      const std::size_t size = std::min(left, scratch.size());
      connection.receive({scratch.data(), size});
      left -= size;
    }
  });
}

Figures idle(const Setup& setup) {
  if (setup.server == nullptr) {
    throw std::invalid_argument("idle: needs --pid");
  }
  const std::string line = line_of(setup.size);
  std::string answer(line.size(), '\0');
  const auto add = [&](Connections& all, std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) {
      all.push_back(std::make_unique<Connection>(setup.port, setup.tls));
      all.back()->send(line);
      all.back()->receive(answer);
    }
  };
  const std::size_t first = setup.connections / 5;
  Connections connections;
  add(connections, first);
  const auto before = static_cast<double>(setup.server->memory());
  add(connections, setup.connections - first);
  const auto after = static_cast<double>(setup.server->memory());
  return {{"bytes_per_connection",
           (after - before) / static_cast<double>(setup.connections - first)}};
}

}  // namespace load
