// SessionBio: the two ends of a TLS session's ciphertext, as OpenSSL sees them.
//
// OpenSSL's own socket BIO costs two more system calls a request and raises
// SIGPIPE; a pair of memory BIOs copies more.

#pragma once

#include <cstddef>
#include <string_view>

#include "base/chunk_deque.h"

struct bio_st;

namespace waterspout {

/// What goes in is read where it lies, and stored only if it is not wanted yet.
/// What comes out is collected.
class SessionBio {
 public:
  explicit SessionBio(ChunkPool& pool) noexcept : stored_(pool), output(pool) {}

  SessionBio(const SessionBio&) = delete;
  SessionBio& operator=(const SessionBio&) = delete;

  /// A BIO for SSL_set_bio, which owns it; it has this object's address.
  /// Errors: throws std::bad_alloc.
  [[nodiscard]] bio_st* make_bio();

  /// `ciphertext` is borrowed until keep_input().
  void feed(std::string_view ciphertext) noexcept { fed_ = ciphertext; }

  /// Nothing comes behind what was fed.
  void feed_end() noexcept { ended_ = true; }

  /// Stores what OpenSSL has not read of what was fed.
  void keep_input();

  [[nodiscard]] bool has_input() const noexcept {
    return !fed_.empty() || !stored_.empty();
  }
  [[nodiscard]] bool ended() const noexcept { return ended_; }

  // OpenSSL's side; see BIO_read(3) and BIO_write(3).
  int read(char* into, int room) noexcept;
  int write(const char* bytes, int size) noexcept;

 private:
  // What a peer can make us answer without reading it. Data comes nowhere near.
  static constexpr std::size_t kOutputAtMost = std::size_t{128} * 1024;

  ChunkDeque stored_;  // before fed_
  std::string_view fed_;
  bool ended_ = false;

 public:
  enum class Trouble { none, no_memory, flooded };

  ChunkDeque output;                ///< ciphertext for the peer
  bool takes_output = true;         ///< else OpenSSL's writes block
  Trouble trouble = Trouble::none;  ///< why a write has failed
};

}  // namespace waterspout
