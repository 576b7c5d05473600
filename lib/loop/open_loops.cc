#include "loop/open_loops.h"

#include <atomic>
#include <stdexcept>
#include <string>

namespace waterspout {
namespace {

constinit std::atomic<int> open_loops = 0;

}  // namespace

void count_open_loop(bool opened) noexcept { open_loops += opened ? 1 : -1; }

void check_no_open_loop(std::string_view operation) {
  if (open_loops != 0) {
    throw std::logic_error(
        std::string(operation) +
        ": a loop is open in this process, which a child could not use; make "
        "it after the fork (IOLoop::current() makes one, too)");
  }
}

}  // namespace waterspout
