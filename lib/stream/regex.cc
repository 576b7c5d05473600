#include "stream/regex.h"

#include <stdexcept>

#ifdef WATERSPOUT_HAVE_REGEX

#define PCRE2_CODE_UNIT_WIDTH 8
#include <algorithm>
#include <array>
#include <new>

#include <pcre2.h>

namespace waterspout {
namespace {

// Steps that a read may cost: enough for any sane pattern on data that comes
// byte by byte, and a fraction of a second.
constexpr std::uint64_t kWorkAtLeast = 20'000'000;
constexpr std::uint64_t kWorkPerByte = 1000;
constexpr std::uint32_t kHeapKibibytes = 16 * 1024;

struct Meter {
  std::uint64_t work;
  std::uint64_t limit;
  std::size_t position;
};

// Called before every item of the pattern. What an item runs over counts too,
// for less: ".*" is one item and many bytes, of which sixteen cost as a step.
int count_step(pcre2_callout_block* block, void* data) {
  Meter& meter = *static_cast<Meter*>(data);
  const std::size_t at = block->current_position;
  const std::size_t distance =
      std::max(at, meter.position) - std::min(at, meter.position);
  meter.work += 1 + distance / 16;
  meter.position = at;
  return meter.work > meter.limit ? PCRE2_ERROR_CALLOUT : 0;
}

std::string describe_pcre2_error(int code) {
  std::array<PCRE2_UCHAR, 256> text{};
  ::pcre2_get_error_message(code, text.data(), text.size());
  return reinterpret_cast<const char*>(text.data());
}

}  // namespace

struct Regex::Program {
  explicit Program(std::string_view pattern) {
    int error = 0;
    PCRE2_SIZE offset = 0;
    code.reset(::pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()),
                               pattern.size(),
                               PCRE2_AUTO_CALLOUT | PCRE2_NEVER_BACKSLASH_C,
                               &error, &offset, nullptr));
    if (!code) {
      throw std::invalid_argument("read_until_regex: \"" +
                                  std::string(pattern) +
                                  "\": " + describe_pcre2_error(error) +
                                  " at offset " + std::to_string(offset));
    }
    data.reset(::pcre2_match_data_create_from_pattern(code.get(), nullptr));
    context.reset(::pcre2_match_context_create(nullptr));
    if (!data || !context) {
      throw std::bad_alloc();
    }
    ::pcre2_set_heap_limit(context.get(), kHeapKibibytes);
  }

  struct Free {
    void operator()(pcre2_code* pointer) const { ::pcre2_code_free(pointer); }
    void operator()(pcre2_match_data* pointer) const {
      ::pcre2_match_data_free(pointer);
    }
    void operator()(pcre2_match_context* pointer) const {
      ::pcre2_match_context_free(pointer);
    }
  };

  std::unique_ptr<pcre2_code, Free> code;
  std::unique_ptr<pcre2_match_data, Free> data;
  std::unique_ptr<pcre2_match_context, Free> context;
};

Regex::Regex(std::string_view pattern)
    : pattern_(pattern), program_(std::make_unique<Program>(pattern)) {}

Regex::~Regex() = default;

Regex::Match Regex::search(std::string_view text, std::size_t from,
                           std::uint64_t& work) const {
  Meter meter{work, kWorkAtLeast + kWorkPerByte * text.size(), from};
  ::pcre2_set_callout(program_->context.get(), count_step, &meter);
  const int result = ::pcre2_match(
      program_->code.get(), reinterpret_cast<PCRE2_SPTR>(text.data()),
      text.size(), from, PCRE2_PARTIAL_SOFT, program_->data.get(),
      program_->context.get());
  const PCRE2_SIZE* const bounds =
      ::pcre2_get_ovector_pointer(program_->data.get());
  work = meter.work;
  if (result >= 0) {
    return {Match::Kind::found, bounds[1], 0};
  }
  if (result == PCRE2_ERROR_PARTIAL) {
    return {Match::Kind::none, 0, bounds[0]};
  }
  if (result == PCRE2_ERROR_NOMATCH) {
    return {Match::Kind::none, 0, text.size()};
  }
  return {Match::Kind::too_costly, 0, 0};
}

}  // namespace waterspout

#else

namespace waterspout {

struct Regex::Program {};

Regex::Regex(std::string_view /*pattern*/) {
  throw std::logic_error(
      "read_until_regex: waterspout was built without the feature regex");
}

Regex::~Regex() = default;

Regex::Match Regex::search(std::string_view /*text*/, std::size_t /*from*/,
                           std::uint64_t& /*work*/) const {
  return {};
}

}  // namespace waterspout

#endif
