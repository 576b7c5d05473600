#include "stream/linger.h"

#include <chrono>
#include <new>
#include <system_error>
#include <utility>

namespace waterspout {
namespace {

constexpr std::chrono::seconds kAtMost{10};

/// Keeps itself until it is done.
class Linger final : public LoopClient,
                     public std::enable_shared_from_this<Linger> {
 public:
  Linger(detail::LoopCore& core, std::unique_ptr<Transport> transport,
         WriteQueue rest, bool orderly)
      : core_(core),
        transport_(std::move(transport)),
        rest_(std::move(rest)),
        orderly_(orderly),
        writable_(core, transport_->fd(), IOLoop::WRITE,
                  Event::calling<&Linger::on_writable>(*this)) {}

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

  [[nodiscard]] detail::LoopCore& loop_core() noexcept { return core_; }

  void run_task() noexcept override {}
  void send_gathered() noexcept override {}
  void loop_closed() noexcept override { end(); }

 private:
  void on_writable(IOLoop::Events /*ready*/) noexcept {
    const auto self = shared_from_this();
    send();
  }

  void send() noexcept {
    try {
      if (rest_.send(*transport_, core_.pools()).outcome ==
          Transfer::Outcome::failed) {
        end();
        return;
      }
    } catch (const std::bad_alloc&) {
      end();
      return;
    }
    if (!rest_.blocked() && orderly_) {
      orderly_ = false;
      transport_->finish();
    }
    if (!rest_.blocked() && !transport_->holds_output()) {
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
  WriteQueue rest_;
  bool orderly_;
  Event writable_;  // removed before its descriptor is closed
  TimeoutHandle limit_;
  std::shared_ptr<Linger> self_;
};

}  // namespace

void send_in_background(detail::LoopCore& core,
                        std::unique_ptr<Transport> transport, WriteQueue rest,
                        bool orderly) {
  std::make_shared<Linger>(core, std::move(transport), std::move(rest), orderly)
      ->begin();
}

}  // namespace waterspout
