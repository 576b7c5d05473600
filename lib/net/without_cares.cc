// What stands in for c-ares where the library is built without the feature.

#include <stdexcept>

#include "waterspout/resolver.h"

namespace waterspout {

struct CAresResolver::Channel {};

CAresResolver::CAresResolver(IOLoop& loop) : Resolver(loop) {
  throw std::logic_error(
      "CAresResolver: the library was built without the feature cares");
}

CAresResolver::~CAresResolver() = default;

void CAresResolver::look_up(Question /*question*/) {}

}  // namespace waterspout
