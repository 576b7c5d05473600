// A Relay of the sample device_relay, and plain sockets that speak its
// protocol.

#pragma once

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <sys/socket.h>

#include <doctest/doctest.h>

#include "waterspout/ioloop.h"
#include "waterspout/log.h"

#include "device_relay/relay.h"
#include "device_relay/source.h"
#include "support/loop_fixture.h"
#include "support/sockets.h"
#include "support/virtual_clock.h"

namespace waterspout::test {

inline const std::string kYes(1, '\0');
inline const std::string kNo(1, '\x01');
inline const std::string kSource(1, '\x0a');
inline const std::string kConsumer(1, '\x0b');

inline std::string length(std::uint32_t value) {
  std::string bytes;
  for (const int shift : {24, 16, 8, 0}) {
    bytes += static_cast<char>(value >> shift & 0xff);
  }
  return bytes;
}

inline std::string text(std::string_view content) {
  return length(static_cast<std::uint32_t>(content.size())).append(content);
}

/// A relay on a loop, and its peers, which have numbers.
struct RelayAndPeers {
  explicit RelayAndPeers(
      std::size_t max_unsent = device_relay::Relay::kMaxUnsent,
      IOLoop::Options options = {})
      : loop(std::move(options)),
        relay(std::make_unique<device_relay::Relay>(loop, max_unsent)) {
    loop.bound_turns(1'000'000);
    relay->listen(0, "127.0.0.1");
  }

  ~RelayAndPeers() {
    relay.reset();
    for (UniquePeerFd& peer : peers) {
      peer.close();
    }
    loop.run_until([&] { return loop->statistics().streams == 0; });
  }
  RelayAndPeers(const RelayAndPeers&) = delete;
  RelayAndPeers& operator=(const RelayAndPeers&) = delete;

  /// The number of a new peer, which has sent `bytes`.
  std::size_t connect(std::string_view bytes) {
    peers.push_back(connect_to(relay->addresses().front()));
    peers.back().send(bytes);
    return peers.size() - 1;
  }

  /// Runs the loop until `peer` has got so many bytes.
  std::string receive(std::size_t peer, std::size_t count) {
    std::string got;
    loop.run_until([&] {
      got += peers[peer].recv_ready();
      return got.size() >= count;
    });
    return got;
  }

  /// Runs the loop until the relay has closed the connection, and returns what
  /// it has sent until then.
  std::string receive_to_end(std::size_t peer) {
    std::string got;
    loop.run_until([&] {
      got += peers[peer].recv_ready();
      char byte = 0;
      const ssize_t size =
          ::recv(peers[peer].get(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
      return size == 0 || (size < 0 && errno != EAGAIN);
    });
    return got;
  }

  /// Waits until all connections are accepted, and but `left` of them closed.
  void settle(std::size_t left) {
    loop.run_until([&] { return relay->connections() == left; });
  }

  std::size_t receivers(const std::string& uuid) const {
    const auto source = relay->devices().find(uuid);
    return source == nullptr ? 0 : source->receivers();
  }

  /// A source that may send frames.
  std::size_t source(std::string_view uuid, std::string_view keys) {
    const std::size_t peer = connect(kSource + text(uuid) + text(keys));
    CHECK(receive(peer, 3) == kYes + kYes + kYes);
    return peer;
  }

  /// A consumer that gets frames.
  std::size_t consumer(const std::string& uuid, std::string_view keys) {
    const std::size_t before = receivers(uuid);
    const std::size_t peer = connect(kConsumer + text(uuid));
    const std::string answer = kYes + kYes + text(keys);
    CHECK(receive(peer, answer.size()) == answer);
    peers[peer].send(kYes);
    loop.run_until([&] { return receivers(uuid) == before + 1; });
    return peer;
  }

  void expect_warning(std::string_view part) {
    loop.expect_log(LogLevel::warning, part);
  }

  LoopFixture loop;
  std::unique_ptr<device_relay::Relay> relay;
  std::vector<UniquePeerFd> peers;
};

/// A loop whose time stands still but when the test moves it.
inline IOLoop::Options standing(const VirtualClock& clock) {
  IOLoop::Options options;
  options.clock.now = clock.clock().now;
  return options;
}

}  // namespace waterspout::test
