#include "support/failing_new.h"

#include <cstdlib>
#include <new>

namespace waterspout::test {
namespace {

// How many are still to succeed, and then how many to fail.
thread_local std::size_t to_succeed = 0;
thread_local std::size_t to_fail = 0;
thread_local bool failed = false;

void* checked(void* memory) {
  if (memory == nullptr) {
    throw std::bad_alloc();
  }
  return memory;
}

void fail_if_it_is_time() {
  if (to_fail == 0 || to_succeed-- != 0) {
    return;
  }
  to_succeed = 0;
  --to_fail;
  failed = true;
  throw std::bad_alloc();
}

}  // namespace

FailingNew::FailingNew(std::size_t before, std::size_t count) noexcept {
  to_succeed = before;
  to_fail = count;
  failed = false;
}

FailingNew::~FailingNew() { to_fail = 0; }

bool FailingNew::has_failed() const noexcept { return failed; }

}  // namespace waterspout::test

void* operator new(std::size_t size) {
  waterspout::test::fail_if_it_is_time();
  return waterspout::test::checked(std::malloc(size == 0 ? 1 : size));
}

void* operator new(std::size_t size, std::align_val_t alignment) {
  waterspout::test::fail_if_it_is_time();
  const auto align = static_cast<std::size_t>(alignment);
  return waterspout::test::checked(
      std::aligned_alloc(align, (size + align - 1) & ~(align - 1)));
}

void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t /*size*/) noexcept {
  std::free(memory);
}
void operator delete(void* memory, std::align_val_t /*alignment*/) noexcept {
  std::free(memory);
}
void operator delete(void* memory, std::size_t /*size*/,
                     std::align_val_t /*alignment*/) noexcept {
  std::free(memory);
}
