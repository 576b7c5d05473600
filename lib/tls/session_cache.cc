#include "tls/session_cache.h"

#include <utility>

namespace waterspout {

void SessionCache::put(const std::string& peer, SessionPtr session) {
  const std::lock_guard lock(mutex_);
  if (const auto found = by_peer_.find(peer); found != by_peer_.end()) {
    found->second->session = std::move(session);
    entries_.splice(entries_.begin(), entries_, found->second);
    return;
  }
  entries_.push_front({peer, std::move(session)});
  by_peer_.emplace(peer, entries_.begin());
  if (entries_.size() > kPeers) {
    by_peer_.erase(entries_.back().peer);
    entries_.pop_back();
  }
}

SessionPtr SessionCache::take(const std::string& peer) {
  const std::lock_guard lock(mutex_);
  const auto found = by_peer_.find(peer);
  if (found == by_peer_.end()) {
    return nullptr;
  }
  SSL_SESSION* const session = found->second->session.get();
  const bool reusable =
      SSL_SESSION_get_protocol_version(session) < TLS1_3_VERSION;
  if (reusable && SSL_SESSION_up_ref(session) == 1) {
    return SessionPtr(session);
  }
  SessionPtr taken = std::move(found->second->session);
  entries_.erase(found->second);
  by_peer_.erase(found);
  return taken;
}

}  // namespace waterspout
