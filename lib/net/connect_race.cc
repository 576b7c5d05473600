#include "net/connect_race.h"

#include <algorithm>

namespace waterspout {

std::vector<Address> interleave_families(const std::vector<Address>& addresses,
                                         std::size_t most) {
  std::vector<Address> first;
  std::vector<Address> second;
  for (const Address& address : addresses) {
    const bool like_first = address.family() == addresses.front().family();
    std::vector<Address>& family = like_first ? first : second;
    if (family.size() < most &&
        std::find(family.begin(), family.end(), address) == family.end()) {
      family.push_back(address);
    }
  }
  std::vector<Address> order;
  for (std::size_t i = 0; i < std::max(first.size(), second.size()); ++i) {
    for (const std::vector<Address>* family : {&first, &second}) {
      if (i < family->size() && order.size() < most) {
        order.push_back((*family)[i]);
      }
    }
  }
  return order;
}

void ConnectRace::begin_next() {
  if (ended_) {
    return;
  }
  while (next_ < attempts_) {
    if (track_.begin(next_++)) {
      ++under_way_;
      if (next_ < attempts_) {
        track_.start_timer();
      } else {
        track_.stop_timer();
      }
      return;
    }
  }
  track_.stop_timer();
  if (under_way_ == 0) {
    ended_ = true;
    track_.lost();  // Last: *this may be gone.
  }
}

void ConnectRace::failed() {
  --under_way_;
  begin_next();  // Last: *this may be gone.
}

void ConnectRace::succeeded(std::size_t attempt) {
  if (!ended_) {
    ended_ = true;
    track_.stop_timer();
    track_.won(attempt);  // Last: *this may be gone.
  }
}

}  // namespace waterspout
