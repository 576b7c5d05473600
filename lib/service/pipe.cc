#include "waterspout/pipe.h"

#include <cstddef>
#include <functional>
#include <new>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

#include "waterspout/error.h"

#include "loop/loop_core.h"

namespace waterspout {
namespace {

using StreamPtr = std::shared_ptr<BaseIOStream>;

constexpr std::size_t kPiece = 65536;

/// One direction: reads a piece, writes it, and reads the next when that is
/// taken. Held by the callbacks that it has given to its streams.
class Flow : public std::enable_shared_from_this<Flow> {
 public:
  Flow(StreamPtr from, StreamPtr to, std::function<void()> ended)
      : from_(std::move(from)), to_(std::move(to)), ended_(std::move(ended)) {}

  void begin() { go_on(); }

  /// `from` has closed, or its peer has ended its side.
  void source_changed() {
    if (step_ == Step::reading && !from_->reading()) {
      step_ = Step::idle;  // the read was dropped
    }
    go_on();
  }

  /// `to` has closed, and all callbacks of its writes have run.
  void sink_closed() {
    if (step_ != Step::over) {
      end(to_->error() ? to_->error() : make_error_code(StreamErrc::closed));
    }
  }

  [[nodiscard]] bool over() const noexcept { return step_ == Step::over; }
  [[nodiscard]] const PipeResult& result() const noexcept { return result_; }

 private:
  enum class Step { idle, reading, writing, over };

  void go_on() {
    if (step_ != Step::idle) {
      return;
    }
    if (to_->closed()) {
      sink_closed();
    } else if (from_->unread_bytes() == 0 &&
               (from_->closed() || from_->read_ended())) {
      end_of_source();
    } else {
      read();
    }
  }

  void read() {
    step_ = Step::reading;
    try {
      from_->read_bytes(kPiece, {.partial = true},
                        [self = shared_from_this()](std::string_view piece) {
                          self->write(piece);
                        });
    } catch (const std::bad_alloc&) {
      out_of_memory();
    }
  }

  void write(std::string_view piece) {
    if (step_ != Step::reading) {
      return;  // over
    }
    step_ = Step::writing;
    try {
      to_->write(piece, [self = shared_from_this(), size = piece.size()] {
        self->written(size);
      });
    } catch (const StreamClosedError&) {
      sink_closed();
    } catch (const StreamBufferFullError& error) {
      end(error.code());
    } catch (const std::bad_alloc&) {
      out_of_memory();
    }
  }

  void written(std::size_t size) {
    result_.bytes += size;
    if (step_ == Step::writing) {
      step_ = Step::idle;
      go_on();
    }
  }

  void end_of_source() {
    if (from_->error()) {
      end(from_->error());
      return;
    }
    if (to_->half_close()) {
      to_->shutdown_write();
    } else {
      to_->close_after_writing();
    }
    end({});
  }

  void out_of_memory() {
    end(std::make_error_code(std::errc::not_enough_memory));
  }

  void end(std::error_code error) {
    step_ = Step::over;
    result_.error = error;
    std::exchange(ended_, nullptr)();
  }

  const StreamPtr from_;
  const StreamPtr to_;
  std::function<void()> ended_;
  PipeResult result_;
  Step step_ = Step::idle;
};

void check(const StreamPtr& a, const StreamPtr& b, bool has_callback,
           const std::string& operation) {
  if (a == nullptr || b == nullptr || a == b) {
    throw std::invalid_argument(operation + ": needs two streams");
  }
  if (!has_callback) {
    throw std::invalid_argument(operation + ": callback: is empty");
  }
  if (&a->loop() != &b->loop()) {
    throw std::logic_error(operation + ": the streams are on different loops");
  }
}

void check_can_read(const BaseIOStream& stream, const std::string& operation) {
  if (stream.reading()) {
    throw std::logic_error(operation + ": a read of the stream is pending");
  }
}

void watch(BaseIOStream& stream, const std::function<void()>& changed) {
  stream.set_close_callback(changed);
  if (stream.half_close()) {
    stream.set_read_end_callback(changed);
  }
}

void stop_watching(BaseIOStream& stream) {
  stream.set_close_callback({});
  if (stream.half_close()) {
    stream.set_read_end_callback({});
  }
}

/// Both directions, and who waits for their end.
class Exchange : public std::enable_shared_from_this<Exchange> {
 public:
  using Ended = Callback<void(PipeResult, PipeResult)>;

  Exchange(StreamPtr a, StreamPtr b, Ended ended)
      : a_(std::move(a)), b_(std::move(b)), ended_(std::move(ended)) {}

  void begin() {
    const auto flow = [this](const StreamPtr& from, const StreamPtr& to) {
      return std::make_shared<Flow>(from, to, [weak = weak_from_this(), to] {
        if (const auto self = weak.lock()) {
          self->flow_ended(*to);
        }
      });
    };
    forth_ = flow(a_, b_);
    back_ = flow(b_, a_);
    const auto self = shared_from_this();
    watch(*a_,
          [self] { self->changed(*self->a_, *self->forth_, *self->back_); });
    watch(*b_,
          [self] { self->changed(*self->b_, *self->back_, *self->forth_); });
    a_->loop().spawn_callback([self] {
      self->forth_->begin();
      self->back_->begin();
    });
  }

 private:
  static void changed(const BaseIOStream& stream, Flow& out_of, Flow& into) {
    out_of.source_changed();
    if (stream.closed()) {
      into.sink_closed();
    }
  }

  void flow_ended(BaseIOStream& sink) {
    const bool failed = (forth_->over() && forth_->result().error) ||
                        (back_->over() && back_->result().error);
    if (failed && !sink.closed()) {
      sink.close_after_writing();
    }
    if (!forth_->over() || !back_->over()) {
      return;
    }
    detail::LoopCore& core = a_->loop().core();
    for (BaseIOStream* const stream : {a_.get(), b_.get()}) {
      stop_watching(*stream);
      stream->close_after_writing();
    }
    Ended ended = std::move(ended_);
    core.run<PipeResult, PipeResult>(ended, "pipe_both", forth_->result(),
                                     back_->result());
  }

  const StreamPtr a_;
  const StreamPtr b_;
  Ended ended_;
  std::shared_ptr<Flow> forth_;
  std::shared_ptr<Flow> back_;
};

/// What one direction alone tells its user.
struct OneWay {
  StreamPtr from;
  StreamPtr to;
  Callback<void(PipeResult)> ended;
  std::shared_ptr<Flow> flow;

  void finish() {
    detail::LoopCore& core = from->loop().core();
    stop_watching(*from);
    to->set_close_callback({});
    Callback<void(PipeResult)> callback = std::move(ended);
    core.run<PipeResult>(callback, "pipe", flow->result());
  }
};

}  // namespace

void pipe(std::shared_ptr<BaseIOStream> from, std::shared_ptr<BaseIOStream> to,
          Callback<void(PipeResult)> callback) {
  check(from, to, static_cast<bool>(callback), "pipe");
  check_can_read(*from, "pipe");
  callback.set_operation("pipe");
  const NullContext outside;  // the callback brings its own
  const auto one = std::make_shared<OneWay>(
      OneWay{std::move(from), std::move(to), std::move(callback), nullptr});
  one->flow = std::make_shared<Flow>(one->from, one->to,
                                     [weak = std::weak_ptr<OneWay>(one)] {
                                       if (const auto self = weak.lock()) {
                                         self->finish();
                                       }
                                     });
  watch(*one->from, [one] { one->flow->source_changed(); });
  one->to->set_close_callback([one] { one->flow->sink_closed(); });
  one->from->loop().spawn_callback([one] { one->flow->begin(); });
}

void pipe_both(std::shared_ptr<BaseIOStream> a, std::shared_ptr<BaseIOStream> b,
               Callback<void(PipeResult, PipeResult)> callback) {
  check(a, b, static_cast<bool>(callback), "pipe_both");
  check_can_read(*a, "pipe_both");
  check_can_read(*b, "pipe_both");
  callback.set_operation("pipe_both");
  const NullContext outside;
  std::make_shared<Exchange>(std::move(a), std::move(b), std::move(callback))
      ->begin();
}

}  // namespace waterspout
