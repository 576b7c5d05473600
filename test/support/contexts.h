// Stack contexts and exception handlers that tell what they see.

#pragma once

#include <exception>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "waterspout/callback.h"
#include "waterspout/error.h"

namespace waterspout::test {

using Names = std::vector<std::string>;

/// The names of the contexts that this thread is inside now, outermost first.
inline thread_local Names entered_contexts;

/// Is entered as long as it lives.
class NamedContext {
 public:
  explicit NamedContext(std::string name) {
    entered_contexts.push_back(std::move(name));
  }
  ~NamedContext() { entered_contexts.pop_back(); }
  NamedContext(const NamedContext&) = delete;
  NamedContext& operator=(const NamedContext&) = delete;
};

/// The factory that StackContext takes.
inline auto named(const char* name) {
  return [name] { return NamedContext(name); };
}

/// Answers which contexts it runs in.
inline Callback<Names()> asks_for_contexts() {
  return [] { return entered_contexts; };
}

/// A handler that adds `name` and what it is told to `log`, and answers
/// `handled`.
inline auto keeps(Names& log, bool handled, const std::string& name = "") {
  return [&log, handled, name](const std::exception_ptr& error) {
    log.push_back(name + describe_exception(error));
    return handled;
  };
}

/// Throws std::out_of_range.
inline Callback<void()> throws(const char* text) {
  return [text] { throw std::out_of_range(text); };
}

}  // namespace waterspout::test
