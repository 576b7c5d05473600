// Two TLS sessions that talk to each other in memory.

#pragma once

#include <algorithm>
#include <cstddef>
#include <functional>
#include <string>
#include <string_view>

#include "waterspout/ssl.h"

#include "base/chunk_deque.h"
#include "tls/tls_session.h"

namespace waterspout::test {

/// Everything that a session has to say.
[[nodiscard]] inline std::string take_output(TLSSession& session) {
  std::string bytes;
  while (!session.output().empty()) {
    const std::string_view front = session.output().front();
    bytes += front;
    session.output().consume(front.size());
  }
  return bytes;
}

/// A client and a server. Each direction can be changed on its way.
struct TLSEnds {
  using Change = std::function<std::string(std::string)>;

  TLSEnds(const SSLContext& client_context, const SSLContext& server_context,
          const TLSPeer& peer = {"localhost", true})
      : client(client_context, peer, pool), server(server_context, {}, pool) {}

  static bool over(const TLSSession& session) {
    return session.established() || session.failure();
  }

  /// Steps until both are done or neither gets further; true if both are
  /// established.
  bool shake_hands() {
    for (int i = 0; i < 20; ++i) {
      step(client);
      deliver(client, server, to_server);
      step(server);
      deliver(server, client, to_client);
    }
    return client.established() && server.established();
  }

  static void step(TLSSession& session) {
    if (!over(session)) {
      session.handshake();
    }
  }

  static void deliver(TLSSession& from, TLSSession& to, const Change& change) {
    std::string bytes = take_output(from);
    if (change) {
      bytes = change(std::move(bytes));
    }
    feed(to, bytes);
  }

  static void feed(TLSSession& to, std::string_view bytes) {
    to.feed(bytes);
    to.keep_input();
  }

  /// Everything that `session` can read now.
  static std::string read_all(TLSSession& session) {
    std::string data;
    std::string room(20'000, '\0');
    for (;;) {
      const TLSSession::Result result = session.read(room);
      if (result.step != TLSSession::Step::done) {
        return data;
      }
      data.append(room, 0, result.bytes);
    }
  }

  ChunkPool pool;
  TLSSession client;
  TLSSession server;
  Change to_server;
  Change to_client;
};

}  // namespace waterspout::test
