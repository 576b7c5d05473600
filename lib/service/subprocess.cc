#include "waterspout/subprocess.h"

#include <cerrno>
#include <csignal>
#include <cstddef>
#include <stdexcept>
#include <utility>

#include <fcntl.h>
#include <unistd.h>

#include "base/throw_errno.h"
#include "base/unique_fd.h"
#include "service/high_fd.h"
#include "service/subprocess_spawn.h"
#include "service/subprocess_watch.h"
#include "stream/pipe_adopt.h"

namespace waterspout {
namespace {

using detail::SubprocessWatch;
using Kind = ChildFd::Kind;

UniqueFd checked(UniqueFd fd, const std::string& object) {
  if (!fd) {
    throw_errno(errno, "Subprocess", object);
  }
  return fd;
}

/// One standard descriptor: the child's end, and ours where it is a stream.
struct Ends {
  UniqueFd child;
  UniqueFd ours;
};

Ends make_pipe(bool child_reads) {
  std::array<int, 2> fds{};
  if (::pipe2(fds.data(), O_CLOEXEC) != 0) {
    throw_errno(errno, "Subprocess", "pipe");
  }
  UniqueFd reader(fds[0]);
  UniqueFd writer(fds[1]);
  UniqueFd& child = child_reads ? reader : writer;
  UniqueFd& ours = child_reads ? writer : reader;
  if (::fcntl(ours.get(), F_SETFL, O_NONBLOCK) != 0) {
    throw_errno(errno, "Subprocess", "pipe");
  }
  return {checked(above_standard_streams(std::move(child)), "pipe"),
          std::move(ours)};
}

Ends make_ends(const ChildFd& what, bool child_reads) {
  constexpr int kFirst = 3;
  switch (what.kind()) {
    case Kind::inherited:
    case Kind::output:
      return {};
    case Kind::null:
      return {checked(above_standard_streams(
                          UniqueFd(::open("/dev/null", O_RDWR | O_CLOEXEC))),
                      "/dev/null"),
              {}};
    case Kind::stream:
      return make_pipe(child_reads);
    case Kind::given:
      return {checked(UniqueFd(::fcntl(what.fd(), F_DUPFD_CLOEXEC, kFirst)),
                      "fd " + std::to_string(what.fd())),
              {}};
  }
  return {};
}

void check_options(const SubprocessOptions& options) {
  for (const ChildFd* what :
       {&options.input, &options.output, &options.errors}) {
    if (what->kind() == Kind::given && what->fd() < 0) {
      throw std::invalid_argument("Subprocess: fd: is negative");
    }
    if (what->kind() == Kind::output && what != &options.errors) {
      throw std::invalid_argument("Subprocess: OUTPUT: is for errors only");
    }
  }
  check_pipe_options(options.stream);
}

std::shared_ptr<PipeIOStream> make_stream(IOLoop& loop, UniqueFd& ours,
                                          const SubprocessOptions& options) {
  return ours ? adopt_pipe(loop, std::move(ours), options.stream) : nullptr;
}

}  // namespace

std::string ExitStatus::to_string() const {
  if (error) {
    return "ended, but how is not known: " + error.message();
  }
  return signal != 0 ? "was ended by signal " + std::to_string(signal)
                     : "exited with status " + std::to_string(code);
}

// Whatever can fail is made before the child, but for what takes it over; and
// the streams own nothing before there is a child to talk to.
Subprocess::Subprocess(IOLoop& loop, const std::vector<std::string>& command,
                       const Options& options) {
  check_spawn(command, options);
  check_options(options);
  watch_ = std::make_shared<SubprocessWatch>(loop.core());
  Ends input = make_ends(options.input, true);
  Ends output = make_ends(options.output, false);
  Ends errors = make_ends(options.errors, false);
  {
    const ChildFds fds{std::move(input.child), std::move(output.child),
                       std::move(errors.child)};
    watch_->begin(spawn({command, options, fds}));
  }
  try {
    input_ = make_stream(loop, input.ours, options);
    output_ = make_stream(loop, output.ours, options);
    errors_ = make_stream(loop, errors.ours, options);
  } catch (...) {
    watch_->kill_and_wait();
    throw;
  }
}

Subprocess::~Subprocess() { watch_->abandon(); }

int Subprocess::pid() const noexcept { return watch_->pid(); }

void Subprocess::set_exit_callback(ExitCallback callback) {
  watch_->set_callback(std::move(callback));
}

bool Subprocess::running() const noexcept { return !watch_->status(); }

std::optional<int> Subprocess::returncode() const noexcept {
  const std::optional<ExitStatus>& status = watch_->status();
  return status ? status->returncode() : std::nullopt;
}

void Subprocess::send_signal(int signum) { watch_->send_signal(signum); }

void Subprocess::terminate() { send_signal(SIGTERM); }

void Subprocess::kill() { send_signal(SIGKILL); }

}  // namespace waterspout
