// Whether the code is slowed down by a sanitizer: a test then counts less far.

#pragma once

namespace waterspout::test {

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define WATERSPOUT_TEST_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer) || __has_feature(address_sanitizer)
#define WATERSPOUT_TEST_SANITIZED 1
#endif
#endif

#ifdef WATERSPOUT_TEST_SANITIZED
inline constexpr bool kSanitized = true;
#else
inline constexpr bool kSanitized = false;
#endif

/// `full`, or a tenth of it where a sanitizer watches.
constexpr int scaled(int full) { return kSanitized ? full / 10 : full; }

}  // namespace waterspout::test
