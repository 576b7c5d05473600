// Transport: what a stream's buffers stand on. A plain socket is one; TLS and
// pipes are others. Nothing above this seam knows which.

#pragma once

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include <sys/socket.h>
#include <sys/uio.h>

#include "waterspout/address.h"
#include "waterspout/ssl.h"

#include "loop/pooled.h"

namespace waterspout {

/// What one attempt came to. Two words without a gap, so that it is kept in
/// registers: most are asked for their bytes alone.
class Transfer {
 public:
  enum class Outcome : std::int32_t {
    done,         ///< `bytes` were moved, at least one
    would_block,  ///< try again when the descriptor is ready
    end,          ///< the peer has closed its side in order
    failed,       ///< for error(); the transport is good for close() only
  };

  Transfer() noexcept = default;
  Transfer(Outcome its_outcome, std::size_t its_bytes = 0) noexcept  // NOLINT
      : bytes(its_bytes), outcome(its_outcome) {}

  /// Failed. Requires: `error` is of the generic category or ssl_category().
  static Transfer failure(std::error_code error) noexcept {
    Transfer failed(Outcome::failed);
    const bool of_tls = error.category() == ssl_category();
    failed.error_ = of_tls ? -error.value() : error.value();
    return failed;
  }

  /// What a system call came to that set errno to `code`.
  [[gnu::cold]] static Transfer from_errno(int code) noexcept;

  [[nodiscard]] std::error_code error() const noexcept {
    return error_ < 0 ? std::error_code(-error_, ssl_category())
                      : std::error_code(error_, std::generic_category());
  }

  std::size_t bytes = 0;

 private:
  std::int32_t error_ = 0;  // an errno, or minus an SSLErrc

 public:
  Outcome outcome = Outcome::would_block;
};

/// Who accepts connections, and counts those that are open. Outlives them.
class Acceptor {
 public:
  Acceptor(const Acceptor&) = delete;
  Acceptor& operator=(const Acceptor&) = delete;

  virtual void connection_opened() noexcept = 0;
  virtual void connection_closed() noexcept = 0;

 protected:
  Acceptor() = default;
  ~Acceptor() = default;
};

/// Moves bytes without ever waiting; owns its descriptor. Attempts interrupted
/// by a signal are repeated inside.
class Transport : public Pooled {
 public:
  explicit Transport(bool freezes_writes = false) noexcept
      : freezes_writes_(freezes_writes) {}
  Transport(const Transport&) = delete;
  Transport& operator=(const Transport&) = delete;
  virtual ~Transport() {
    if (acceptor_ != nullptr) {
      acceptor_->connection_closed();
    }
  }

  [[nodiscard]] virtual int fd() const noexcept = 0;

  /// Requires: there is room in `into`.
  Transfer read(std::span<char> into) noexcept {
    if (socket_ >= 0) [[likely]] {
      const ssize_t bytes = ::recv(socket_, into.data(), into.size(), 0);
      if (bytes > 0) [[likely]] {
        return {Transfer::Outcome::done, static_cast<std::size_t>(bytes)};
      }
      if (bytes == 0) {
        return Transfer::Outcome::end;
      }
      if (errno != EINTR) {
        return Transfer::from_errno(errno);
      }
    }
    return read_otherwise(into);
  }

  /// Writes as much as is taken at once. Raises no SIGPIPE.
  Transfer write(std::string_view piece) noexcept {
    if (socket_ >= 0) [[likely]] {
      const ssize_t bytes =
          ::send(socket_, piece.data(), piece.size(), MSG_NOSIGNAL);
      if (bytes >= 0) [[likely]] {
        return {Transfer::Outcome::done, static_cast<std::size_t>(bytes)};
      }
      if (errno != EINTR) {
        return Transfer::from_errno(errno);
      }
    }
    const iovec vector{const_cast<char*>(piece.data()), piece.size()};
    return write({&vector, 1});
  }

  /// The same, from the pieces in order.
  virtual Transfer write(std::span<const iovec> pieces) noexcept = 0;

  // What a transport has that does more than move bytes. A plain one has none
  // of it.

  /// What follows connecting: would_block until it is done. Where output is
  /// held, ready for writing calls for the next attempt, else for reading.
  virtual Transfer handshake() noexcept { return {Transfer::Outcome::done}; }

  /// Sends what write() has taken and holds back: done (of nothing more),
  /// would_block or failed.
  virtual Transfer flush() noexcept { return {Transfer::Outcome::done}; }

  /// Tells the peer that nothing more comes; output may be held afterwards.
  virtual void finish() noexcept {}

  /// Ends our direction alone: nothing is written any more, reading goes on.
  /// Done, though output may be held afterwards, or failed.
  virtual Transfer end_output() noexcept { return Transfer::Outcome::done; }

  /// More about the last failure than its code says.
  [[nodiscard]] virtual std::string failure_detail() const { return {}; }

  /// True if a read may give something though the descriptor is silent.
  [[nodiscard]] bool holds_input() const noexcept { return holds_input_; }

  /// True if flush() has something to send.
  [[nodiscard]] bool holds_output() const noexcept { return holds_output_; }

  /// True if a write that would block must be repeated with the same bytes, at
  /// the same address and of the same length, as TLS wants it. The stream then
  /// writes one piece at a time and freezes it until it is taken.
  [[nodiscard]] bool freezes_writes() const noexcept { return freezes_writes_; }

  /// Begins to connect: done, would_block (ready for writing when it is
  /// decided; then connect_result tells), or failed.
  virtual Transfer connect(const Address& address) noexcept = 0;

  /// How connecting ended. Asked once: the kernel forgets what it has told.
  virtual std::error_code connect_result() noexcept = 0;

  /// Tells `acceptor`, unless it is null, of this connection, and once its
  /// descriptor is closed, which may be after the stream is.
  void count_for(Acceptor* acceptor) noexcept {
    acceptor_ = acceptor;
    if (acceptor_ != nullptr) {
      acceptor_->connection_opened();
    }
  }
  /// Null if nobody counts this connection.
  [[nodiscard]] const Acceptor* acceptor() const noexcept { return acceptor_; }

 protected:
  /// This one is the connection that `below` was.
  void take_place_of(Transport& below) noexcept {
    acceptor_ = std::exchange(below.acceptor_, nullptr);
  }

  bool holds_input_ = false;
  bool holds_output_ = false;

 private:
  const bool freezes_writes_;

 protected:
  // The descriptor, where recv(2) from it and send(2) to it is all that there
  // is to do; else -1. So most streams need no call through a table.
  int socket_ = -1;

 private:
  /// What read() does where there is more to it than that, or a signal has
  /// interrupted it.
  virtual Transfer read_otherwise(std::span<char> into) noexcept = 0;

  Acceptor* acceptor_ = nullptr;
};

}  // namespace waterspout
