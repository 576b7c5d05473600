#include "http_fetch/exchange.h"

#include <stdexcept>
#include <system_error>
#include <utility>

#include "waterspout/error.h"

namespace http_fetch {

namespace {

using waterspout::ConnectError;
using waterspout::IOStream;
using waterspout::StreamErrc;

constexpr std::size_t kLargestHead = 65536;  // bytes
// Nothing we ask a stream for is larger than a head, so nothing larger needs to
// be buffered.
constexpr std::size_t kReadBuffer = 262144;  // bytes

constexpr std::string_view kStatusLineStart = "HTTP/";

std::string with_cause(const std::string& text, std::error_code cause) {
  return cause ? text + ": " + cause.message() : text;
}

}  // namespace

Exchange::Exchange(waterspout::TCPClient& client, Trust& trust, Request request)
    : client_(client), trust_(trust), request_(std::move(request)) {}

// No time limits in here: the fetch has one over everything, and closes us.
void Exchange::start(HeadCallback on_head) {
  on_head_ = std::move(on_head);
  waterspout::ConnectOptions options{
      .stream = {.max_buffer_size = kReadBuffer},
      .tls_options = {.handshake_timeout = waterspout::Duration::zero()}};
  if (request_.url.secure) {
    options.tls = trust_.context();
  }
  connecting_ = client_.connect(
      request_.url.host, request_.url.port, std::move(options),
      [self = shared_from_this()](const ConnectError& error,
                                  std::shared_ptr<IOStream> stream) {
        self->on_connection(error, std::move(stream));
      });
}

void Exchange::on_connection(const ConnectError& error,
                             std::shared_ptr<IOStream> stream) {
  if (error) {
    throw std::runtime_error(error.message);
  }
  stream_ = std::move(stream);
  stream_->set_close_callback(
      [self = shared_from_this()] { self->on_close(); });
  send_request();
}

void Exchange::send_request() {
  step_ = Step::sending;
  stream_->write(request_.text,
                 [self = shared_from_this()] { self->read_head_line(); });
}

// A line at a time rather than up to "\r\n\r\n": so heads whose lines end in a
// bare "\n" are read as well, and what is no HTTP shows in the first line, also
// where the server then waits for us.
void Exchange::read_head_line() {
  step_ = Step::reading_head;
  stream_->read_until("\n", {.max_bytes = kLargestHead - head_bytes_},
                      [self = shared_from_this()](std::string_view line) {
                        self->on_head_line(line);
                      });
}

void Exchange::on_head_line(std::string_view line) {
  head_bytes_ += line.size();
  if (!add_line(head_, line)) {
    read_head_line();
    return;
  }
  if (head_.status == 101) {
    throw std::runtime_error(
        "malformed response: it switches to a protocol that nobody asked for");
  }
  if (head_.interim()) {
    head_ = {};
    read_head_line();
    return;
  }
  framing_ = framing_of(head_, request_.method);
  on_head_(head_);  // Last: may drop its reference to this object.
}

// A body up to the connection's end ends by close() too, and the bytes that
// were buffered then may still come: none of it is for the caller.
void Exchange::read_body(PieceCallback on_piece, EndCallback on_end) {
  step_ = Step::reading_body;
  auto take_piece = [self = shared_from_this(),
                     on_piece = std::move(on_piece)](std::string_view piece) {
    if (self->step_ != Step::closed) {
      self->received_ += piece.size();
      on_piece(piece);
    }
  };
  auto end_body = [self = shared_from_this(), on_end = std::move(on_end)] {
    if (self->step_ != Step::closed) {
      on_end();
    }
  };
  http_fetch::read_body(stream_, framing_, std::move(take_piece),
                        std::move(end_body));
}

void Exchange::close() {
  step_ = Step::closed;
  connecting_.cancel();
  if (stream_) {
    stream_->set_close_callback(nullptr);
    stream_->close();
  }
}

// The connection has ended, and we were not done with it: close() takes this
// callback back.
void Exchange::on_close() {
  if (step_ == Step::reading_head) {
    // What has arrived stays readable, and may tell who that was.
    stream_->read_until_close(
        [self = shared_from_this()](std::string_view rest) {
          if (self->step_ != Step::closed) {
            throw std::runtime_error(self->describe_head_end(rest));
          }
        });
  } else {
    throw std::runtime_error(describe_end());
  }
}

std::string Exchange::describe_step() const {
  switch (step_) {
    case Step::connecting:
      return "connecting to " + request_.url.authority();
    case Step::sending:
      return "sending the request";
    case Step::reading_head:
      return "waiting for the response head";
    case Step::reading_body:
      return "reading the body (" + describe_body() + ")";
    case Step::closed:
      break;
  }
  return "closed";
}

std::string Exchange::describe_end() const {
  if (step_ == Step::sending) {
    return with_cause("connection closed before the request was sent",
                      stream_->error());
  }
  if (stream_->error() == StreamErrc::unsatisfiable_read) {
    return "malformed response: a chunk's size or the trailer is too long";
  }
  return with_cause("body cut short: " + describe_body(), stream_->error());
}

std::string Exchange::describe_head_end(std::string_view rest) const {
  if (stream_->error() == StreamErrc::unsatisfiable_read) {
    return "response head larger than " + std::to_string(kLargestHead) +
           " bytes";
  }
  if (head_bytes_ == 0 && rest.empty()) {
    return with_cause("connection closed without a response", stream_->error());
  }
  const std::string_view start = rest.substr(0, kStatusLineStart.size());
  if (head_bytes_ == 0 && start != kStatusLineStart.substr(0, start.size())) {
    return "not http: the answer begins with '" +
           waterspout::escape_bytes(rest) + "'";
  }
  return with_cause("response head cut short", stream_->error());
}

std::string Exchange::describe_body() const {
  const std::string got = "got " + std::to_string(received_);
  return framing_.kind == Framing::Kind::length
             ? got + " of " + std::to_string(framing_.length) + " bytes"
             : got + " bytes";
}

}  // namespace http_fetch
