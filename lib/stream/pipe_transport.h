// PipeTransport: a pipe end, a terminal, or what else is read and written by
// read(2) and write(2).

#pragma once

#include <memory>

#include "base/unique_fd.h"
#include "stream/pipe_mode.h"
#include "stream/transport.h"

namespace waterspout {

/// Writes raise no SIGPIPE. Thread rule and lifetime: its stream's.
class PipeTransport final : public Transport {
 public:
  /// Takes `fd`, which is non-blocking: by `mode`, or null if it is for good.
  explicit PipeTransport(UniqueFd fd,
                         std::unique_ptr<NonBlockingMode> mode = nullptr);

  [[nodiscard]] int fd() const noexcept override { return fd_.get(); }
  using Transport::write;
  Transfer write(std::span<const iovec> pieces) noexcept override;

  /// There is nothing to connect: both say that it is not supported.
  Transfer connect(const Address& address) noexcept override;
  std::error_code connect_result() noexcept override;

 private:
  Transfer read_otherwise(std::span<char> into) noexcept override;
  [[nodiscard]] Transfer look_for_reader() const noexcept;
  [[nodiscard]] bool has(short condition) const noexcept;

  UniqueFd fd_;
  std::unique_ptr<NonBlockingMode> mode_;  // goes before fd_ is closed
  bool only_writes_ = false;
  bool is_device_ = false;     // its writes raise no signal
  bool output_waits_ = false;  // the last write left some
};

}  // namespace waterspout
