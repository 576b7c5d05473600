// Transport: what a stream's buffers stand on. A plain socket is one; TLS and
// pipes are others. Nothing above this seam knows which.

#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <system_error>
#include <utility>

#include <sys/uio.h>

#include "waterspout/address.h"

namespace waterspout {

/// What one attempt came to.
struct Transfer {
  enum class Outcome {
    done,         ///< `bytes` were moved, at least one
    would_block,  ///< try again when the descriptor is ready
    end,          ///< the peer has closed its side in order
    failed,       ///< for `error`; the transport is good for close() only
  };

  Outcome outcome = Outcome::would_block;
  std::size_t bytes = 0;
  std::error_code error;
};

/// Moves bytes without ever waiting; owns its descriptor. Attempts interrupted
/// by a signal are repeated inside.
class Transport {
 public:
  Transport() = default;
  Transport(const Transport&) = delete;
  Transport& operator=(const Transport&) = delete;
  virtual ~Transport() = default;

  [[nodiscard]] virtual int fd() const noexcept = 0;

  virtual Transfer read(std::span<char> into) noexcept = 0;

  /// Writes from the pieces in order, as much as is taken at once.
  virtual Transfer write(std::span<const iovec> pieces) noexcept = 0;

  /// True if a write that would block must be repeated with the same bytes, at
  /// the same address and of the same length, as TLS wants it. The stream then
  /// writes one piece at a time and freezes it until it is taken.
  [[nodiscard]] virtual bool freezes_writes() const noexcept { return false; }

  /// Begins to connect: done, would_block (ready for writing when it is
  /// decided; then connect_result tells), or failed.
  virtual Transfer connect(const Address& address) noexcept = 0;

  /// How connecting ended. Asked once: the kernel forgets what it has told.
  virtual std::error_code connect_result() noexcept = 0;

  /// Holds `companion` until the descriptor is closed, which may be after the
  /// stream is: so a server counts the connections that it has.
  void keep_while_open(std::shared_ptr<void> companion) noexcept {
    companion_ = std::move(companion);
  }

 private:
  std::shared_ptr<void> companion_;  // let go of after the derived class's fd
};

}  // namespace waterspout
