#include "http_fetch/session.h"

#include <algorithm>
#include <csignal>
#include <cstring>
#include <system_error>
#include <utility>

#include <unistd.h>

#include "waterspout/log.h"

namespace http_fetch {

namespace {

constexpr int kSignals[] = {SIGHUP, SIGINT, SIGTERM};

int exit_status(Outcome outcome) {
  switch (outcome) {
    case Outcome::ok:
      return 0;
    case Outcome::bad_status:
      return 22;
    case Outcome::failed:
      break;
  }
  return 1;
}

bool is_ignored(int signum) {
  struct sigaction action {};
  return ::sigaction(signum, nullptr, &action) == 0 &&
         action.sa_handler == SIG_IGN;
}

// A bar would run into a body that is shown on the same terminal.
bool wants_progress(const Options& options) {
  return ::isatty(STDERR_FILENO) == 1 &&
         (!options.output_file.empty() || ::isatty(STDOUT_FILENO) == 0);
}

}  // namespace

Session::Session(const Options& options)
    : options_(options),
      client_(loop_),
      trust_(options),
      progress_(loop_, console_),
      standard_output_(
          [this](std::string_view reason) { on_output_broken(reason); }),
      running_(options.urls.size()) {
  // The library warns of connections that fail; so do we, and with the URL.
  loop_.logger().set_level(waterspout::LogLevel::error);
}

int Session::run() {
  watch_signals();
  if (wants_progress(options_)) {
    progress_.start();
  }
  for (const std::string& url : options_.urls) {
    add_fetch(url);
  }
  for (const auto& fetch : fetches_) {
    fetch->start();
  }
  loop_.start();
  progress_.stop();
  if (signal_ != 0) {
    die_by_signal();
  }
  return exit_status(worst_);
}

// Only a file has to be cleaned up after. Without one, signals do what they
// always do, also while standard output keeps us waiting.
void Session::watch_signals() {
  if (options_.output_file.empty()) {
    return;
  }
  for (const int signum : kSignals) {
    if (is_ignored(signum)) {
      continue;  // nohup means it
    }
    loop_.add_signal_handler(signum, [this](int received) {
      signal_ = received;
      loop_.stop();
    });
  }
}

void Session::add_fetch(const std::string& url) {
  auto make_output = [this]() -> std::unique_ptr<Output> {
    if (options_.output_file.empty()) {
      return standard_output_.next();
    }
    return std::make_unique<FileOutput>(options_.output_file);
  };
  const Fetch::Shared shared{loop_,    client_,  trust_,
                             options_, console_, progress_};
  fetches_.push_back(std::make_unique<Fetch>(
      shared, url, std::move(make_output),
      [this](Outcome outcome) { on_fetch_end(outcome); }));
}

// Before loop_.start() too, for a fetch that fails at once: a start() that
// finds itself stopped returns.
void Session::on_fetch_end(Outcome outcome) {
  worst_ = std::max(worst_, outcome);
  running_--;
  if (running_ == 0) {
    loop_.stop();
  }
}

void Session::on_output_broken(std::string_view reason) {
  console_.line(std::string("http_fetch: ").append(reason));
  worst_ = Outcome::failed;
  loop_.stop();
}

// Cleans up, then lets the signal have its way, so that who started us can see
// what ended us.
void Session::die_by_signal() {
  const std::string reason =
      std::string("interrupted: ") + ::strsignal(signal_);
  for (const auto& fetch : fetches_) {
    fetch->fail(reason);
  }
  loop_.remove_signal_handler(signal_);
  std::raise(signal_);
}

}  // namespace http_fetch
