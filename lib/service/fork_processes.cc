#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <vector>

#include <sched.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/wait.h>
#include <unistd.h>

#include "waterspout/process.h"

#include "base/throw_errno.h"
#include "loop/open_loops.h"
#include "loop/time_math.h"

namespace waterspout {
namespace {

using SteadyClock = std::chrono::steady_clock;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr Duration kStableAfter = seconds(1);
constexpr Duration kFirstPause = milliseconds(10);
constexpr Duration kLongestPause = seconds(1);

// The process's own: a child keeps its id for as long as it lives.
constinit std::optional<int> this_task;

/// Holds back, for as long as the parent watches its children, the signals that
/// it waits for, and gives SIGCHLD a disposition under which children can be
/// waited for.
class WatchedSignals {
 public:
  WatchedSignals() {
    ::sigemptyset(&watched_);
    ::sigaddset(&watched_, SIGCHLD);
    for (const int signum : {SIGTERM, SIGINT, SIGHUP, SIGQUIT}) {
      struct sigaction current {};
      ::sigaction(signum, nullptr, &current);
      if (current.sa_handler != SIG_IGN) {
        ::sigaddset(&watched_, signum);
      }
    }
    ::sigprocmask(SIG_BLOCK, &watched_, &mask_before_);
    struct sigaction by_default {};
    by_default.sa_handler = SIG_DFL;
    ::sigaction(SIGCHLD, &by_default, &child_before_);
  }
  ~WatchedSignals() {
    ::sigaction(SIGCHLD, &child_before_, nullptr);
    ::sigprocmask(SIG_SETMASK, &mask_before_, nullptr);
  }
  WatchedSignals(const WatchedSignals&) = delete;
  WatchedSignals& operator=(const WatchedSignals&) = delete;

  /// The next one that comes until `deadline`; 0 if none does.
  [[nodiscard]] int wait_until(SteadyClock::time_point deadline) const {
    const auto left =
        std::max(deadline - SteadyClock::now(), SteadyClock::duration::zero());
    const auto whole = std::chrono::duration_cast<seconds>(left);
    const timespec time{whole.count(), (left - whole).count()};
    const int signum = ::sigtimedwait(&watched_, nullptr, &time);
    return std::max(signum, 0);
  }

  /// Forgets those that have come and were not waited for.
  void drop_pending() const {
    while (wait_until(SteadyClock::now()) != 0) {
    }
  }

 private:
  sigset_t watched_{};
  sigset_t mask_before_{};
  struct sigaction child_before_ {};
};

struct Child {
  pid_t pid = -1;  // -1 while it does not run
  bool done = false;
  SteadyClock::time_point started;
  SteadyClock::time_point start_at;  // while it waits to be started again
  Duration pause = kFirstPause;
};

std::string describe_end(int status) {
  return WIFSIGNALED(status)
             ? "was ended by signal " + std::to_string(WTERMSIG(status))
             : "exited with status " + std::to_string(WEXITSTATUS(status));
}

/// The parent's part.
class Supervisor {
 public:
  Supervisor(int count, ForkOptions options)
      : options_(std::move(options)),
        children_(static_cast<std::size_t>(count)) {}

  /// Returns in the parent when all has ended, and in every child.
  std::optional<int> run() {
    try {
      while (!all_ended()) {
        if (const std::optional<int> id = start_due()) {
          return id;
        }
        act_on(signals_.wait_until(next_moment()));
      }
    } catch (...) {
      if (::getpid() == parent_) {
        end_children(SIGTERM);
      }
      throw;
    }
    if (ending()) {
      signals_.drop_pending();  // a second one would end this process now
    }
    return std::nullopt;
  }

 private:
  [[nodiscard]] bool all_ended() const {
    return std::all_of(children_.begin(), children_.end(),
                       [this](const Child& child) {
                         return child.pid < 0 && (child.done || ending());
                       });
  }

  [[nodiscard]] bool ending() const { return ending_signal_ != 0; }

  // The id, in a new child.
  std::optional<int> start_due() {
    for (std::size_t i = 0; i < children_.size() && !ending(); ++i) {
      Child& child = children_[i];
      const bool due =
          !child.done && child.pid < 0 && child.start_at <= SteadyClock::now();
      if (due && start(child)) {
        return static_cast<int>(i);
      }
    }
    return std::nullopt;
  }

  // True in the child.
  bool start(Child& child) {
    std::fflush(nullptr);  // or the child would write it once more
    const pid_t pid = ::fork();
    if (pid < 0) {
      throw_errno(errno, "fork_processes", "fork");
    }
    if (pid == 0) {
      begin_child();
      return true;
    }
    child.pid = pid;
    child.started = SteadyClock::now();
    return false;
  }

  void begin_child() const {
    ::prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (::getppid() != parent_) {
      ::_exit(EXIT_FAILURE);  // it died before that could be asked for
    }
    unsigned seed = 0;
    if (::getrandom(&seed, sizeof seed, 0) != sizeof seed) {
      seed = static_cast<unsigned>(::getpid());
    }
    ::srandom(seed);
  }

  [[nodiscard]] SteadyClock::time_point next_moment() const {
    SteadyClock::time_point moment = SteadyClock::now() + std::chrono::hours(1);
    if (ending()) {
      return std::min(moment, kill_at_);
    }
    for (const Child& child : children_) {
      if (!child.done && child.pid < 0) {
        moment = std::min(moment, child.start_at);
      }
    }
    return moment;
  }

  void act_on(int signum) {
    if (signum != 0 && signum != SIGCHLD) {
      if (ending()) {
        kill_at_ = SteadyClock::now();
      } else {
        begin_to_end(signum);
      }
    }
    reap();
    if (ending() && SteadyClock::now() >= kill_at_) {
      kill_children(SIGKILL);
      kill_at_ += seconds(1);
    }
  }

  void begin_to_end(int signum) {
    ending_signal_ = signum;
    kill_at_ = later(SteadyClock::now(), options_.stop_timeout);
    kill_children(signum);
  }

  void kill_children(int signum) const {
    for (const Child& child : children_) {
      if (child.pid > 0) {
        ::kill(child.pid, signum);
      }
    }
  }

  // Each by its own number: other children of this process are not ours to
  // wait for.
  void reap() {
    for (std::size_t i = 0; i < children_.size(); ++i) {
      Child& child = children_[i];
      int status = 0;
      if (child.pid < 0 || ::waitpid(child.pid, &status, WNOHANG) == 0) {
        continue;
      }
      log_end(static_cast<int>(i), child.pid, status);
      child.pid = -1;
      if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
        child.done = true;
      } else if (!ending()) {
        plan_restart(child);
      }
    }
  }

  void log_end(int id, pid_t pid, int status) const {
    const bool expected =
        ending() || (WIFEXITED(status) && WEXITSTATUS(status) == 0);
    options_.logger.log(
        expected ? LogLevel::info : LogLevel::warning, LogCategory::general,
        "child " + std::to_string(id) + " (pid " + std::to_string(pid) + ") " +
            describe_end(status) + (expected ? "" : ", restarting"));
  }

  void plan_restart(Child& child) {
    if (restarts_++ == options_.max_restarts) {
      throw std::runtime_error("fork_processes: too many child restarts (" +
                               std::to_string(options_.max_restarts) +
                               "), giving up");
    }
    const SteadyClock::time_point now = SteadyClock::now();
    if (now - child.started >= kStableAfter) {
      child.pause = kFirstPause;
      child.start_at = now;
    } else {
      child.start_at = now + child.pause;
      child.pause = std::min(child.pause * 2, kLongestPause);
    }
  }

  void end_children(int signum) {
    begin_to_end(signum);
    while (!all_ended()) {
      act_on(signals_.wait_until(next_moment()));
    }
  }

  const ForkOptions options_;
  const pid_t parent_ = ::getpid();
  const WatchedSignals signals_;
  std::vector<Child> children_;
  int restarts_ = 0;
  int ending_signal_ = 0;
  SteadyClock::time_point kill_at_;
};

}  // namespace

int cpu_count() noexcept {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (::sched_getaffinity(0, sizeof set, &set) == 0) {
    return std::max(CPU_COUNT(&set), 1);
  }
  // More processors than a cpu_set_t has room for.
  return static_cast<int>(std::max(::sysconf(_SC_NPROCESSORS_ONLN), 1L));
}

std::optional<int> task_id() noexcept { return this_task; }

std::optional<int> fork_processes(int count, ForkOptions options) {
  if (this_task) {
    throw std::logic_error(
        "fork_processes: this process is one of its children itself");
  }
  if (options.max_restarts < 0) {
    throw std::invalid_argument("fork_processes: max_restarts: is negative");
  }
  check_no_open_loop("fork_processes");
  Supervisor supervisor(count > 0 ? count : cpu_count(), std::move(options));
  this_task = supervisor.run();
  return this_task;
}

}  // namespace waterspout
