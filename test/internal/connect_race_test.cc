// The race of attempts to connect, with fake attempts: Tornado's tests of its
// _Connector, told in the terms of RFC 8305.

#include "net/connect_race.h"

#include <cstddef>
#include <set>
#include <string>
#include <vector>

#include <doctest/doctest.h>

using waterspout::Address;
using waterspout::ConnectRace;
using waterspout::interleave_families;

namespace {

// Keeps what happens, as "begin 0, timer, won 0".
class FakeTrack final : public ConnectRace::Track {
 public:
  explicit FakeTrack(std::size_t attempts, std::set<std::size_t> failing = {})
      : race(*this, attempts), failing_(std::move(failing)) {}

  // What has happened since the last call.
  std::string take() { return std::exchange(events_, {}); }

  [[nodiscard]] bool timer_runs() const { return timer_runs_; }

  ConnectRace race;

 private:
  bool begin(std::size_t attempt) override {
    const bool fails = failing_.contains(attempt);
    add((fails ? "fail " : "begin ") + std::to_string(attempt));
    return !fails;
  }
  void start_timer() override { timer_runs_ = true; }
  void stop_timer() override { timer_runs_ = false; }
  void lost() override { add("lost"); }
  void won(std::size_t attempt) override {
    add("won " + std::to_string(attempt));
  }

  void add(const std::string& event) {
    events_ += (events_.empty() ? "" : ", ") + event;
  }

  const std::set<std::size_t> failing_;
  std::string events_;
  bool timer_runs_ = false;
};

std::vector<std::string> order(const std::vector<std::string>& ips,
                               std::size_t most = 64) {
  std::vector<Address> addresses;
  for (const std::string& ip : ips) {
    addresses.emplace_back(ip, std::uint16_t{80});
  }
  std::vector<std::string> result;
  for (const Address& address : interleave_families(addresses, most)) {
    result.push_back(address.ip());
  }
  return result;
}

using Ips = std::vector<std::string>;

}  // namespace

TEST_SUITE_BEGIN("connect_race");

TEST_CASE(
    "interleave_families keeps the order of one family (test_one_family)") {
  CHECK(order({"127.0.0.1", "127.0.0.2", "127.0.0.3"}) ==
        Ips{"127.0.0.1", "127.0.0.2", "127.0.0.3"});
  CHECK(order({"::2", "::1"}) == Ips{"::2", "::1"});
  CHECK(order({}).empty());
}

TEST_CASE("interleave_families takes the families in turn (test_mixed)") {
  CHECK(order({"127.0.0.1", "127.0.0.2", "::1", "::2"}) ==
        Ips{"127.0.0.1", "::1", "127.0.0.2", "::2"});
  CHECK(order({"::1", "::2", "::3", "127.0.0.1"}) ==
        Ips{"::1", "127.0.0.1", "::2", "::3"});
  CHECK(order({"::1", "127.0.0.1", "127.0.0.2", "127.0.0.3"}) ==
        Ips{"::1", "127.0.0.1", "127.0.0.2", "127.0.0.3"});
}

TEST_CASE("interleave_families leaves out repetitions and a long tail (D12)") {
  CHECK(order({"127.0.0.1", "127.0.0.1", "::1", "::1", "127.0.0.2"}) ==
        Ips{"127.0.0.1", "::1", "127.0.0.2"});
  CHECK(order({"127.0.0.1", "127.0.0.2", "127.0.0.3", "::1"}, 2) ==
        Ips{"127.0.0.1", "::1"});
  CHECK(order({"127.0.0.1", "127.0.0.2", "127.0.0.3"}, 2) ==
        Ips{"127.0.0.1", "127.0.0.2"});
}

TEST_CASE(
    "A first attempt that succeeds is the only one (test_immediate_success)") {
  FakeTrack track(4);
  track.race.start();
  CHECK(track.take() == "begin 0");
  CHECK(track.timer_runs());
  track.race.succeeded(0);
  CHECK(track.take() == "won 0");
  CHECK_FALSE(track.timer_runs());
}

TEST_CASE("A single attempt that fails loses (test_immediate_failure)") {
  FakeTrack track(1);
  track.race.start();
  CHECK(track.take() == "begin 0");
  CHECK_FALSE(track.timer_runs());
  track.race.failed();
  CHECK(track.take() == "lost");
}

TEST_CASE("Attempts that fail at once leave no timer behind (TC-17)") {
  FakeTrack last_works(3, {0, 1});
  last_works.race.start();
  CHECK(last_works.take() == "fail 0, fail 1, begin 2");
  CHECK_FALSE(last_works.timer_runs());
  FakeTrack none_works(2, {0, 1});
  none_works.race.start();
  CHECK(none_works.take() == "fail 0, fail 1, lost");
  CHECK_FALSE(none_works.timer_runs());
}

TEST_CASE(
    "A failure begins the next one at once (test_one_family_second_try)") {
  FakeTrack track(2);
  track.race.start();
  track.race.failed();
  CHECK(track.take() == "begin 0, begin 1");
  track.race.succeeded(1);
  CHECK(track.take() == "won 1");
}

TEST_CASE("Two failures lose (test_one_family_second_try_failure)") {
  FakeTrack track(2);
  track.race.start();
  track.race.failed();
  track.race.failed();
  CHECK(track.take() == "begin 0, begin 1, lost");
}

TEST_CASE(
    "The delay begins the next attempt, and none where there is none "
    "(test_one_family_second_try_timeout)") {
  FakeTrack track(2);
  track.race.start();
  CHECK(track.timer_runs());
  track.race.delay_passed();
  CHECK(track.take() == "begin 0, begin 1");
  CHECK_FALSE(track.timer_runs());
  track.race.delay_passed();
  CHECK(track.take().empty());
}

TEST_CASE(
    "A failure begins one attempt, and the delay anew "
    "(test_two_families_immediate_failure)") {
  FakeTrack track(4);
  track.race.start();
  track.race.failed();
  CHECK(track.take() == "begin 0, begin 1");
  CHECK(track.timer_runs());
  track.race.delay_passed();
  CHECK(track.take() == "begin 2");
  track.race.failed();
  CHECK(track.take() == "begin 3");
  track.race.failed();
  track.race.succeeded(3);
  CHECK(track.take() == "won 3");
}

TEST_CASE(
    "A later attempt may win, and nothing begins after that "
    "(test_two_families_timeout)") {
  FakeTrack track(4);
  track.race.start();
  track.race.delay_passed();
  track.race.succeeded(1);
  CHECK(track.take() == "begin 0, begin 1, won 1");
  CHECK_FALSE(track.timer_runs());
  track.race.failed();
  track.race.delay_passed();
  CHECK(track.take().empty());
}

TEST_CASE(
    "The first attempt may win after the delay; a second success changes "
    "nothing (test_success_after_timeout)") {
  FakeTrack track(4);
  track.race.start();
  track.race.delay_passed();
  track.race.succeeded(0);
  track.race.succeeded(1);
  CHECK(track.take() == "begin 0, begin 1, won 0");
}

TEST_CASE("The race is lost when every attempt has failed (test_all_fail)") {
  FakeTrack track(4, {2});
  track.race.start();
  track.race.delay_passed();
  track.race.failed();
  CHECK(track.take() == "begin 0, begin 1, fail 2, begin 3");
  track.race.failed();
  CHECK(track.take().empty());
  track.race.failed();
  CHECK(track.take() == "lost");
}

TEST_SUITE_END();
