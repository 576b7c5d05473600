// What the sample device_relay refuses, and whom it gives up.

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <stdexcept>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "device_relay/relay.h"
#include "device_relay/session.h"
#include "support/loop_fixture.h"
#include "support/program.h"
#include "support/relay_peers.h"
#include "support/sample_program.h"
#include "support/stream_helpers.h"
#include "support/virtual_clock.h"

using device_relay::Relay;
using device_relay::Session;
using waterspout::test::bound_kernel_buffers;
using waterspout::test::kConsumer;
using waterspout::test::kNo;
using waterspout::test::kSource;
using waterspout::test::kYes;
using waterspout::test::length;
using waterspout::test::LoopFixture;
using waterspout::test::make_pattern;
using waterspout::test::ProgramResult;
using waterspout::test::RelayAndPeers;
using waterspout::test::run_program;
using waterspout::test::sample_command;
using waterspout::test::standing;
using waterspout::test::text;
using waterspout::test::VirtualClock;

using namespace std::chrono_literals;

TEST_SUITE_BEGIN("device_relay_refusals");

TEST_CASE("Relay drops a consumer that does not keep up, and no other") {
  constexpr std::size_t kFrame = 4000;
  constexpr std::size_t kBatch = 50 * kFrame;
  const std::string keys(kFrame / 4 - 1, ',');
  const std::string frame = make_pattern(kFrame);
  RelayAndPeers served(Relay::kLeastMaxUnsent);
  const std::size_t source = served.source("phone", keys);
  const std::size_t good = served.consumer("phone", keys);
  const std::size_t slow = served.consumer("phone", keys);
  bound_kernel_buffers(served.peers[slow].get());
  served.expect_warning("frames of phone: does not keep up");

  std::string sent;
  std::string got;
  bool in_order = true;
  const auto pass_on = [&] {
    while (sent.size() < kBatch) {
      sent += frame;
    }
    const std::size_t taken = served.peers[source].send_some(sent);
    sent.erase(0, taken);
    got += served.peers[good].recv_ready();
    for (; got.size() >= kFrame; got.erase(0, kFrame)) {
      in_order = in_order && got.starts_with(frame);
    }
  };
  served.loop.run_until([&] {
    pass_on();
    return served.receivers("phone") == 1;
  });
  CHECK(served.relay->connections() == 2);
  CHECK(in_order);

  // The source's last frames arrive at the one that is left.
  served.peers[source].send(sent);
  sent.clear();
  const std::string last(kFrame, 'x');
  served.peers[source].send(last);
  served.loop.run_until([&] {
    got += served.peers[good].recv_ready();
    return got.ends_with(last);
  });
}

TEST_CASE("Relay gives up a consumer that does not take the last frames") {
  constexpr std::size_t kFrame = 65'536;
  VirtualClock clock;
  RelayAndPeers served(std::size_t{64} << 20, standing(clock));
  const std::string keys(kFrame / 4 - 1, ',');
  const std::size_t source = served.source("phone", keys);
  const std::size_t stuck = served.consumer("phone", keys);
  bound_kernel_buffers(served.peers[stuck].get());
  served.expect_warning("end: takes too long");
  const std::string frame(kFrame, 'x');
  for (int i = 0; i < 160; ++i) {  // more than any kernel buffer
    std::string rest = frame;
    served.loop.run_until([&] {
      rest.erase(0, served.peers[source].send_some(rest));
      return rest.empty();
    });
  }
  served.peers[source].close();
  served.settle(1);
  clock.pass(5s);
  served.settle(0);
}

TEST_CASE("Relay refuses a consumer of an unknown device") {
  RelayAndPeers served;
  std::string uuid = "phone";
  SUBCASE("that was never there") {}
  SUBCASE("that has not told its keys") {
    const std::size_t source = served.connect(kSource + text("phone"));
    CHECK(served.receive(source, 2) == kYes + kYes);
  }
  SUBCASE("of another case") {
    (void)served.source("phone", "x");
    uuid = "Phone";
  }
  served.expect_warning("uuid: " + uuid + ": no such device");
  const std::size_t consumer = served.connect(kConsumer + text(uuid));
  CHECK(served.receive(consumer, 2) == kYes + kNo);
  CHECK(served.receive_to_end(consumer).empty());
}

TEST_CASE("Relay refuses a source whose uuid another one has") {
  RelayAndPeers served;
  const std::size_t first = served.source("phone", "x");
  const std::size_t consumer = served.consumer("phone", "x");
  served.expect_warning("uuid: phone: another source has it");
  const std::size_t second = served.connect(kSource + text("phone"));
  CHECK(served.receive(second, 2) == kYes + kNo);
  CHECK(served.receive_to_end(second).empty());

  served.settle(2);
  served.peers[first].send("1111");
  CHECK(served.receive(consumer, 4) == "1111");
}

TEST_CASE("Relay refuses lengths out of bounds") {
  struct Example {
    std::string sent;
    std::size_t yes;  ///< answers before the refusal
    std::string logged;
  };
  const std::vector<Example> examples = {
      {kSource + length(0), 1, "uuid: its length 0 is not"},
      {kSource + length(257), 1, "uuid: its length 257 is not from 1 to 256"},
      {kSource + length(0xffffffff), 1, "uuid: its length 4294967295 is not"},
      {kConsumer + length(0), 1, "uuid: its length 0 is not"},
      {kConsumer + length(257), 1, "uuid: its length 257 is not"},
      {kSource + text("u") + length(0), 2, "keys: its length 0 is not"},
      {kSource + text("u") + length(16'385), 2,
       "keys: its length 16385 is not from 1 to 16384"},
  };
  for (const Example& example : examples) {
    CAPTURE(example.logged);
    RelayAndPeers served;
    served.expect_warning(example.logged);
    const std::size_t peer = served.connect(example.sent);
    CHECK(served.receive(peer, example.yes + 1) ==
          std::string(example.yes, '\0') + kNo);
    CHECK(served.receive_to_end(peer).empty());
    served.settle(0);
    CHECK(served.relay->devices().size() == 0);
  }
}

TEST_CASE("Relay closes what breaks the protocol") {
  RelayAndPeers served;
  std::size_t peer = 0;
  SUBCASE("by its first byte") {
    served.expect_warning("first byte: G is neither");
    peer = served.connect("GET / HTTP/1.0\r\n\r\n");
  }
  SUBCASE("by another answer to the keys") {
    (void)served.source("phone", "x");
    served.expect_warning("keys: not accepted");
    peer = served.connect(kConsumer + text("phone"));
    CHECK(served.receive(peer, 7) == kYes + kYes + text("x"));
    served.peers[peer].send(kNo);
  }
  SUBCASE("by a byte more than that") {
    (void)served.source("phone", "x");
    peer = served.consumer("phone", "x");
    served.expect_warning("frames: unexpected byte ?");
    served.peers[peer].send("?");
  }
  const std::size_t before = served.relay->connections();
  served.loop.run_until([&] {
    return served.relay->connections() < std::max<std::size_t>(before, 1) &&
           served.loop.logged.size() == 1;
  });
}

TEST_CASE("Relay closes a connection that takes too long with its handshake") {
  VirtualClock clock;
  RelayAndPeers served(Relay::kMaxUnsent, standing(clock));
  (void)served.source("tablet", "x");
  (void)served.consumer("tablet", "x");
  std::string sent;
  std::string answer;
  SUBCASE("before its first byte") {}
  SUBCASE("as a source") {
    sent = kSource + text("phone");
    answer = kYes + kYes;
  }
  SUBCASE("as a consumer") {
    sent = kConsumer + text("tablet");
    answer = kYes + kYes + text("x");
  }
  const std::size_t peer = served.connect(sent);
  CHECK(served.receive(peer, answer.size()) == answer);
  served.settle(3);
  clock.pass(Session::kTimeForHandshake - 1ms);
  served.loop.run_turns(3);
  CHECK(served.relay->connections() == 3);
  served.expect_warning("handshake: takes too long");
  clock.pass(1ms);
  served.settle(2);
  CHECK(served.receive_to_end(peer).empty());
}

TEST_CASE("Relay forgets a peer that goes at any step") {
  const std::string as_source = kSource + text("phone") + text("x,y") + "12345";
  const std::string as_consumer = kConsumer + text("tablet") + kYes;
  for (const std::string& all : {as_source, as_consumer}) {
    for (std::size_t size = 0; size <= all.size(); ++size) {
      for (const bool reset : {false, true}) {
        CAPTURE(size);
        CAPTURE(reset);
        RelayAndPeers served;
        (void)served.source("tablet", "x");
        const std::size_t peer = served.connect(all.substr(0, size));
        if (reset) {
          served.peers[peer].reset();
        } else {
          served.peers[peer].close();
        }
        const std::size_t before = served.peers.size();
        const std::size_t probe = served.consumer("tablet", "x");
        CHECK(probe == before);  // the relay has seen the one before it
        served.settle(2);
        CHECK(served.relay->devices().size() == 1);
      }
    }
  }
}

TEST_CASE("Relay refuses a limit that a frame might pass") {
  LoopFixture loop;
  CHECK_THROWS_AS(Relay(loop, Relay::kLeastMaxUnsent - 1),
                  std::invalid_argument);
}

TEST_CASE("device_relay refuses a wrong command line") {
  const std::vector<std::vector<std::string>> wrong = {
      {},
      {"--port"},
      {"--port", "x"},
      {"--port", "0", "more"},
      {"--port", "0", "--max-unsent", "1"},
      {"--port", "0", "--nonsense"},
  };
  for (const std::vector<std::string>& arguments : wrong) {
    const ProgramResult result =
        run_program(sample_command("device_relay", arguments));
    CHECK(result.exit_code == 2);
    CHECK(result.err.find("see device_relay --help") != std::string::npos);
  }
  CHECK(run_program(sample_command("device_relay", {"--help"}))
            .out.starts_with("usage: device_relay"));
}

TEST_SUITE_END();
