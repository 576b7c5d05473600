#include "waterspout/daemon.h"

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <stdexcept>
#include <system_error>
#include <utility>

#include <unistd.h>

#include "waterspout/error.h"

#include "base/throw_errno.h"
#include "loop/open_loops.h"
#include "service/background.h"
#include "service/pid_file.h"
#include "service/ready_pipe.h"

namespace waterspout {

using detail::PidFile;
using detail::ReadyPipe;

namespace {

// What says itself what it is about is not dressed up.
std::string reason_of(const std::exception_ptr& exception) {
  try {
    std::rethrow_exception(exception);
  } catch (const std::exception& error) {
    return error.what();
  } catch (...) {
    return describe_exception(exception);
  }
}

// One line on standard error.
void say(std::string_view text) noexcept {
  std::fprintf(stderr, "%s: %.*s\n", ::program_invocation_short_name,
               static_cast<int>(text.size()), text.data());
}

std::string in_seconds(Duration duration) {
  char text[32];
  std::snprintf(text, sizeof text, "%g s",
                std::chrono::duration<double>(duration).count());
  return text;
}

// Leaves the session, and the terminal, of whoever started it. Returns in the
// daemon alone: a grandchild, whose parent is gone, and which is no leader of
// its session, so that no terminal it opens can become its own.
void leave_session(ReadyPipe& starter) noexcept {
  ::setsid();
  try {
    if (detail::fork_process() != 0) {
      ::_exit(EXIT_SUCCESS);
    }
  } catch (...) {
    starter.tell_failure(reason_of(std::current_exception()));
    ::_exit(EXIT_FAILURE);
  }
}

// After this the daemon's lock is free, unless the kernel cannot end it.
void end_what_was_started(PidFile& file, pid_t group, ReadyPipe::News news,
                          Duration stop_timeout) {
  constexpr Duration kDying = std::chrono::seconds(5);
  if (news == ReadyPipe::News::none) {
    ::kill(file.holder().value_or(-group), SIGTERM);
  }
  if (!file.wait_for_lock(stop_timeout)) {
    ::kill(-group, SIGKILL);
    (void)file.wait_for_lock(kDying);
  }
}

std::string why_not_ready(const ReadyPipe::Answer& answer,
                          const Daemon::Options& options) {
  switch (answer.news) {
    case ReadyPipe::News::failed:
      return answer.reason;
    case ReadyPipe::News::none:
      return "not ready within " + in_seconds(options.start_timeout);
    default:
      return "ended before it was ready" +
             (options.stderr_file == "/dev/null"
                  ? std::string()
                  : "; see " + options.stderr_file);
  }
}

void tell_to_end(std::optional<pid_t> process, const std::string& path) {
  if (process && ::kill(*process, SIGTERM) != 0) {
    const int error = errno;
    if (error != ESRCH) {
      throw_errno(error, "stop",
                  path + ": process " + std::to_string(*process));
    }
  }
}

// Waits until nobody holds the lock, after one SIGTERM to the process that
// does. Returns false if there was none.
bool end_holder(PidFile& file, const std::string& path, Duration timeout) {
  constexpr Duration kInterval = std::chrono::milliseconds(5);
  const auto start = std::chrono::steady_clock::now();
  std::optional<pid_t> told;
  while (!file.wait_for_lock(kInterval)) {
    if (!told) {
      told = file.holder();
      tell_to_end(told, path);
    }
    if (std::chrono::steady_clock::now() - start >= timeout) {
      throw std::runtime_error(
          "stop: " + path + ": " +
          (told ? "process " + std::to_string(*told) + ", or a child of it,"
                : std::string("a process that is not named there")) +
          " still runs after " + in_seconds(timeout));
    }
  }
  return told.has_value();
}

}  // namespace

Daemon::Daemon(Options options) : options_(std::move(options)) {
  for (const std::string* path :
       {&options_.pid_file, &options_.stdin_file, &options_.stdout_file,
        &options_.stderr_file, &options_.working_directory}) {
    if (path->empty()) {
      throw std::invalid_argument("Daemon: a path in its options is empty");
    }
  }
}

Daemon::~Daemon() = default;

int Daemon::command(std::string_view verb) noexcept try {
  if (verb == "start") {
    start();
  } else if (verb == "stop") {
    if (!stop()) {
      say("stop: " + options_.pid_file + ": not running");
    }
  } else if (verb == "restart") {
    restart();
  } else if (verb == "run") {
    run_in_foreground();
  } else {
    say("'" + escape_bytes(verb) + "' is none of start, stop, restart and run");
    return 2;
  }
  return EXIT_SUCCESS;
} catch (...) {
  say(reason_of(std::current_exception()));
  return EXIT_FAILURE;
}

void Daemon::start() {
  check_no_open_loop("start");
  const Options options = detail::with_absolute_paths(options_);
  PidFile pid_file = detail::lock_pid_file("start", options.pid_file);
  // With a lock of its own: it can wait for the daemon's end.
  std::optional<PidFile> probe = PidFile::find(options.pid_file);
  if (!probe) {
    throw_errno(ENOENT, "start", options.pid_file);
  }
  auto pipe = std::make_unique<ReadyPipe>();
  const pid_t group = detail::fork_process();
  if (group == 0) {
    probe.reset();
    pipe->keep_daemon_end();
    leave_session(*pipe);
    starter_ = std::move(pipe);
    serve(options, pid_file);
  }
  pid_file.give_away();
  pipe->keep_starter_end();
  detail::reap_child(group);
  const ReadyPipe::Answer answer = pipe->wait(options.start_timeout);
  if (answer.news != ReadyPipe::News::ready) {
    end_what_was_started(*probe, group, answer.news, options.stop_timeout);
    throw std::runtime_error("start: " + options.pid_file + ": " +
                             why_not_ready(answer, options));
  }
}

void Daemon::serve(const Options& options, PidFile& pid_file) noexcept {
  int status = EXIT_SUCCESS;
  bool in_background = false;
  try {
    pid_file.write_pid();
    detail::enter_background(options);
    in_background = true;
    run();
  } catch (...) {
    status = EXIT_FAILURE;
    const std::string reason = reason_of(std::current_exception());
    if (starter_ &&
        pid_file.ours()) {  // a child's failure is its parent's care
      starter_->tell_failure(reason);
    }
    if (in_background) {  // else standard error is still the starter's
      say(reason);
    }
  }
  pid_file.remove();
  std::exit(status);
}

bool Daemon::stop() {
  const std::string path = detail::with_absolute_paths(options_).pid_file;
  while (std::optional<PidFile> file = PidFile::find(path)) {
    if (end_holder(*file, path, options_.stop_timeout)) {
      return true;
    }
    if (file->in_place()) {
      return false;
    }
    // It was removed before we had the lock: perhaps there is a new one.
  }
  return false;
}

void Daemon::restart() {
  check_no_open_loop("restart");
  stop();
  start();
}

void Daemon::run_in_foreground() {
  const std::string path = detail::with_absolute_paths(options_).pid_file;
  PidFile pid_file = detail::lock_pid_file("run", path);
  pid_file.write_pid();
  run();
}

std::optional<int> Daemon::pid() const {
  const std::optional<PidFile> file =
      PidFile::find(detail::with_absolute_paths(options_).pid_file);
  return file ? file->holder() : std::nullopt;
}

void Daemon::ready() noexcept {
  if (starter_) {
    starter_->tell_ready();
    starter_.reset();
  }
}

}  // namespace waterspout
