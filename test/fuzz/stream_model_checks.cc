// What the stream is held to: in its callbacks, between the operations, and at
// the end.

#include <algorithm>

#include "fuzz/stream_model.h"

namespace waterspout::test::model {

// Closing drops a pending read that the buffer does not satisfy.
void StreamModel::notice_dropped_read() {
  if (stream_ == nullptr || !read_ || !stream_->closed() ||
      stream_->reading()) {
    return;
  }
  expect(!read_->satisfied_by(unread(stream_->unread_bytes())),
         "a read that could be satisfied was dropped");
  expect(read_->kind != Kind::until_close && read_->kind != Kind::draining,
         "read_until_close was dropped");
  read_.reset();
}

// Common to all results: the bytes are those that come next.
void StreamModel::take(std::string_view data, const Read& read) {
  expect(data == unread(data.size()), "a read gave the wrong bytes");
  expect(closed_ == 0 || read.after_close,
         "a data callback ran after the close callback");
  delivered_ += data.size();
}

void StreamModel::on_data(std::string_view data) {
  const InCallback scope(*this);
  expect(read_.has_value(), "a read callback ran twice");
  if (!read_) {
    return;
  }
  const Read read = *std::exchange(read_, std::nullopt);
  const std::string copy(data);
  switch (read.kind) {
    case Kind::until: {
      const auto end = unread(sent_.size()).find(read.delimiter);
      expect(end != std::string_view::npos &&
                 data.size() == end + read.delimiter.size(),
             "read_until ended at the wrong place");
      expect(data.size() <= read.max_bytes, "read_until passed max_bytes");
      break;
    }
    case Kind::bytes:
      expect(data.size() == read.count, "read_bytes gave another count");
      break;
    case Kind::partial:
      expect(data.size() <= read.count && data.empty() == (read.count == 0),
             "a partial read gave too much or nothing");
      break;
    case Kind::streaming:
      expect(data.empty() && read.count == 0, "a streaming read ended early");
      break;
    case Kind::draining:
      expect(data.empty(), "read_until_close gave its pieces again");
      [[fallthrough]];
    case Kind::until_close:
      expect(stream_ == nullptr || stream_->closed(),
             "read_until_close ended on an open stream");
      break;
  }
  take(data, read);
  operate_in_callback();
  expect(data == copy, "the view changed while the callback ran");
}

void StreamModel::on_piece(std::string_view piece) {
  const InCallback scope(*this);
  expect(read_.has_value(), "a piece came after the end of its read");
  if (!read_) {
    return;
  }
  expect(!piece.empty(), "a piece is empty");
  if (read_->kind == Kind::streaming) {
    expect(piece.size() <= read_->count, "pieces passed the count");
    read_->count -= std::min(piece.size(), read_->count);
  }
  const std::string copy(piece);
  take(piece, *read_);
  operate_in_callback();
  expect(piece == copy, "the view changed while the callback ran");
}

void StreamModel::on_written(std::size_t end) {
  const InCallback scope(*this);
  expect(!reports_.empty() && reports_.front() == end,
         "write callbacks ran out of order");
  expect(closed_ == 0, "a write callback ran after the close callback");
  if (!reports_.empty()) {
    reports_.pop_front();
  }
  reported_ = end;
  operate_in_callback();
}

void StreamModel::on_close() {
  const InCallback scope(*this);
  closed_ += 1;
  notice_dropped_read();
  if (stream_ != nullptr) {
    expect(stream_->closed(), "the close callback ran on an open stream");
    expect(!read_, "the close callback ran before a data callback");
  }
  read_.reset();
  reports_.clear();
  operate_in_callback();
}

// Holds at any moment between the operations.
void StreamModel::check_state() {
  if (stream_ == nullptr) {
    return;
  }
  notice_dropped_read();
  const std::size_t buffered = stream_->unread_bytes();
  expect(delivered_ + buffered <= sent_.size(), "bytes from nowhere");
  expect(buffered <= options_.max_buffer_size + 1,
         "more is buffered than max_buffer_size");
  expect(stream_->unsent_bytes() <= options_.max_write_buffer_size,
         "more is unsent than max_write_buffer_size");
  expect(!stream_->reading() || read_.has_value(),
         "a read is pending too long");
  expect(stream_->reading() || !read_ || stream_->closed(), "a read was lost");
  expect(closed_ <= 1, "the close callback ran twice");
  expect(loop_.failures <= thrown_, "an exception was told twice");
}

// Holds when the loop has come to rest: whatever could happen has.
void StreamModel::check_progress() {
  if (stream_ == nullptr) {
    return;
  }
  expect(loop_.failures == thrown_, "an exception was not told");
  if (stream_->closed()) {
    expect(closed_ == 1, "a closed stream has not told so");
  } else if (read_) {
    const std::string_view arrived =
        unread(sent_.size()).substr(0, options_.max_buffer_size);
    expect(!read_->satisfied_by(arrived), "a read is not completed");
    expect(arrived.size() <= read_->max_bytes,
           "a read past its max_bytes is still pending");
    expect(peer_sends_, "the peer's end was not noticed");
  }
}

void StreamModel::check_end() {
  expect(closed_ == (let_go_ ? 0 : 1) || closed_ == 1,
         "the close callback did not run once");
  expect(loop_.failures == thrown_, "exceptions were not told once each");
  expect(records_ == 0, "a warning or an error was logged");
  expect(cut_off_ || received_.size() >= reported_,
         "what was reported as written was lost");
  if (stream_ != nullptr) {
    expect(!read_ && !stream_->reading(), "a read is pending at the end");
    const std::size_t left = stream_->unread_bytes();
    const bool orderly = stream_->error() == std::error_code() && !we_closed_;
    expect(!orderly || delivered_ + left == sent_.size(),
           "bytes were lost before an orderly end");
  }
  stream_.reset();
  expect(token_.use_count() == 1, "callbacks were not destroyed");
  const IOLoop::Statistics left = loop_.statistics();
  expect(left.streams == 0, "a stream is left");
  expect(left.callbacks + left.timeouts + left.handlers == 0,
         "something is left on the loop");
}

}  // namespace waterspout::test::model
