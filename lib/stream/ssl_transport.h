// SSLTransport: TLS on top of another transport.

#pragma once

#include <memory>
#include <string>

#include "stream/transport.h"
#include "tls/tls_session.h"

namespace waterspout::detail {

/// Records are received into a buffer of the thread, and sent in batches: what
/// write() has taken is on its way once flush() says so. Leftovers are kept
/// while the kernel is full, and then a write that would block is real:
/// OpenSSL has encrypted it and waits for the same bytes.
///
/// Thread rule and lifetime: its stream's.
class SSLTransport final : public Transport {
 public:
  explicit SSLTransport(std::unique_ptr<TLSSession> session) noexcept;
  ~SSLTransport() override;

  /// What it stands on. Called once, before anything else but session().
  void stand_on(std::unique_ptr<Transport> below) noexcept;

  [[nodiscard]] int fd() const noexcept override { return below_->fd(); }
  Transfer connect(const Address& address) noexcept override;
  std::error_code connect_result() noexcept override;
  Transfer handshake() noexcept override;
  using Transport::write;
  Transfer write(std::span<const iovec> pieces) noexcept override;
  Transfer flush() noexcept override;
  void finish() noexcept override;
  Transfer end_output() noexcept override;
  [[nodiscard]] std::string failure_detail() const override;

  [[nodiscard]] const TLSSession& session() const noexcept { return *session_; }

 private:
  Transfer read_otherwise(std::span<char> into) noexcept override;
  void begin() noexcept;
  Transfer receive(std::size_t size) noexcept;
  Transfer keep_rest(Transfer result, bool more) noexcept;
  Transfer with_reason(Transfer failed) noexcept;
  [[nodiscard]] Transfer session_failed() const noexcept;

  std::unique_ptr<TLSSession> session_;
  std::unique_ptr<Transport> below_;
  std::error_code read_error_;  // of below_, which tells it once
  bool begun_ = false;
  bool has_read_ = false;  // application data
};

}  // namespace waterspout::detail
