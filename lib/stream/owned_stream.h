// OwnedStream: a public stream and its inside in one block of memory.

#pragma once

#include <memory>
#include <utility>

#include "loop/pooled.h"
#include "stream/stream_core.h"

namespace waterspout {

/// What make_owned makes of a stream class `Stream`, whose constructor is
/// protected.
template <class Stream>
class OwnedStream final : public Stream, private detail::StreamCore {
 public:
  OwnedStream(detail::LoopCore& loop, std::unique_ptr<Transport> transport,
              StreamCore::Start start, const BaseIOStream::Options& options)
      : Stream(static_cast<StreamCore&>(*this)),
        StreamCore(loop, std::move(transport), start, options) {}

  [[nodiscard]] detail::StreamCore& inside() noexcept { return *this; }

 private:
  std::shared_ptr<BaseIOStream> shared() override {
    return this->shared_from_this();
  }
};

/// `Stream` is an OwnedStream.
template <class Stream, class... Arguments>
std::shared_ptr<Stream> make_owned(Arguments&&... arguments) {
  return std::allocate_shared<Stream>(PooledAllocator<Stream>(),
                                      std::forward<Arguments>(arguments)...);
}

}  // namespace waterspout
