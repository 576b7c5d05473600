#include "waterspout/stack_context.h"

#include <csignal>
#include <exception>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>

#include <doctest/doctest.h>

#include "support/child_process.h"
#include "support/contexts.h"

using waterspout::Callback;
using waterspout::ExceptionStackContext;
using waterspout::NullContext;
using waterspout::run_with_stack_context;
using waterspout::StackContext;
using waterspout::stack_context::wrap;
using waterspout::test::asks_for_contexts;
using waterspout::test::entered_contexts;
using waterspout::test::keeps;
using waterspout::test::named;
using waterspout::test::Names;
using waterspout::test::throws;

namespace {

// Tells `log` when it is entered and left, and whether by an exception.
class Traced {
 public:
  Traced(Names& log, std::string name) : log_(log), name_(std::move(name)) {
    log_.push_back("+" + name_);
  }
  ~Traced() {
    log_.push_back("-" + name_ + (std::uncaught_exceptions() > 0 ? "!" : ""));
  }
  Traced(const Traced&) = delete;
  Traced& operator=(const Traced&) = delete;

 private:
  Names& log_;
  std::string name_;
};

auto traced(Names& log, const std::string& name) {
  return [&log, name] { return Traced(log, name); };
}

}  // namespace

TEST_SUITE_BEGIN("stack_context");

TEST_CASE(
    "StackContext enters around every callback made inside, and not "
    "after") {
  Callback<Names()> inside;
  {
    const StackContext c1(named("c1"));
    CHECK(entered_contexts == Names{"c1"});
    inside = asks_for_contexts();
  }
  CHECK(entered_contexts.empty());
  CHECK(inside() == Names{"c1"});
  CHECK(entered_contexts.empty());
  CHECK(asks_for_contexts()().empty());
}

TEST_CASE(
    "StackContext makes a fresh object for the scope and for every run "
    "(SC-2)") {
  int made = 0;
  Callback<void()> callback;
  {
    const StackContext counted([&made] { return ++made; });
    CHECK(made == 1);
    callback = [] {};
  }
  CHECK(made == 1);
  callback();
  callback();
  CHECK(made == 3);
}

TEST_CASE(
    "StackContext restores the context before when its factory throws "
    "(SC-2)") {
  const StackContext c1(named("c1"));
  auto refuses = []() -> int { throw std::out_of_range("factory"); };

  CHECK_THROWS_AS(StackContext{refuses}, std::out_of_range);

  CHECK(asks_for_contexts()() == Names{"c1", "c1"});
}

TEST_CASE(
    "StackContext takes factories of objects that cannot be moved, and "
    "copies none") {
  Names log;
  { const StackContext scope(traced(log, "a")); }
  CHECK(log == Names{"+a", "-a"});
}

TEST_CASE("ExceptionStackContext does nothing while nothing is thrown (SC-3)") {
  Names log;
  Callback<int()> callback;
  {
    const ExceptionStackContext guard(keeps(log, true));
    callback = [] { return 7; };
  }
  CHECK(callback() == 7);
  CHECK(log.empty());
}

TEST_CASE(
    "ExceptionStackContext gets what leaves a callback made inside, and "
    "true ends it (SC-3)") {
  Names log;
  Callback<void()> callback;
  {
    const ExceptionStackContext guard(keeps(log, true));
    callback = throws("deep");
  }
  callback();
  callback();
  const std::string once = "std::out_of_range: deep";
  CHECK(log == Names{once, once});
}

TEST_CASE("ExceptionStackContext gets exceptions of any type") {
  Names log;
  const ExceptionStackContext guard(keeps(log, true));
  Callback<void()> callback = [] { throw 7; };

  callback();

  CHECK(log == Names{"exception of type int"});
}

TEST_CASE("ExceptionStackContext refuses an empty handler") {
  const ExceptionStackContext::Handler empty;

  CHECK_THROWS_AS(ExceptionStackContext{empty}, std::invalid_argument);
  CHECK_FALSE(Callback<void()>([] {}).context());
}

TEST_CASE("ExceptionStackContext cannot catch what is thrown in its scope") {
  Names log;
  auto thrown_in_scope = [&log] {
    const ExceptionStackContext guard(keeps(log, true));
    throw std::out_of_range("in the scope");
  };
  CHECK_THROWS_AS(thrown_in_scope(), std::out_of_range);
  CHECK(log.empty());
  CHECK(Callback<void()>([] {}).context() == nullptr);
}

TEST_CASE("NullContext has no context inside and restores them after (SC-4)") {
  const StackContext c1(named("c1"));
  {
    const NullContext none;
    CHECK(Callback<void()>([] {}).context() == nullptr);
    const StackContext c2(named("c2"));
    CHECK(asks_for_contexts()() == Names{"c1", "c2", "c2"});
  }
  CHECK(asks_for_contexts()() == Names{"c1", "c1"});
}

TEST_CASE("StackContext scopes that end out of order abort (SC-6)") {
  const int status = waterspout::test::run_in_child([] {
    auto outer = std::make_unique<StackContext>([] { return 0; });
    auto inner = std::make_unique<NullContext>();
    outer.reset();
    return 0;
  });
  CHECK(waterspout::test::died_of(status, SIGABRT));
}

TEST_CASE(
    "run_with_stack_context enters, calls and leaves (SC-7, "
    "test_run_with_stack_context)") {
  Callback<Names()> later;
  const int result = run_with_stack_context<StackContext>(named("c1"), [&] {
    CHECK(entered_contexts == Names{"c1"});
    run_with_stack_context<StackContext>(named("c2"), [&] {
      CHECK(entered_contexts == Names{"c1", "c2"});
      later = asks_for_contexts();
    });
    CHECK(entered_contexts == Names{"c1"});
    return 7;
  });
  CHECK(result == 7);
  CHECK(entered_contexts.empty());
  CHECK(later() == Names{"c1", "c2"});
}

TEST_CASE(
    "run_with_stack_context hands what the function throws now to the "
    "handler") {
  Names log;
  auto fails = []() -> int { throw std::out_of_range("now"); };

  CHECK(run_with_stack_context<ExceptionStackContext>(keeps(log, true),
                                                      fails) == 0);
  CHECK_THROWS_AS(
      run_with_stack_context<ExceptionStackContext>(keeps(log, false), fails),
      std::out_of_range);
  CHECK_THROWS_AS(run_with_stack_context<StackContext>(named("c"), fails),
                  std::out_of_range);
  CHECK(log.size() == 2);
  CHECK(Callback<void()>([] {}).context() == nullptr);
}

TEST_CASE("wrap of nothing is an empty Callback (SC-8)") {
  CHECK_FALSE(wrap(std::function<void()>()));
  CHECK_FALSE(wrap<void()>(nullptr));
  CHECK_FALSE(wrap(Callback<void()>()));
}

TEST_CASE(
    "wrap of a Callback is that Callback: the first capture wins "
    "(SC-8)") {
  Callback<Names()> callback;
  {
    const StackContext c1(named("c1"));
    callback = asks_for_contexts();
  }
  const unsigned line = callback.origin().line();
  const StackContext c2(named("c2"));
  Callback<Names()> wrapped = wrap<Names()>(std::move(callback));

  CHECK(wrapped() == Names{"c2", "c1"});  // c2 is underneath
  CHECK(wrapped.origin().line() == line);
}

TEST_CASE(
    "Callback made in no context runs in none, wherever it is called "
    "(SC-9)") {
  bool empty = false;
  Callback<void()> outside = [&empty] {
    empty = Callback<void()>([] {}).context() == nullptr;
  };
  Names log;
  const ExceptionStackContext guard(keeps(log, true));
  outside();
  Callback<void()> fails;
  {
    const NullContext none;
    fails = throws("not yours");
  }

  CHECK(empty);
  CHECK_THROWS_AS(fails(), std::out_of_range);
  CHECK(log.empty());
}

TEST_CASE(
    "Callback enters its contexts outermost first and leaves them "
    "innermost first (SC-10)") {
  Names log;
  Callback<void()> callback;
  {
    const StackContext a(traced(log, "a"));
    const StackContext b(traced(log, "b"));
    callback = [&log] { log.push_back("run"); };
  }
  log.clear();
  callback();
  CHECK(log == Names{"+a", "+b", "run", "-b", "-a"});
}

TEST_CASE("Callback does not leave the contexts of its caller (SC-10)") {
  Callback<Names()> callback;
  {
    const StackContext c1(named("c1"));
    callback = asks_for_contexts();
  }
  const StackContext c2(named("c2"));

  CHECK(callback() == Names{"c2", "c1"});
  CHECK(entered_contexts == Names{"c2"});
  CHECK(asks_for_contexts()() == Names{"c2", "c2"});
}

TEST_CASE(
    "Exceptions go through the contexts innermost first, until one "
    "handles them (SC-11)") {
  Names log;
  Callback<void()> callback;
  {
    const ExceptionStackContext outermost(keeps(log, true, "outermost "));
    const ExceptionStackContext outer(keeps(log, true, "outer "));
    const StackContext between(traced(log, "b"));
    const ExceptionStackContext inner(keeps(log, false, "inner "));
    callback = throws("x");
  }
  log.clear();
  callback();
  CHECK(log == Names{"+b", "inner std::out_of_range: x", "-b!",
                     "outer std::out_of_range: x"});
}

TEST_CASE(
    "Exceptions that are handled further in leave nothing for contexts "
    "further out (SC-11)") {
  Names log;
  Callback<void()> callback;
  {
    const StackContext outer(traced(log, "outer"));
    const ExceptionStackContext inner(keeps(log, true));
    callback = throws("x");
  }
  log.clear();
  callback();
  CHECK(log == Names{"+outer", "std::out_of_range: x", "-outer"});
}

TEST_CASE("Exceptions that no context handles leave the callback (SC-11)") {
  Names log;
  const ExceptionStackContext outer(keeps(log, false, "outer "));
  const ExceptionStackContext inner(keeps(log, false, "inner "));
  Callback<void()> callback = throws("x");

  CHECK_THROWS_WITH_AS(callback(), "x", std::out_of_range);
  CHECK(log.size() == 2);
}

TEST_CASE("Exceptions of a handler replace the one it was given (SC-11)") {
  Names log;
  Callback<void()> callback;
  {
    const ExceptionStackContext outer(keeps(log, true));
    const ExceptionStackContext inner([](const std::exception_ptr&) -> bool {
      throw std::length_error("instead");
    });
    callback = throws("x");
  }
  callback();
  CHECK(log == Names{"std::length_error: instead"});
}

TEST_CASE("StackContext never consumes an exception (SC-12)") {
  const StackContext context(named("c1"));
  Callback<void()> callback = throws("x");

  CHECK_THROWS_WITH_AS(callback(), "x", std::out_of_range);
  CHECK(entered_contexts == Names{"c1"});
}

TEST_CASE(
    "Callback is not called when a context cannot be entered, and "
    "those further in are not (SC-14)") {
  Names log;
  bool called = false;
  Callback<void()> callback;
  {
    bool scope_itself = true;
    const ExceptionStackContext guard(keeps(log, true));
    const StackContext outer(traced(log, "outer"));
    const StackContext fails([&scope_itself] {
      if (!std::exchange(scope_itself, false)) {
        throw std::length_error("no entry");
      }
      return 0;
    });
    const StackContext inner(traced(log, "inner"));
    callback = [&called] { called = true; };
    log.clear();
    callback();
  }
  CHECK_FALSE(called);
  const Names until_handled{"+outer", "-outer!", "std::length_error: no entry"};
  CHECK(Names(log.begin(), log.begin() + 3) == until_handled);
}

TEST_CASE(
    "Callback is not called when the outermost context cannot be "
    "entered (SC-14)") {
  bool called = false;
  bool scope_itself = true;
  const StackContext fails([&scope_itself] {
    if (!std::exchange(scope_itself, false)) {
      throw std::length_error("no entry");
    }
    return 0;
  });
  Names log;
  const ExceptionStackContext inner(keeps(log, true));
  Callback<void()> callback = [&called] { called = true; };

  CHECK_THROWS_AS(callback(), std::length_error);
  CHECK_FALSE(called);
  CHECK(log.empty());
}

TEST_SUITE_END();
