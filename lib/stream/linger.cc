#include "stream/linger.h"

#include <array>
#include <chrono>
#include <system_error>
#include <utility>

namespace waterspout {
namespace {

constexpr std::chrono::seconds kAtMost{10};
constexpr std::size_t kPieces = 64;

/// Keeps itself until it is done.
class Linger final : public LoopClient,
                     public std::enable_shared_from_this<Linger> {
 public:
  Linger(detail::LoopCore& core, std::unique_ptr<Transport> transport,
         ChunkDeque rest)
      : core_(core),
        transport_(std::move(transport)),
        rest_(std::move(rest)),
        writable_(core, transport_->fd(), IOLoop::WRITE, &Linger::on_writable,
                  this) {}

  void begin() {
    if (const std::error_code error = writable_.add()) {
      throw std::system_error(error, "close: lingering output");
    }
    const NullContext outside;
    auto too_late = [self = weak_from_this()] {
      if (const auto linger = self.lock()) {
        linger->end();
      }
    };
    limit_ = core_.call_at(core_.time() + kAtMost,
                           Callback<void()>(std::move(too_late), Origin()));
    core_.add_client(*this);
    self_ = shared_from_this();
  }

  void run_task() noexcept override {}
  void send_gathered() noexcept override {}
  void loop_closed() noexcept override { end(); }

 private:
  static void on_writable(void* object, IOLoop::Events /*ready*/) noexcept {
    const auto self = static_cast<Linger*>(object)->shared_from_this();
    self->send();
  }

  // A piece that a freezing transport refused is presented again unchanged:
  // nothing is appended here, and chunks do not move.
  void send() noexcept {
    // NOLINTNEXTLINE(cppcoreguidelines-pro-type-member-init): gather fills it
    std::array<iovec, kPieces> pieces;
    const std::size_t count = rest_.gather(
        {pieces.data(), transport_->freezes_writes() ? 1 : kPieces});
    const Transfer sent = transport_->write({pieces.data(), count});
    if (sent.outcome == Transfer::Outcome::done) {
      rest_.consume(sent.bytes);
    }
    if (rest_.empty() || sent.outcome == Transfer::Outcome::failed) {
      end();
    }
  }

  void end() noexcept {
    writable_.remove();
    transport_.reset();
    rest_.clear();
    core_.remove_timeout(limit_);
    self_.reset();  // Last: may destroy *this.
  }

  detail::LoopCore& core_;
  std::unique_ptr<Transport> transport_;
  ChunkDeque rest_;
  Event writable_;  // removed before its descriptor is closed
  TimeoutHandle limit_;
  std::shared_ptr<Linger> self_;
};

}  // namespace

void send_in_background(detail::LoopCore& core,
                        std::unique_ptr<Transport> transport, ChunkDeque rest) {
  std::make_shared<Linger>(core, std::move(transport), std::move(rest))
      ->begin();
}

}  // namespace waterspout
