// Where in the user's source something was registered: file and line, in one
// word. Reports of uncaught exceptions and of slow callbacks name it.
//
// Floor 0, base. A value: copy it, use it on any thread.

#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "waterspout/export.h"

namespace waterspout {

/// A place in source code, in eight bytes. Every Callback carries one, so it
/// packs the address of the file's name and the line into one word. The default
/// one names no place.
class Origin {
 public:
  constexpr Origin() noexcept = default;

  /// The place of the call. As the default argument of a function it is the
  /// place where that function is called. (The compilers' builtins serve here:
  /// clang 14 has no std::source_location.)
  static Origin here(const char* file = __builtin_FILE(),
                     unsigned line = __builtin_LINE()) noexcept {
    return Origin(file, line);
  }

  /// `file` is a string literal or lives as long as every copy of the Origin.
  /// Lines past 65,535 are kept as 65,535.
  Origin(const char* file, unsigned line) noexcept
      : packed_(reinterpret_cast<std::uintptr_t>(file) |
                std::uint64_t{line < kMaxLine ? line : kMaxLine} << kFileBits) {
  }

  explicit operator bool() const noexcept { return packed_ != 0; }

  /// The file's path as the compiler was given it; empty if no place is named.
  [[nodiscard]] WATERSPOUT_API std::string_view file() const noexcept;

  [[nodiscard]] unsigned line() const noexcept {
    return static_cast<unsigned>(packed_ >> kFileBits);
  }

  /// "fetch.cc:41", without the directories; "unknown" if no place is named.
  [[nodiscard]] WATERSPOUT_API std::string to_string() const;

 private:
  // User-space addresses need at most 48 bits on the 64-bit systems we build
  // for; the file's name is a string literal, never a tagged heap pointer.
  static constexpr unsigned kFileBits = 48;
  static constexpr unsigned kMaxLine = 65535;
  static_assert(sizeof(void*) == 8, "Origin packs a 64-bit address");

  std::uint64_t packed_ = 0;
};

}  // namespace waterspout
