#include "support/failing_memory.h"

#include <cstdlib>
#include <new>

#include <event2/event.h>
#ifdef WATERSPOUT_TEST_OPENSSL
#include <openssl/crypto.h>
#endif

namespace waterspout::test {
namespace {

// How many are still to succeed, and then how many to fail.
thread_local std::size_t to_succeed = 0;
thread_local std::size_t to_fail = 0;
thread_local bool failed = false;

bool must_fail() noexcept {
  if (to_fail == 0 || to_succeed-- != 0) {
    return false;
  }
  to_succeed = 0;
  --to_fail;
  failed = true;
  return true;
}

void* allocate(std::size_t size) {
  return must_fail() ? nullptr : std::malloc(size);
}

void* reallocate(void* memory, std::size_t size) {
  return must_fail() ? nullptr : std::realloc(memory, size);
}

// Before either library allocates anything.
[[maybe_unused]] const bool installed = [] {
  event_set_mem_functions(allocate, reallocate, std::free);
  event_set_log_callback([](int /*severity*/, const char* /*message*/) {});
#ifdef WATERSPOUT_TEST_OPENSSL
  CRYPTO_set_mem_functions(
      [](std::size_t size, const char*, int) { return allocate(size); },
      [](void* memory, std::size_t size, const char*, int) {
        return reallocate(memory, size);
      },
      [](void* memory, const char*, int) { std::free(memory); });
#endif
  return true;
}();

}  // namespace

FailingMemory::FailingMemory(std::size_t before, std::size_t count) noexcept {
  to_succeed = before;
  to_fail = count;
  failed = false;
}

FailingMemory::~FailingMemory() { to_fail = 0; }

bool FailingMemory::has_failed() const noexcept { return failed; }

}  // namespace waterspout::test

#ifdef WATERSPOUT_TEST_REPLACES_NEW

namespace {

void* checked(void* memory) {
  if (memory == nullptr) {
    throw std::bad_alloc();
  }
  return memory;
}

void fail_if_it_is_time() {
  if (waterspout::test::must_fail()) {
    throw std::bad_alloc();
  }
}

}  // namespace

void* operator new(std::size_t size) {
  fail_if_it_is_time();
  return checked(std::malloc(size == 0 ? 1 : size));
}

void* operator new(std::size_t size, const std::nothrow_t& /*tag*/) noexcept {
  return waterspout::test::allocate(size == 0 ? 1 : size);
}

void* operator new(std::size_t size, std::align_val_t alignment) {
  fail_if_it_is_time();
  const auto align = static_cast<std::size_t>(alignment);
  return checked(std::aligned_alloc(align, (size + align - 1) & ~(align - 1)));
}

void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t /*size*/) noexcept {
  std::free(memory);
}
void operator delete(void* memory, const std::nothrow_t& /*tag*/) noexcept {
  std::free(memory);
}
void operator delete(void* memory, std::align_val_t /*alignment*/) noexcept {
  std::free(memory);
}
void operator delete(void* memory, std::size_t /*size*/,
                     std::align_val_t /*alignment*/) noexcept {
  std::free(memory);
}

#endif
