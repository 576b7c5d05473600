#include "embed_libevent/upstream_fetch.h"

#include <chrono>
#include <stdexcept>
#include <utility>

#include "waterspout/error.h"
#include "waterspout/stack_context.h"

#include "embed_libevent/response_head.h"

namespace embed_libevent {

namespace {

using waterspout::ExceptionStackContext;
using waterspout::IOStream;

}  // namespace

UpstreamFetch::UpstreamFetch(waterspout::IOLoop& loop, Upstream upstream,
                             waterspout::Duration time_limit)
    : loop_(loop), upstream_(std::move(upstream)), time_limit_(time_limit) {}

void UpstreamFetch::start(std::string_view path, DoneCallback done) {
  done_ = std::move(done);
  request_.append("GET ").append(path).append(" HTTP/1.0\r\nHost: ");
  request_.append(upstream_.host).append("\r\n\r\n");
  const auto self = shared_from_this();
  // Every callback below is made inside this scope, or inside a callback that
  // was: whatever one of them throws, however far down the chain, comes here.
  const ExceptionStackContext guard([self](const std::exception_ptr& error) {
    return self->on_exception(error);
  });
  stream_ = IOStream::create(loop_, {.max_buffer_size = kLargestBody});
  stream_->set_close_callback([self] { self->on_close(); });
  stream_->connect(upstream_.address, [self] { self->send_request(); });
  timeout_ = loop_.call_later(time_limit_, [self] { self->on_timeout(); });
}

void UpstreamFetch::cancel() {
  done_ = nullptr;
  loop_.remove_timeout(timeout_);
  if (stream_) {
    stream_->set_close_callback(nullptr);
    stream_->close();
  }
}

void UpstreamFetch::send_request() {
  step_ = "sending the request";
  stream_->write(request_, [self = shared_from_this()] { self->read_head(); });
}

void UpstreamFetch::read_head() {
  step_ = "reading the head of the response";
  stream_->read_until("\r\n\r\n", {.max_bytes = kLargestHead},
                      [self = shared_from_this()](std::string_view head) {
                        self->on_head(head);
                      });
}

// `head` and `body` are views of the stream's buffer, which last as long as the
// callback: what is needed later is copied.
void UpstreamFetch::on_head(std::string_view head) {
  const ResponseHead parsed = parse_head(head);
  step_ = "reading the body of the response";
  response_.status = parsed.status;
  response_.content_type = parsed.content_type;
  if (!parsed.length) {
    stream_->read_until_close(
        [self = shared_from_this()](std::string_view body) {
          self->on_end(body);
        });
    return;
  }
  if (*parsed.length > kLargestBody) {
    throw std::runtime_error("the body has " + std::to_string(*parsed.length) +
                             " bytes; " + std::to_string(kLargestBody) +
                             " are allowed");
  }
  stream_->read_bytes(*parsed.length,
                      [self = shared_from_this()](std::string_view body) {
                        self->on_body(body);
                      });
}

void UpstreamFetch::on_body(std::string_view body) {
  response_.body = body;
  finish();
}

// read_until_close gives what there is, for whatever reason the stream closed.
void UpstreamFetch::on_end(std::string_view body) {
  if (stream_->error()) {
    on_close();
  } else {
    on_body(body);
  }
}

// The connection has ended and we were not done with it: finish() and cancel()
// take this callback back.
void UpstreamFetch::on_close() {
  const std::string reason = stream_->error_message();
  fail(502, std::string("while ") + step_ + ": " +
                (reason.empty() ? "the connection was closed" : reason));
}

void UpstreamFetch::on_timeout() {
  const auto limit =
      std::chrono::duration_cast<std::chrono::milliseconds>(time_limit_);
  fail(504, std::string("while ") + step_ + ": no answer within " +
                std::to_string(limit.count()) + " ms");
}

// True: the exception is handled here. Any other, as what `done` throws, is the
// loop's to report; it closes the stream, so the close callback follows.
bool UpstreamFetch::on_exception(const std::exception_ptr& exception) {
  if (!done_) {
    return false;
  }
  try {
    std::rethrow_exception(exception);
  } catch (const waterspout::StreamClosedError&) {
    // The chain asked a stream for more that had closed meanwhile. The close
    // callback, which follows, knows why.
    return true;
  } catch (const std::runtime_error& error) {
    fail(502, std::string("while ") + step_ + ": " + error.what());
    return true;
  } catch (...) {
    return false;
  }
}

void UpstreamFetch::fail(int status, const std::string& reason) {
  response_ = {
      status, "text/plain",
      "upstream " + upstream_.address.to_string() + ": " + reason + "\n", true};
  finish();
}

void UpstreamFetch::finish() {
  const DoneCallback done = std::exchange(done_, nullptr);
  const Response response = std::move(response_);
  cancel();
  if (done) {
    done(response);  // Last: may drop the last reference to this object.
  }
}

}  // namespace embed_libevent
