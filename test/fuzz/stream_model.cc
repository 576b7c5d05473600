// The operations, and the two ways in. test/stream_model_test.cc runs them on
// random bytes; for libFuzzer:
//
//   clang++-14 -g -std=c++20 -fsanitize=fuzzer,address -Iinclude -Itest
//       test/fuzz/*.cc -Lbuild/lib -lwaterspout -levent_core

#include "fuzz/stream_model.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <system_error>

#include <sys/socket.h>
#include <unistd.h>

#include <event2/event.h>

namespace waterspout::test {

namespace model {

namespace {

constexpr int kOperations = 300;

}  // namespace

void FreeBase::operator()(event_base* base) const noexcept {
  event_base_free(base);
}

StreamModel::StreamModel(std::span<const std::uint8_t> input) : input_(input) {
  std::array<int, 2> ends{};
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0) {
    std::perror("socketpair");
    std::abort();
  }
  peer_ = ends[1];
  options_.max_buffer_size = input_.one_of<std::size_t>({100'000, 64, 1000});
  options_.read_chunk_size =
      input_.one_of<std::size_t>({65536, 1, 2, 3, 16, 1000});
  options_.max_write_buffer_size =
      input_.one_of<std::size_t>({IOStream::kUnlimited, 5000});
  stream_ = IOStream::create(loop_, ends[0], options_);
  stream_->set_close_callback([this, held = token_] { on_close(); });
}

std::unique_ptr<event_base, FreeBase> StreamModel::new_base() {
  return std::unique_ptr<event_base, FreeBase>(event_base_new());
}

IOLoop::Options StreamModel::quiet_options() {
  IOLoop::Options options;
  options.logger =
      Logger([this](const LogRecord&) { records_ += 1; }, LogLevel::warning);
  return options;
}

std::string StreamModel::run() {
  for (int i = 0; i < kOperations && !input_.empty() && violation_.empty();
       ++i) {
    operate();
    check_state();
  }
  finish();
  return violation_;
}

void StreamModel::operate() {
  if (stream_ == nullptr) {
    step();
    return;
  }
  switch (input_.below(18)) {
    case 0:
    case 1:
    case 2:
      return peer_sends();
    case 3:
    case 4:
      return step();
    case 5:
      settle();
      return check_progress();
    case 6:
    case 7:
    case 8:
    case 9:
    case 10:
      return start_read();
    case 11:
    case 12:
      return write();
    case 13:
      return peer_drains(1 + input_.below(200) * 40);
    case 14:
      if (input_.below(4) == 0 && peer_ >= 0) {
        shutdown(peer_, SHUT_WR);
        peer_sends_ = false;
      }
      return;
    case 15:
      if (input_.below(4) == 0) {
        input_.below(2) == 0 ? peer_drains(IOStream::kUnlimited) : void();
        cut_off_ = true;
        close_peer();
      }
      return;
    case 16:
      if (input_.below(8) == 0) {
        close_stream();
      }
      return;
    default:
      if (input_.below(16) == 0) {
        let_go();
      }
  }
}

// What a callback does; it may throw.
void StreamModel::operate_in_callback() {
  if (stream_ == nullptr) {
    return;
  }
  switch (input_.below(16)) {
    case 0:
    case 1:
    case 2:
    case 3:
    case 4:
      return start_read();
    case 5:
    case 6:
      return write();
    case 7:
      return peer_sends();
    case 8:
      if (input_.below(4) == 0) {
        close_stream();
      }
      return;
    case 9:
      if (input_.below(4) == 0) {
        let_go();
      }
      return;
    case 10:
      if (input_.below(4) == 0) {
        we_closed_ = true;
        thrown_ += 1;
        throw std::runtime_error("on purpose");
      }
      return;
    default:
      return;
  }
}

Read StreamModel::choose_read() {
  Read read;
  read.kind = input_.one_of<Kind>(
      {Kind::until, Kind::until, Kind::until, Kind::bytes, Kind::bytes,
       Kind::partial, Kind::streaming, Kind::until_close, Kind::draining});
  if (read.kind == Kind::until) {
    read.delimiter =
        input_.one_of<const char*>({"\n", "\r\n", "aab", "x", "abab"});
    if (input_.below(2) == 0) {
      read.max_bytes = input_.below(50);
    }
  } else {
    read.count = input_.below(2) == 0 ? input_.below(8) : input_.below(200);
  }
  return read;
}

void StreamModel::call_read(const Read& read) {
  auto on_result = [this, held = token_](std::string_view d) { on_data(d); };
  auto on_part = [this, held = token_](std::string_view d) { on_piece(d); };
  switch (read.kind) {
    case Kind::until:
      return stream_->read_until(read.delimiter, {.max_bytes = read.max_bytes},
                                 on_result);
    case Kind::bytes:
      return stream_->read_bytes(read.count, on_result);
    case Kind::partial:
      return stream_->read_bytes(read.count, {.partial = true}, on_result);
    case Kind::streaming:
      return stream_->read_bytes(read.count, {.streaming_callback = on_part},
                                 on_result);
    case Kind::until_close:
      return stream_->read_until_close(on_result);
    case Kind::draining:
      return stream_->read_until_close({.streaming_callback = on_part},
                                       on_result);
  }
}

void StreamModel::start_read() {
  notice_dropped_read();
  if (read_) {
    return read_twice();
  }
  const bool was_closed = stream_->closed();
  const std::string_view buffered = unread(stream_->unread_bytes());
  Read read = choose_read();
  read.after_close = closed_ > 0;
  read_ = read;
  try {
    call([&] { call_read(read); });
  } catch (const StreamClosedError&) {
    read_.reset();
    expect(was_closed, "a read of an open stream threw StreamClosedError");
    expect(!read.satisfied_by(buffered), "a read that can be satisfied threw");
    expect(read.kind != Kind::until_close && read.kind != Kind::draining,
           "read_until_close threw StreamClosedError");
    expect(!stream_->reading(), "a read that threw is pending");
  }
}

void StreamModel::read_twice() {
  bool refused = false;
  try {
    call([&] { call_read(choose_read()); });
  } catch (const std::logic_error&) {
    refused = true;
  } catch (const StreamClosedError&) {
    expect(false, "a second read threw StreamClosedError");
  }
  expect(refused, "a second read was not refused");
}

void StreamModel::write() {
  const std::size_t size =
      input_.below(3) == 0 ? input_.below(256) * 100 : input_.below(64);
  std::string data(size, '\0');
  for (std::size_t i = 0; i < size; ++i) {
    data[i] = static_cast<char>((written_.size() + i) * 7 % 251);
  }
  const std::size_t end = written_.size() + size;
  const std::size_t unsent = stream_->unsent_bytes();
  const bool reports = input_.below(2) == 0;
  try {
    if (reports) {
      call([&] {
        stream_->write(data, [this, end, held = token_] { on_written(end); });
      });
      reports_.push_back(end);
    } else {
      call([&] { stream_->write(data); });
    }
    written_ += data;
  } catch (const StreamClosedError&) {
    expect(stream_->closed() || no_more_writes_,
           "a write to an open stream threw StreamClosedError");
  } catch (const StreamBufferFullError&) {
    expect(unsent + size > options_.max_write_buffer_size,
           "a write that fits threw StreamBufferFullError");
    expect(stream_->unsent_bytes() <= unsent, "a refused write was queued");
  }
}

void StreamModel::peer_sends() {
  constexpr std::string_view kLetters = "aaabbx\r\n";
  if (peer_ < 0 || !peer_sends_) {
    return;
  }
  std::string data(
      input_.below(8) == 0 ? input_.below(250) * 8 : input_.below(40), '\0');
  for (char& letter : data) {
    letter = kLetters.at(input_.below(kLetters.size()));
  }
  const ssize_t sent =
      send(peer_, data.data(), data.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  if (sent > 0) {
    sent_.append(data, 0, static_cast<std::size_t>(sent));
  }
}

void StreamModel::peer_drains(std::size_t at_most) {
  std::array<char, 8192> bytes;
  while (peer_ >= 0 && at_most > 0) {
    const ssize_t got = recv(peer_, bytes.data(),
                             std::min(bytes.size(), at_most), MSG_DONTWAIT);
    if (got <= 0) {
      break;
    }
    const auto size = static_cast<std::size_t>(got);
    const std::string_view piece(bytes.data(), size);
    expect(std::string_view(written_).substr(received_.size(), size) == piece,
           "the peer received something else than was written");
    received_ += piece;
    at_most -= size;
  }
}

void StreamModel::close_peer() {
  if (peer_ >= 0) {
    close(std::exchange(peer_, -1));
  }
  peer_sends_ = false;
}

void StreamModel::close_stream() {
  switch (input_.below(3)) {
    case 0:
      we_closed_ = true;
      return call([&] { stream_->close(); });
    case 1:
      we_closed_ = true;
      return call(
          [&] { stream_->close(std::make_error_code(std::errc::timed_out)); });
    default:
      we_closed_ = true;
      no_more_writes_ = true;
      return call([&] { stream_->close_after_writing(); });
  }
}

// From here on only a pending read or write keeps the stream.
void StreamModel::let_go() {
  notice_dropped_read();
  call([&] { stream_->set_close_callback(nullptr); });
  let_go_ = true;
  stream_.reset();
}

void StreamModel::step() {
  event_base_loop(base_.get(), EVLOOP_ONCE | EVLOOP_NONBLOCK);
}

void StreamModel::settle() {
  for (int steps = 0; steps < 100'000; ++steps) {
    const auto turns = loop_.statistics().turns;
    step();
    const IOLoop::Statistics now = loop_.statistics();
    if (now.turns == turns && now.callbacks == 0) {
      return;
    }
  }
  expect(false, "the loop does not come to rest");
}

void StreamModel::finish() {
  for (bool more = true; more && violation_.empty();) {
    const std::size_t before = received_.size();
    settle();
    peer_drains(IOStream::kUnlimited);
    more = received_.size() != before;
  }
  close_peer();
  settle();
  notice_dropped_read();
  if (stream_ != nullptr && !stream_->closed() && violation_.empty()) {
    if (!read_) {
      read_.emplace().kind = Kind::until_close;
      call([&] { call_read(*read_); });
    }
    settle();
  }
  check_state();
  check_end();
}

}  // namespace model

std::string run_stream_model(std::span<const std::uint8_t> input) {
  return model::StreamModel(input).run();
}

}  // namespace waterspout::test

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data,
                                      std::size_t size) {
  const std::string violation =
      waterspout::test::run_stream_model({data, size});
  if (!violation.empty()) {
    std::fprintf(stderr, "stream_model: %s\n", violation.c_str());
    std::abort();
  }
  return 0;
}
