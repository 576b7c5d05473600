// ProcessMark: tells a forked child from its parent without a system call.

#pragma once

namespace waterspout {

/// Holds in the process that set it, and in no child that was forked since:
/// it lies on a page that the kernel wipes there (madvise(2),
/// MADV_WIPEONFORK).
class ProcessMark {
 public:
  /// Set. Errors: throws std::system_error if the kernel refuses the page.
  ProcessMark();
  ~ProcessMark();

  ProcessMark(const ProcessMark&) = delete;
  ProcessMark& operator=(const ProcessMark&) = delete;

  [[nodiscard]] bool holds() const noexcept { return *page_ != 0; }
  void set() noexcept { *page_ = 1; }

 private:
  char* page_;
};

}  // namespace waterspout
