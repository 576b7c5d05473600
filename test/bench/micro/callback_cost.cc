// What a Callback costs: to make, to move and to call, outside of contexts and
// inside of them.
//
//   callback_cost [PART OF A WORK'S NAME]

#include <array>
#include <cstddef>
#include <exception>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "waterspout/callback.h"
#include "waterspout/stack_context.h"

#include "measure.h"

namespace {

using micro::repeat;
using micro::touch;
using micro::Work;
using waterspout::Callback;
using waterspout::ExceptionStackContext;
using waterspout::StackContext;

constexpr std::size_t kOperations = 2'000'000;
constexpr std::size_t kDeep = 8;

/// What a user's context does at the least: enters, and leaves.
class Entered {
 public:
  explicit Entered(std::size_t& depth) : depth_(depth) { ++depth_; }
  ~Entered() { --depth_; }
  Entered(const Entered&) = delete;
  Entered& operator=(const Entered&) = delete;

 private:
  std::size_t& depth_;
};

/// So many contexts of one kind around what is done while it lives.
template <class Context>
class Contexts {
 public:
  explicit Contexts(std::size_t depth) {
    if (depth > 0) {
      if constexpr (std::is_same_v<Context, StackContext>) {
        scope_ = std::make_unique<Context>([this] { return Entered(depth_); });
      } else {
        scope_ = std::make_unique<Context>(
            [](const std::exception_ptr&) { return false; });
      }
      inner_ = std::make_unique<Contexts>(depth - 1);
    }
  }

 private:
  std::size_t depth_ = 0;
  std::unique_ptr<Context> scope_;
  std::unique_ptr<Contexts> inner_;  // ends first
};

template <class Function>
double make(Function function) {
  return repeat(kOperations, [&] {
    Callback<void()> callback(function);
    touch(callback);
  });
}

double make_with_pointer() {
  std::size_t count = 0;
  return make([&count] { ++count; });
}

double make_with_forty_bytes() {
  return make([words = std::array<std::size_t, 5>()] { touch(words); });
}

double make_with_forty_eight_bytes() {
  return make([words = std::array<std::size_t, 6>()] { touch(words); });
}

double make_function() {
  std::size_t count = 0;
  return repeat(kOperations, [&] {
    std::function<void()> function([&count] { ++count; });
    touch(function);
  });
}

double make_with_backtrace() {
  waterspout::stack_context::set_async_backtrace(true);
  const double each = make_with_pointer();
  waterspout::stack_context::set_async_backtrace(false);
  return each;
}

double move() {
  std::size_t count = 0;
  Callback<void()> callback([&count] { ++count; });
  return repeat(kOperations, [&] {
    Callback<void()> moved(std::move(callback));
    touch(moved);
    callback = std::move(moved);
  });
}

double call() {
  std::size_t count = 0;
  Callback<void()> callback([&count] { ++count; });
  return repeat(kOperations, [&] {
    touch(callback);
    callback();
  });
}

double call_function() {
  std::size_t count = 0;
  std::function<void()> function([&count] { ++count; });
  return repeat(kOperations, [&] {
    touch(function);
    function();
  });
}

template <class Context, std::size_t Depth>
double make_inside() {
  const Contexts<Context> contexts(Depth);
  return make_with_pointer();
}

/// From outside of the contexts that it was made in, as the loop calls.
template <class Context, std::size_t Depth>
double call_made_inside() {
  std::size_t count = 0;
  const auto contexts = std::make_unique<Contexts<Context>>(Depth);
  Callback<void()> callback([&count] { ++count; });
  const waterspout::NullContext outside;
  return repeat(kOperations, [&] {
    touch(callback);
    callback();
  });
}

/// The other way round: the callback runs in no context.
double call_from_inside() {
  std::size_t count = 0;
  Callback<void()> callback([&count] { ++count; });
  const Contexts<StackContext> contexts(kDeep);
  return repeat(kOperations, [&] {
    touch(callback);
    callback();
  });
}

template <class Context>
double enter() {
  return repeat(kOperations, [] {
    const Contexts<Context> contexts(1);
    touch(contexts);
  });
}

template <class Context>
void add_works_inside(std::vector<Work>& works, std::string_view context) {
  const auto add = [&](const std::string& name, double (*round)()) {
    works.push_back({.name = name, .library = context, .round = round});
  };
  add("make, 1 context around", make_inside<Context, 1>);
  add("make, 8 contexts around", make_inside<Context, kDeep>);
  add("call, made in 1 context", call_made_inside<Context, 1>);
  add("call, made in 8 contexts", call_made_inside<Context, kDeep>);
  add("enter and leave a context", enter<Context>);
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<Work> works = {
      {.name = "make", .library = "Callback", .round = make_with_pointer},
      {.name = "make", .library = "std::function", .round = make_function},
      {.name = "make, 40 bytes captured",
       .library = "Callback",
       .round = make_with_forty_bytes},
      {.name = "make, 48 bytes captured",
       .library = "Callback",
       .round = make_with_forty_eight_bytes},
      {.name = "make, backtraces on",
       .library = "Callback",
       .round = make_with_backtrace},
      {.name = "move there and back", .library = "Callback", .round = move},
      {.name = "call", .library = "Callback", .round = call},
      {.name = "call", .library = "std::function", .round = call_function},
      {.name = "call, made outside, 8 contexts around",
       .library = "Callback",
       .round = call_from_inside},
  };
  add_works_inside<StackContext>(works, "StackContext");
  add_works_inside<ExceptionStackContext>(works, "ExceptionStackContext");
  return micro::run_main(works, argc, argv);
}
