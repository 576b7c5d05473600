// SessionCache: what a client keeps of its connections to resume them.

#pragma once

#include <list>
#include <map>
#include <mutex>
#include <string>

#include "tls/openssl_ptr.h"

namespace waterspout {

/// One session for each peer, the newest; the peer unused for longest gives
/// way. For any thread.
class SessionCache {
 public:
  static constexpr std::size_t kPeers = 256;

  void put(const std::string& peer, SessionPtr session);

  /// The session to resume with, null for none. One of TLS 1.3 is used up by
  /// that (RFC 8446, C.4: so that observers cannot tell that two connections
  /// belong together); the peer sends a new one.
  [[nodiscard]] SessionPtr take(const std::string& peer);

 private:
  struct Entry {
    std::string peer;
    SessionPtr session;
  };

  std::mutex mutex_;
  std::list<Entry> entries_;  // newest first
  std::map<std::string, std::list<Entry>::iterator, std::less<>> by_peer_;
};

}  // namespace waterspout
