#include "support/fake_names.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <utility>

#include <dlfcn.h>
#include <netdb.h>
#include <pthread.h>

#include "support/sanitizers.h"

namespace waterspout::test {

const bool FakeNames::kFailsThreads = !kSanitized;

namespace {

struct Answer {
  int code = 0;
  int system_error = 0;
  std::vector<std::string> literals;
};

struct State {
  std::mutex mutex;
  std::condition_variable changed;
  bool active = false;
  std::map<std::string, Answer> answers;
  std::set<std::string> held_names;
  std::vector<std::string> asked;
  std::size_t held = 0;
  std::size_t most_held = 0;
};

// Never destroyed: a thread may be inside when the program ends.
State& state() {
  static State& shared = *std::make_unique<State>().release();
  return shared;
}

std::atomic<int> threads_to_fail = 0;

template <class Function>
Function* real(const char* name) {
  return reinterpret_cast<Function*>(dlsym(RTLD_NEXT, name));
}

int pass_on(const char* host, const char* service, const addrinfo* hints,
            addrinfo** result) {
  static auto* const next = real<decltype(getaddrinfo)>("getaddrinfo");
  return next(host, service, hints, result);
}

// One list of all, in the order of the literals, for freeaddrinfo.
int make_list(const std::vector<std::string>& literals, const char* service,
              const addrinfo* hints, addrinfo** result) {
  addrinfo numeric = *hints;
  numeric.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV;
  addrinfo** end = result;
  *result = nullptr;
  for (const std::string& literal : literals) {
    if (pass_on(literal.c_str(), service, &numeric, end) == 0) {
      end = &(*end)->ai_next;
    }
  }
  return *result == nullptr ? EAI_NODATA : 0;
}

// True, and `answer` filled, if a FakeNames lives.
bool find(const std::string& name, Answer& answer) {
  State& names = state();
  std::unique_lock lock(names.mutex);
  if (!names.active) {
    return false;
  }
  names.asked.push_back(name);
  if (names.held_names.contains(name)) {
    names.most_held = std::max(names.most_held, ++names.held);
    names.changed.wait(lock, [&] { return !names.held_names.contains(name); });
    --names.held;
    names.changed.notify_all();
  }
  const auto found = names.answers.find(name);
  answer =
      found != names.answers.end() ? found->second : Answer{EAI_NONAME, 0, {}};
  return true;
}

int answer_for(const char* host, const char* service, const addrinfo* hints,
               addrinfo** result) {
  Answer answer;
  if (host == nullptr || hints == nullptr || !find(host, answer)) {
    return pass_on(host, service, hints, result);
  }
  if (answer.code != 0) {
    errno = answer.system_error;
    return answer.code;
  }
  return make_list(answer.literals, service, hints, result);
}

}  // namespace

FakeNames::FakeNames() {
  const std::lock_guard lock(state().mutex);
  state().active = true;
}

FakeNames::~FakeNames() {
  release();
  State& names = state();
  std::unique_lock lock(names.mutex);
  names.changed.wait(lock, [&] { return names.held == 0; });
  names.active = false;
  names.answers.clear();
  names.asked.clear();
  names.most_held = 0;
  threads_to_fail = 0;
}

void FakeNames::add(const std::string& name,
                    std::vector<std::string> literals) {
  const std::lock_guard lock(state().mutex);
  state().answers[name] = Answer{0, 0, std::move(literals)};
}

void FakeNames::add_failure(const std::string& name, int code,
                            int system_error) {
  const std::lock_guard lock(state().mutex);
  state().answers[name] = Answer{code, system_error, {}};
}

void FakeNames::hold(const std::string& name) {
  const std::lock_guard lock(state().mutex);
  state().held_names.insert(name);
}

void FakeNames::release() {
  const std::lock_guard lock(state().mutex);
  state().held_names.clear();
  state().changed.notify_all();
}

void FakeNames::fail_threads(int count) { threads_to_fail = count; }

std::vector<std::string> FakeNames::asked() const {
  const std::lock_guard lock(state().mutex);
  return state().asked;
}

std::size_t FakeNames::held() const {
  const std::lock_guard lock(state().mutex);
  return state().held;
}

std::size_t FakeNames::most_held() const {
  const std::lock_guard lock(state().mutex);
  return state().most_held;
}

}  // namespace waterspout::test

// NOLINTBEGIN(readability-inconsistent-declaration-parameter-name): glibc's
// own names are reserved ones.
extern "C" int getaddrinfo(const char* host, const char* service,
                           const addrinfo* hints, addrinfo** result) {
  return waterspout::test::answer_for(host, service, hints, result);
}

#ifndef WATERSPOUT_TEST_SANITIZED
extern "C" int pthread_create(pthread_t* thread,
                              const pthread_attr_t* attributes,
                              void* (*function)(void*),
                              void* argument) noexcept {
  using waterspout::test::threads_to_fail;
  if (threads_to_fail > 0) {
    --threads_to_fail;
    return EAGAIN;
  }
  static auto* const next =
      waterspout::test::real<decltype(pthread_create)>("pthread_create");
  return next(thread, attributes, function, argument);
}
#endif
// NOLINTEND(readability-inconsistent-declaration-parameter-name)
