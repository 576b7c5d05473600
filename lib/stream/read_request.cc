#include "stream/read_request.h"

#include <algorithm>
#include <utility>

namespace waterspout {

using Judgement = ReadRequest::Verdict::Kind;

BaseIOStream::ReadCallback* ReadRequest::repeat_until_sequence(
    std::string_view delimiter) noexcept {
  const bool repeats = delimiter == this->delimiter() && !delimiter.empty();
  return repeats ? start_again() : nullptr;
}

void ReadRequest::start_regex(std::string_view pattern, std::size_t max_bytes,
                              BaseIOStream::ReadCallback&& callback) {
  std::unique_ptr<Matching>& matching = rare().matching;
  if (!matching || matching->regex.pattern() != pattern) {
    matching = std::make_unique<Matching>(pattern);
  }
  max_bytes_ = max_bytes;
  matching->work = 0;
  start(Kind::regex, "read_until_regex", std::move(callback));
}

void ReadRequest::start_bytes(std::size_t count,
                              BaseIOStream::ReadBytesOptions&& options,
                              BaseIOStream::ReadCallback&& callback) {
  if (options.streaming_callback) {
    options.streaming_callback.set_operation("read_bytes");
    rare().streaming_callback = std::move(options.streaming_callback);
  }
  start(Kind::bytes, "read_bytes", std::move(callback));
  partial_ = options.partial;
  progress_ = count;
}

void ReadRequest::start_until_close(
    BaseIOStream::StreamingCallback&& streaming_callback,
    BaseIOStream::ReadCallback&& callback) {
  if (streaming_callback) {
    streaming_callback.set_operation("read_until_close");
    rare().streaming_callback = std::move(streaming_callback);
  }
  start(Kind::until_close, "read_until_close", std::move(callback));
}

ReadRequest::Verdict ReadRequest::search(ChunkDeque& buffer, bool at_end) {
  switch (kind_) {
    case Kind::until:
      return judge_delimiter(buffer.find(delimiter(), progress_),
                             buffer.size());
    case Kind::regex:
      static_cast<void>(buffer.make_contiguous());
      return judge_regex(buffer.front());
    case Kind::bytes:
      return judge_count(buffer.size());
    case Kind::until_close:
      return judge_rest(buffer.size(), at_end);
    case Kind::none:
      break;
  }
  return {};
}

ReadRequest::Verdict ReadRequest::search_otherwise(std::string_view unread,
                                                   bool at_end) {
  switch (kind_) {
    case Kind::regex:
      return judge_regex(unread);
    case Kind::bytes:
      return judge_count(unread.size());
    case Kind::until_close:
      return judge_rest(unread.size(), at_end);
    case Kind::until:
    case Kind::none:
      break;
  }
  return {};
}

ReadRequest::Verdict ReadRequest::judge_regex(std::string_view unread) {
  if (unread.empty()) {
    return {};
  }
  Matching& matching = *rare_->matching;
  const Regex::Match match =
      matching.regex.search(unread, progress_, matching.work);
  switch (match.kind) {
    case Regex::Match::Kind::found:
      return judge_end(match.end);
    case Regex::Match::Kind::too_costly:
      return {Judgement::too_costly, 0};
    case Regex::Match::Kind::none:
      break;
  }
  progress_ = match.resume;
  return judge_missing(unread.size());
}

ReadRequest::Verdict ReadRequest::judge_missing(
    std::size_t unread) const noexcept {
  return {unread > max_bytes_ ? Judgement::unsatisfiable : Judgement::more, 0};
}

// With a streaming callback, or a partial read, any piece will do.
ReadRequest::Verdict ReadRequest::judge_count(
    std::size_t unread) const noexcept {
  const std::size_t size = std::min(unread, progress_);
  const bool piece = (partial_ || streaming()) && size != 0;
  return {piece || size == progress_ ? Judgement::found : Judgement::more,
          size};
}

// All there is, at the end; before it only pieces for a streaming callback.
ReadRequest::Verdict ReadRequest::judge_rest(std::size_t unread,
                                             bool at_end) const noexcept {
  const bool piece = streaming() && unread != 0;
  return {piece || at_end ? Judgement::found : Judgement::more, unread};
}

}  // namespace waterspout
