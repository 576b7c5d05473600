// The library's own clock for tests, under the name that ours have for it.

#pragma once

#include "waterspout/testing.h"

namespace waterspout::test {

using testing::VirtualClock;

}  // namespace waterspout::test
