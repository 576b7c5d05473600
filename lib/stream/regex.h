// Regex: a compiled pattern that is matched with bounded work.

#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace waterspout {

/// A PCRE2 pattern on bytes. PCRE2's own limits bound one attempt at one
/// starting point; this bounds all attempts of one read together, so that
/// neither backtracking nor data that trickles in costs more than a constant
/// and a constant for each byte.
class Regex {
 public:
  /// Errors: throws std::invalid_argument with PCRE2's reason and place;
  ///   std::logic_error if the library was built without PCRE2.
  explicit Regex(std::string_view pattern);
  ~Regex();

  Regex(const Regex&) = delete;
  Regex& operator=(const Regex&) = delete;

  [[nodiscard]] const std::string& pattern() const noexcept { return pattern_; }

  struct Match {
    enum class Kind { found, none, too_costly };
    Kind kind = Kind::none;
    std::size_t end = 0;     ///< found: the offset behind the match
    std::size_t resume = 0;  ///< none: where to begin when more has come
  };

  /// Searches `text` from `from` on. `work` counts what was done for this read
  /// so far and is kept by the caller.
  Match search(std::string_view text, std::size_t from,
               std::uint64_t& work) const;

 private:
  struct Program;

  std::string pattern_;
  std::unique_ptr<Program> program_;
};

}  // namespace waterspout
