#include "http_server/connection.h"

#include <algorithm>
#include <chrono>
#include <limits>
#include <system_error>
#include <utility>

#include <linux/sockios.h>
#include <sys/ioctl.h>

namespace http_server {

namespace {

constexpr std::size_t kPiece = 65536;  // bytes

Date now() {
  return std::chrono::floor<std::chrono::seconds>(
      std::chrono::system_clock::now());
}

}  // namespace

HTTPConnection::HTTPConnection(std::shared_ptr<Shared> shared,
                               std::shared_ptr<waterspout::IOStream> stream)
    : shared_(std::move(shared)), stream_(std::move(stream)) {
  shared_->connections.emplace(stream_.get(), this);
}

HTTPConnection::~HTTPConnection() {
  shared_->connections.erase(stream_.get());
  shared_->loop.remove_timeout(deadline_);
}

void HTTPConnection::start() {
  set_deadline(shared_->limits.head_timeout);
  read();
}

// Whatever is there, and not up to the blank line: read_until closes a stream
// on which its delimiter does not come in time, and we would answer 431.
void HTTPConnection::read() {
  stream_->read_bytes(kPiece, {.partial = true},
                      [self = shared_from_this()](std::string_view input) {
                        self->on_input(input);
                      });
}

void HTTPConnection::on_input(std::string_view input) {
  if (stream_->closed()) {
    return;  // nobody is left to be answered
  }
  if (phase_ == Phase::lingering) {
    read();
  } else if (input_.empty()) {
    // Mostly a whole request and nothing else: it need not be stored.
    const std::size_t used = take_request(input);
    input_.assign(input.substr(used));
  } else {
    input_.append(input);
    take_stored_request();
  }
}

void HTTPConnection::take_stored_request() {
  const std::size_t used = take_request(std::string_view(input_).substr(used_));
  used_ += used;
  if (used == 0 || used_ == input_.size()) {
    input_.erase(0, used_);
    input_.shrink_to_fit();
    used_ = 0;
  }
}

// Returns how many bytes of `input` are dealt with: all of a head and nothing
// behind it, or none of half a head.
std::size_t HTTPConnection::take_request(std::string_view input) {
  try {
    const auto head = finder_.find(input, shared_->limits.head);
    if (!head) {
      wait_for_more(input);
      return 0;
    }
    finder_ = HeadFinder();
    respond(input.substr(0, *head));
    return *head;
  } catch (const BadRequest& error) {
    refuse(error, input);
  } catch (const std::system_error& error) {
    shared_->loop.logger().warning(std::string("http_server: ") + error.what());
    refuse(BadRequest(500, "the file cannot be read"), input);
  }
  return input.size();
}

void HTTPConnection::wait_for_more(std::string_view input) {
  if (phase_ == Phase::idle && !input.empty()) {
    phase_ = Phase::reading;
    set_deadline(shared_->limits.head_timeout);
  }
  read();
}

void HTTPConnection::respond(std::string_view head) {
  Request request = parse_request(head, shared_->limits.head);
  request.keep_alive = request.keep_alive && !last_;
  response_ = answer(request, *shared_->directory, now());
  last_ = !response_.keep_alive;
  phase_ = Phase::responding;
  send_piece();
}

// The client may still be sending, and bytes that arrive at a closed socket are
// answered with a reset, which can overtake our answer. So what it sends is
// read and dropped until it has seen the answer and closes, or time is up.
void HTTPConnection::refuse(const BadRequest& error, std::string_view input) {
  phase_ = Phase::lingering;
  set_deadline(shared_->limits.linger_timeout);
  stream_->write(answer(error, input.starts_with("HEAD "), now()).text);
  if (!stream_->reading() && !stream_->closed()) {
    read();
  }
}

// The head, if it has not been sent, and the next bytes of the file: in one
// write, which copies what the kernel does not take at once.
void HTTPConnection::send_piece() {
  std::string& output = shared_->output;
  output.assign(response_.text);
  response_.text.clear();
  const std::size_t head = output.size();
  const auto count = static_cast<std::size_t>(
      std::min<std::uint64_t>(response_.length, kPiece));
  output.resize(head + count);
  if (response_.file.read(output.data() + head, count, response_.offset) !=
      count) {
    stream_->close();  // the file has become shorter than its head says
    return;
  }
  response_.offset += count;
  response_.length -= count;
  untaken_ = std::numeric_limits<std::uint64_t>::max();
  set_deadline(shared_->limits.stall_timeout);
  stream_->write(output, [self = shared_from_this()] { self->on_written(); });
}

void HTTPConnection::on_written() {
  if (stream_->closed()) {
    return;
  }
  if (response_.length > 0) {
    send_piece();
    return;
  }
  response_ = Response();
  if (last_) {
    stream_->close_after_writing();
    return;
  }
  phase_ = Phase::idle;
  if (input_.empty()) {
    set_deadline(shared_->limits.idle_timeout);
    read();
  } else {
    take_stored_request();
  }
}

void HTTPConnection::finish() {
  const bool idle = phase_ == Phase::idle && stream_->unread_bytes() == 0;
  if (idle || phase_ == Phase::lingering) {
    stream_->close_after_writing();
  } else {
    last_ = true;
  }
}

void HTTPConnection::on_deadline() {
  if (stream_->closed()) {
    return;
  }
  if (phase_ == Phase::reading) {
    refuse(BadRequest(408, "the request has not arrived in time"),
           std::string_view(input_).substr(used_));
    return;
  }
  const std::uint64_t before = std::exchange(untaken_, untaken_bytes());
  if (phase_ == Phase::responding && untaken_ < before) {
    set_deadline(shared_->limits.stall_timeout);
  } else {
    stream_->close();
  }
}

void HTTPConnection::set_deadline(waterspout::Duration delay) {
  waterspout::IOLoop& loop = shared_->loop;
  if (!loop.move_timeout(deadline_, loop.time() + delay)) {
    deadline_ = loop.call_later(delay, [weak = weak_from_this()] {
      if (const auto self = weak.lock()) {
        self->on_deadline();
      }
    });
  }
}

// What the stream and the kernel hold for the client. The kernel's part counts:
// it takes megabytes at a time, for which a slow client needs minutes.
std::uint64_t HTTPConnection::untaken_bytes() const {
  int in_kernel = 0;
  ::ioctl(stream_->fileno(), SIOCOUTQ, &in_kernel);
  return stream_->unsent_bytes() + static_cast<std::uint64_t>(in_kernel);
}

}  // namespace http_server
