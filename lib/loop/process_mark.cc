#include "loop/process_mark.h"

#include <cerrno>

#include <sys/mman.h>

#include "base/throw_errno.h"

namespace waterspout {
namespace {

// The kernel rounds it up to a page.
constexpr std::size_t kSize = 1;

}  // namespace

ProcessMark::ProcessMark() {
  void* const page = ::mmap(nullptr, kSize, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (page == MAP_FAILED) {
    throw_errno(errno, "IOLoop", "mmap");
  }
  if (::madvise(page, kSize, MADV_WIPEONFORK) != 0) {
    const int code = errno;
    ::munmap(page, kSize);
    throw_errno(code, "IOLoop", "madvise");
  }
  page_ = static_cast<char*>(page);
  set();
}

ProcessMark::~ProcessMark() { ::munmap(page_, kSize); }

}  // namespace waterspout
