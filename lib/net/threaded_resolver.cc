#include <optional>
#include <stdexcept>
#include <unordered_map>
#include <utility>

#include <netdb.h>

#include "waterspout/error.h"
#include "waterspout/resolver.h"

#include "base/throw_errno.h"
#include "loop/loop_core.h"
#include "net/lookup_threads.h"

namespace waterspout {
namespace {

std::error_code error_of(const Lookup& lookup) {
  if (lookup.code == EAI_SYSTEM) {
    return errno_code(lookup.system_error);
  }
  if (lookup.code != 0) {
    return {lookup.code, resolver_category()};
  }
  return {};
}

}  // namespace

/// The loop's side of the threads. While a question waits for them, a handler
/// for their descriptor keeps a borrowed base's loop from ending.
struct ThreadedResolver::Lookups final
    : public LoopClient,
      public std::enable_shared_from_this<ThreadedResolver::Lookups> {
  Lookups(detail::LoopCore& of, std::size_t most_threads)
      : core(of), threads(std::make_shared<LookupThreads>(most_threads)) {
    core.add_client(*this);
  }
  ~Lookups() { close(); }
  Lookups(const Lookups&) = delete;
  Lookups& operator=(const Lookups&) = delete;

  void ask(const Question& question);
  void forget(LookupThreads::Id id) noexcept;
  void wait_for_answers();
  void take_answers();

  // The event goes before its descriptor is closed.
  void close() noexcept {
    waiting.clear();
    answers.reset();
    threads->close();
  }

  void on_answers(IOLoop::Events /*ready*/) noexcept { take_answers(); }
  [[nodiscard]] detail::LoopCore& loop_core() noexcept { return core; }

  // LoopClient.
  void run_task() noexcept override {}
  void send_gathered() noexcept override {}
  void loop_closed() noexcept override { close(); }

  detail::LoopCore& core;
  const std::shared_ptr<LookupThreads> threads;
  std::optional<Event> answers;
  std::unordered_map<LookupThreads::Id, Question> waiting;
  LookupThreads::Id last_id = 0;
};

void ThreadedResolver::Lookups::ask(const Question& question) {
  try {
    wait_for_answers();
  } catch (const std::system_error& error) {
    question.answer(error.code(), {});
    return;
  }
  const LookupThreads::Id id = ++last_id;
  Lookup lookup{question.host(), question.port(), question.family()};
  if (const auto error = threads->ask(id, std::move(lookup))) {
    question.answer(error, {});
    if (waiting.empty()) {
      answers->remove();
    }
    return;
  }
  waiting.emplace(id, question);
  question.when_dropped([weak = weak_from_this(), id] {
    if (const auto self = weak.lock()) {
      self->forget(id);
    }
  });
}

void ThreadedResolver::Lookups::wait_for_answers() {
  const int fd = threads->answers_fd();
  if (!answers) {
    answers.emplace(core, fd, IOLoop::READ,
                    Event::calling<&Lookups::on_answers>(*this));
  }
  if (const std::error_code error = answers->add()) {
    throw std::system_error(error);
  }
}

void ThreadedResolver::Lookups::forget(LookupThreads::Id id) noexcept {
  threads->forget(id);
  waiting.erase(id);
  if (waiting.empty() && answers) {
    answers->remove();
  }
}

void ThreadedResolver::Lookups::take_answers() {
  for (auto& [id, lookup] : threads->take_answers()) {
    const auto found = waiting.find(id);
    if (found != waiting.end()) {
      const Question question = found->second;
      waiting.erase(found);
      question.answer(error_of(lookup), std::move(lookup.addresses));
    }
  }
  if (waiting.empty()) {
    answers->remove();
  }
}

ThreadedResolver::ThreadedResolver(IOLoop& loop)
    : ThreadedResolver(loop, Options()) {}

ThreadedResolver::ThreadedResolver(IOLoop& loop, Options options)
    : Resolver(loop) {
  if (options.threads == 0) {
    throw std::invalid_argument("ThreadedResolver: threads: is 0");
  }
  lookups_ = std::make_shared<Lookups>(loop.core(), options.threads);
}

ThreadedResolver::~ThreadedResolver() = default;

void ThreadedResolver::look_up(Question question) {
  if (!question.answer_literal()) {
    lookups_->ask(question);
  }
}

}  // namespace waterspout
