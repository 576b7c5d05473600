// TLSSession: one end of a TLS connection as a state machine over bytes. It
// knows no socket and no loop: ciphertext is fed and taken, steps say what they
// wait for.

#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "waterspout/ssl.h"

#include "base/chunk_deque.h"
#include "tls/tls_error.h"

struct ssl_session_st;

namespace waterspout {

/// Whom a client wants to talk to.
struct TLSPeer {
  std::string host_name;
  bool verify_host = true;
};

/// Life: made -> handshake -> open -> ended by the peer, or failed.
///
/// Every step handles OpenSSL's queue of errors itself: it begins empty and
/// leaves nothing behind.
class TLSSession {
 public:
  /// Errors: throws std::invalid_argument for a client that verifies and is
  ///   told no host name, or one that can be none; std::bad_alloc;
  ///   std::logic_error if the library was built without the feature `tls`.
  TLSSession(const SSLContext& context, const TLSPeer& peer, ChunkPool& pool);
  ~TLSSession();

  TLSSession(const TLSSession&) = delete;
  TLSSession& operator=(const TLSSession&) = delete;

  enum class Step {
    done,         ///< `bytes` were moved, at least one, or the handshake is
    wants_input,  ///< feed more
    output_full,  ///< take output, then repeat the step as it was
    ended,        ///< the peer has closed in order
    failed,       ///< failure() says why, and so does every later step
  };

  struct Result {
    Step step = Step::wants_input;
    std::size_t bytes = 0;
  };

  Result handshake() noexcept;
  Result read(std::span<char> into) noexcept;

  /// One record's worth at the most. After output_full OpenSSL has encrypted
  /// the bytes: they must be presented again as they were, where they were.
  Result write(std::string_view data) noexcept;

  /// Says that nothing more will be written, where there is a session in which
  /// that can be said: done, or failed.
  Result close() noexcept;

  // Ciphertext; see SessionBio.
  void feed(std::string_view ciphertext) noexcept;
  void feed_end() noexcept;
  void keep_input();
  [[nodiscard]] ChunkDeque& output() noexcept;

  /// False: writes answer output_full. Replies that OpenSSL makes by itself
  /// are output all the same, up to a bound.
  void let_write(bool value) noexcept;

  /// Whether a read might give something, or an end, before more is fed.
  [[nodiscard]] bool has_input() const noexcept;

  [[nodiscard]] bool is_client() const noexcept;
  [[nodiscard]] bool established() const noexcept;
  [[nodiscard]] const TLSFailure& failure() const noexcept;

  /// True for a client that could resume a session if it knew the peer's
  /// address. To be told before the first step.
  [[nodiscard]] bool may_resume() const noexcept;
  void set_peer_address(std::string_view address) noexcept;

  // What the handshake came to; empty before.
  [[nodiscard]] std::optional<SSLCertificate> peer_certificate() const;
  [[nodiscard]] std::string alpn_protocol() const;
  [[nodiscard]] std::string version() const;
  [[nodiscard]] std::string cipher() const;
  [[nodiscard]] std::string server_name() const;
  [[nodiscard]] bool session_reused() const noexcept;

  /// OpenSSL's callback for a session that can be resumed.
  static int keep_session(ssl_st* ssl, ssl_session_st* session) noexcept;

 private:
  struct Inside;

  Result outcome(int result) noexcept;
  Result fail(TLSFailure failure) noexcept;

  std::unique_ptr<Inside> inside_;
};

}  // namespace waterspout
