#include "http_fetch/fetch.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <stdexcept>
#include <utility>

#include "waterspout/error.h"
#include "waterspout/stack_context.h"

#include "http_fetch/text.h"

namespace http_fetch {

namespace {

constexpr int kMaxRedirects = 10;
constexpr std::size_t kLongestUrlShown = 2000;  // bytes

using waterspout::escape_bytes;
using waterspout::ExceptionStackContext;

// Meant for the server that the user named, not for one that it points to.
bool is_for_one_origin(const HeaderField& field) {
  constexpr std::array<std::string_view, 4> kNames = {
      "Host", "Authorization", "Cookie", "Proxy-Authorization"};
  for (const std::string_view name : kNames) {
    if (same_ignoring_case(field.name, name)) {
      return true;
    }
  }
  return false;
}

}  // namespace

Fetch::Fetch(Shared shared, std::string url, MakeOutput make_output,
             EndCallback on_end)
    : shared_(shared),
      given_url_(std::move(url)),
      make_output_(std::move(make_output)),
      on_end_(std::move(on_end)) {}

Fetch::~Fetch() { release(); }

// Every callback that is made in here, however many callbacks later, is made in
// this context: so whatever any of them throws becomes the fetch's failure.
void Fetch::start() {
  timeout_ = shared_.loop.call_later(shared_.options.timeout,
                                     [this] { on_timeout(); });
  waterspout::run_with_stack_context<ExceptionStackContext>(
      [this](const std::exception_ptr& exception) {
        on_exception(exception);
        return true;
      },
      [this] {
        output_ = make_output_();
        start_exchange(parse_url(given_url_));
      });
}

void Fetch::start_exchange(const Url& url) {
  const Method method = shared_.options.method;
  Exchange::Request request{method, url,
                            request_head(method, url, headers_for(url))};
  show_head('>', request.text);
  exchange_ = std::make_shared<Exchange>(shared_.client, shared_.trust,
                                         std::move(request));
  exchange_->start([this](const ResponseHead& head) { on_head(head); });
}

void Fetch::on_head(const ResponseHead& head) {
  const Options& options = shared_.options;
  show_head('<', head.text);
  if (options.follow_redirects) {
    if (const auto location = head.redirection()) {
      follow(*location);
      return;
    }
  }
  if (options.include_head) {
    output_->write(head.text);
  }
  if (options.fail_on_status && head.status >= 400) {
    tell("status " + head.status_text());
    end(Outcome::bad_status);
    return;
  }
  read_body();
}

void Fetch::follow(const std::string& location) {
  if (redirects_ == kMaxRedirects) {
    throw std::runtime_error("more than " + std::to_string(kMaxRedirects) +
                             " redirects");
  }
  Url next;
  try {
    next = resolve_reference(exchange_->url(), location);
  } catch (const std::runtime_error& error) {
    throw std::runtime_error("redirect to '" +
                             escape_bytes(location, kLongestUrlShown) +
                             "': " + error.what());
  }
  redirects_++;
  exchange_->close();
  start_exchange(next);
}

void Fetch::read_body() {
  const Framing& framing = exchange_->framing();
  if (framing.kind == Framing::Kind::length) {
    check_size(framing.length);
    shared_.progress.expect(framing.length);
  } else {
    shared_.progress.expect(std::nullopt);
  }
  exchange_->read_body([this](std::string_view piece) { on_piece(piece); },
                       [this] { on_body_end(); });
}

void Fetch::on_piece(std::string_view piece) {
  body_bytes_ += piece.size();
  check_size(body_bytes_);
  shared_.progress.receive(piece.size());
  output_->write(piece);
}

void Fetch::on_body_end() {
  output_->finish();
  end(Outcome::ok);
}

void Fetch::on_timeout() {
  char seconds[32];
  std::snprintf(seconds, sizeof seconds, "%g",
                std::chrono::duration<double>(shared_.options.timeout).count());
  fail(std::string("timed out after ") + seconds + " s, " +
       exchange_->describe_step());
}

void Fetch::on_exception(const std::exception_ptr& exception) {
  try {
    std::rethrow_exception(exception);
  } catch (const waterspout::StreamClosedError&) {
    // The stream's close callback follows and says what that means.
  } catch (const std::exception& error) {
    fail(error.what());
  }
}

void Fetch::fail(std::string_view reason) {
  if (on_end_) {
    tell(reason);
    end(Outcome::failed);
  }
}

void Fetch::end(Outcome outcome) {
  release();
  std::exchange(on_end_, nullptr)(outcome);
}

void Fetch::release() {
  shared_.loop.remove_timeout(timeout_);
  if (exchange_) {
    exchange_->close();
  }
  exchange_.reset();
  output_.reset();
}

void Fetch::check_size(std::uint64_t bytes) const {
  const auto& limit = shared_.options.max_size;
  if (limit && bytes > *limit) {
    throw std::runtime_error("body larger than --max-size " +
                             std::to_string(*limit));
  }
}

std::vector<HeaderField> Fetch::headers_for(const Url& url) const {
  std::vector<HeaderField> headers = shared_.options.headers;
  if (redirects_ > 0 && !url.same_origin(parse_url(given_url_))) {
    std::erase_if(headers, is_for_one_origin);
  }
  return headers;
}

// As curl -v shows them, a mark before each line.
void Fetch::show_head(char mark, std::string_view head) const {
  if (!shared_.options.verbose) {
    return;
  }
  while (!head.empty()) {
    const std::string_view line = head.substr(0, head.find('\n'));
    head.remove_prefix(std::min(line.size() + 1, head.size()));
    shared_.console.line(
        std::string{mark, ' '}.append(line.substr(0, line.find('\r'))));
  }
}

void Fetch::tell(std::string_view reason) const {
  std::string line =
      "http_fetch: " + escape_bytes(given_url_, kLongestUrlShown);
  if (redirects_ > 0 && exchange_) {
    line += ": redirected to " + exchange_->url().to_string();
  }
  shared_.console.line(line.append(": ").append(reason));
}

}  // namespace http_fetch
